"""Lines are read as the stream reads records: the same rides, the same reasons."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aws_kinesis_agg.aggregator
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archive_function
from model_service import rides
from model_service.datasets import schema
from model_service.datasets.formats import json_lines, reader
from model_service.datasets.formats.json_lines import LineKind
from model_service.datasets.schema import Parsed
from model_service.errors import RideRejected

from ..support.factories import payload, ride_event

BARE = b'{"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66, "ride_id": %d}'
ARRIVED_AT = datetime(2022, 6, 2, 9, 18, 34, 132000, UTC)


def archived(data: bytes, event_id: str = "shardId-000000000000:1") -> bytes:
    """A line of the archive."""
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


def test_ride_events_have_their_ids_and_line_numbers() -> None:
    good, bad = json_lines.parse(
        [payload(1), b"", b"no ride", payload("two") + b"\n"], LineKind.EVENTS, 7
    )

    assert good["ride_id"].to_pylist() == ["1", "two"]
    assert good["row"].to_pylist() == [7, 10]
    assert bad["row"].to_pylist() == [9]
    assert bad["data"].to_pylist() == [b"no ride"]


def test_invalid_first_line_does_not_change_how_the_others_are_read() -> None:
    found = [b'{"foo": 1}', payload(2), payload(3)]

    good, bad = parsed(found)

    assert good["ride_id"].to_pylist() == ["2", "3"]
    assert bad["row"].to_pylist() == [1]


@settings(deadline=None)
@given(st.binary(max_size=40) | st.builds(payload, st.integers() | st.text(max_size=3)))
def test_line_is_accepted_exactly_if_the_stream_accepts_it(data: bytes) -> None:
    good, bad = json_lines.parse([data], LineKind.EVENTS, 1)

    try:
        expected = [str(rides.decode(data.strip()).ride_id)]
    except RideRejected as exc:
        assert bad["reason"].to_pylist() == ([str(exc)] if data.strip() else [])
        expected = []
    assert good["ride_id"].to_pylist() == expected


@pytest.mark.parametrize("wrap", [bytes, gzip.compress, kpl])
def test_archive_line_has_the_ride_of_the_stream_s_record(wrap: Any) -> None:
    good, bad = json_lines.parse([archived(wrap(payload(5)))], LineKind.ARCHIVE, 1)

    suffix = "#0" if wrap is kpl else ""
    assert good["ride_id"].to_pylist() == ["5"]
    assert good["event_id"].to_pylist() == [f"shardId-000000000000:1{suffix}"]
    assert not len(bad)


def test_user_records_of_a_kpl_record_are_accepted_or_rejected_one_by_one() -> None:
    together = kpl(payload(1), b"no ride", gzip.compress(payload(3)))

    good, bad = json_lines.parse([archived(together)], LineKind.ARCHIVE, 1)

    assert good["event_id"].to_pylist() == ["shardId-000000000000:1#0", "shardId-000000000000:1#2"]
    assert bad["event_id"].to_pylist() == ["shardId-000000000000:1#1"]


def test_rejected_gzips_are_not_kept_in_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(2**20 + 1))
    bombs = [archived(bomb, f"shard:{n}") for n in range(1_000)]
    path = tmp_path / "archive"
    path.write_bytes(b"\n".join(bombs))
    number = 0
    tracemalloc.start()

    for chunk in reader.chunks(path, name="a file"):
        _, bad = chunk.parse()
        number += len(bad)
        assert set(bad["reason"].to_pylist()) == {"gzip holds more than 1048576 bytes"}

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert number == 1_000
    assert peak < 50_000_000


def test_rejection_is_stored_without_its_traceback() -> None:
    lines = [b"no ride"] * 10_000
    tracemalloc.start()

    _, bad = json_lines.parse(lines, LineKind.EVENTS, 1)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(bad) == 10_000
    assert peak < 10_000_000


def test_arrival_time_replaces_a_missing_pick_up_time() -> None:
    data = [archived(payload(1)), archived(payload(2, pickup_datetime="2021-03-01T08:15:00"))]

    good, _ = json_lines.parse(data, LineKind.ARCHIVE, 1)

    assert schema.columns(good).hour.tolist() == [5, 8]  # 09:18 in UTC is 05:18


def test_ride_event_without_a_time_has_no_time() -> None:
    good, _ = json_lines.parse([payload(1)], LineKind.EVENTS, 1)

    assert good["pickup_datetime"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{}", "Object missing required field `event_id`"),
        (b'{"event_id": "1", "arrived_at": "soon", "data": ""}', "Invalid RFC3339"),
        (archived(b"").replace(b'"data": ""', b'"data": "?"'), "data is not base64"),
        (archived(gzip.compress(payload(1))[:-3]), "gzip ends too early"),
        (b"\xff", "JSON is malformed"),
    ],
)
def test_malformed_archive_line_is_rejected(line: bytes, message: str) -> None:
    good, bad = json_lines.parse([line], LineKind.ARCHIVE, 1)

    [reason] = bad["reason"].to_pylist()
    assert (message in reason, len(good)) == (True, 0)


def test_bare_ride_may_have_an_id() -> None:
    ride = ride_event()["ride"]
    data = [json.dumps(ride).encode(), json.dumps(ride | {"ride_id": 9}).encode()]

    good, _ = json_lines.parse(data, LineKind.BARE, 1)

    first, second = good["ride_id"].to_pylist()
    assert (len(first), second) == (16, "9")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (payload(1), LineKind.EVENTS),
        (archived(payload(1)), LineKind.ARCHIVE),
        (json.dumps(ride_event()["ride"]).encode(), LineKind.BARE),
    ],
)
def test_most_lines_decide_the_kind_of_a_file(line: bytes, kind: LineKind) -> None:
    for bad in (b"NaN", b"garbage", b'{"ride": 1}', b'{"event_id": 1, "data": 1}', b"{}"):
        assert json_lines.kind_of_file([bad, line, line]) is kind


def test_lines_without_an_object_have_no_kind() -> None:
    assert json_lines.kind_of_file([b"[1, 2]", b"garbage", b"NaN"]) is None


@pytest.mark.parametrize(
    "bad",
    [b"NaN", b"garbage", b"a,b", b"[1]", b"<a>", b'{"ride": 1}', b'{"event_id": 1, "data": 1}'],
)
@pytest.mark.parametrize(
    "make",
    [payload, lambda n: archived(payload(n)), lambda n: BARE % n],
    ids=["event", "archive", "bare"],
)
def test_invalid_first_line_is_one_rejection(tmp_path: Path, bad: bytes, make: Any) -> None:
    path = tmp_path / "rides"
    path.write_bytes(b"\n".join([bad, make(2), make(3)]))

    [chunk] = reader.chunks(path, name="a file")

    good, rejected = chunk.parse()
    assert (good["ride_id"].to_pylist(), rejected["row"].to_pylist()) == (["2", "3"], [1])


@pytest.mark.parametrize("name", ["lpep_pickup_datetime", "tpep_pickup_datetime"])
@pytest.mark.parametrize("is_event", [True, False])
def test_tlc_name_of_the_pick_up_time_is_an_alias(name: str, is_event: bool) -> None:
    def line(**changes: Any) -> bytes:
        event = ride_event(1, **changes)
        return json.dumps(event if is_event else event["ride"]).encode()

    aliased = line(**{name: "2021-03-01T08:15:00.000"})
    own = line(**{name: "2021-03-01T08:15:00", "pickup_datetime": "2021-03-01T09:15:00"})
    number, early = line(**{name: 1614586500000}), line(**{name: "0001-01-01T00:00:00"})

    good, bad = parsed([aliased, own, number, early])

    assert schema.columns(good).hour.tolist() == [8, 9]
    path = f"$.ride.{name}" if is_event else f"$.{name}"
    assert bad["reason"].to_pylist() == [
        f"Expected `datetime`, got `int` - at `{path}`",
        f"Expected a year from 2 to 9998 - at `{path}`",
    ]


def test_archive_line_has_the_time_that_the_stream_used() -> None:
    event = payload(1, lpep_pickup_datetime="2021-03-01T08:15:00")

    good, _ = parsed([archived(event)])

    assert schema.columns(good).hour.tolist() == [5]  # of the arrival


def parsed(lines: list[bytes]) -> Parsed:
    """The rows of a file of *lines*."""
    kind = json_lines.kind_of_file(lines)
    assert kind
    return json_lines.parse(lines, kind, 1)
