"""Lines are read as the stream reads records: the same rides, the same words."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import aws_kinesis_agg.aggregator
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archive_function
from model_service import rides
from model_service.batch import scoring
from model_service.datasets.formats import json_lines
from model_service.datasets.formats.json_lines import Kind
from model_service.errors import FileError, RideRejected

from ..support.factories import payload, ride_event

ARRIVED_AT = datetime(2022, 6, 2, 9, 18, 34, 132000, UTC)


def archived(data: bytes, event_id: str = "shardId-000000000000:1") -> bytes:
    """A line as the archive has it."""
    line = archive_function.Line(event_id, ARRIVED_AT, "1", b64encode(data).decode())
    return json.dumps(
        {
            "event_id": line.event_id,
            "arrived_at": line.arrived_at.isoformat(),
            "partition_key": line.partition_key,
            "data": line.data,
        }
    ).encode()


def kpl(*payloads: bytes) -> bytes:
    aggregator = aws_kinesis_agg.aggregator.RecordAggregator()
    for one in payloads:
        aggregator.add_user_record("1", one)
    data: bytes = aggregator.clear_and_get().get_contents()[2]
    return data


def test_ride_events_are_read_with_their_ids_and_line_numbers() -> None:
    good, bad = json_lines.parse(
        [payload(1), b"", b"no ride", payload("two") + b"\n"], Kind.EVENTS, 7
    )

    assert good["ride_id"].to_pylist() == ["1", "two"]
    assert good["row"].to_pylist() == [7, 10]
    assert bad["row"].to_pylist() == [9]
    assert bad["data"].to_pylist() == [b"no ride"]


def test_a_first_line_that_is_no_ride_does_not_speak_for_the_others() -> None:
    found = [b'{"foo": 1}', payload(2), payload(3)]

    good, bad = json_lines.parse(found, json_lines.kind(found[0], name="f"), 1)

    assert good["ride_id"].to_pylist() == ["2", "3"]
    assert bad["row"].to_pylist() == [1]


@settings(deadline=None)
@given(st.binary(max_size=40) | st.builds(payload, st.integers() | st.text(max_size=3)))
def test_a_line_is_a_ride_exactly_where_the_stream_says_so(data: bytes) -> None:
    good, bad = json_lines.parse([data], Kind.EVENTS, 1)

    try:
        expected = [str(rides.decode(data.strip()).ride_id)]
    except RideRejected as exc:
        assert bad["reason"].to_pylist() == ([str(exc)] if data.strip() else [])
        expected = []
    assert good["ride_id"].to_pylist() == expected


@pytest.mark.parametrize("wrap", [bytes, gzip.compress, kpl])
def test_a_line_of_the_archive_holds_what_the_stream_s_record_held(wrap: Any) -> None:
    good, bad = json_lines.parse([archived(wrap(payload(5)))], Kind.ARCHIVE, 1)

    suffix = "#0" if wrap is kpl else ""
    assert good["ride_id"].to_pylist() == ["5"]
    assert good["event_id"].to_pylist() == [f"shardId-000000000000:1{suffix}"]
    assert not len(bad)


def test_of_records_that_the_kpl_put_together_each_has_its_own_fate() -> None:
    together = kpl(payload(1), b"no ride", gzip.compress(payload(3)))

    good, bad = json_lines.parse([archived(together)], Kind.ARCHIVE, 1)

    assert good["event_id"].to_pylist() == ["shardId-000000000000:1#0", "shardId-000000000000:1#2"]
    assert bad["event_id"].to_pylist() == ["shardId-000000000000:1#1"]


def test_the_time_of_arrival_stands_for_a_pick_up_time_that_is_absent() -> None:
    data = [archived(payload(1)), archived(payload(2, pickup_datetime="2021-03-01T08:15:00"))]

    good, _ = json_lines.parse(data, Kind.ARCHIVE, 1)

    assert scoring.columns(good).hour.tolist() == [5, 8]  # 09:18 in UTC is 05:18


def test_a_ride_event_without_a_time_has_none() -> None:
    good, _ = json_lines.parse([payload(1)], Kind.EVENTS, 1)

    assert good["pickup_datetime"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{}", "Object missing required field `event_id`"),
        (b'{"event_id": "1", "arrived_at": "soon", "data": ""}', "Invalid RFC3339"),
        (archived(b"").replace(b'"data": ""', b'"data": "?"'), "data is not base64"),
        (archived(gzip.compress(payload(1))[:-3]), "gzip ends too early"),
        (b"\xff", "JSON is malformed"),
    ],
)
def test_a_line_that_is_none_of_the_archive_s_is_rejected(line: bytes, words: str) -> None:
    good, bad = json_lines.parse([line], Kind.ARCHIVE, 1)

    [reason] = bad["reason"].to_pylist()
    assert (words in reason, len(good)) == (True, 0)


def test_a_bare_ride_may_have_an_id() -> None:
    ride = ride_event()["ride"]
    data = [json.dumps(ride).encode(), json.dumps(ride | {"ride_id": 9}).encode()]

    good, _ = json_lines.parse(data, Kind.BARE, 1)

    first, second = good["ride_id"].to_pylist()
    assert (len(first), second) == (16, "9")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (payload(1), Kind.EVENTS),
        (archived(payload(1)), Kind.ARCHIVE),
        (json.dumps(ride_event()["ride"]).encode(), Kind.BARE),
    ],
)
def test_what_lines_are_is_seen_from_the_first(line: bytes, kind: Kind) -> None:
    assert json_lines.kind(line, name="a file") is kind


def test_a_first_line_that_is_no_object_is_no_file_of_rides() -> None:
    with pytest.raises(FileError, match="a file does not hold rides"):
        json_lines.kind(b"[1, 2]", name="a file")
