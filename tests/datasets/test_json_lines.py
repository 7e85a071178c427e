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
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_service import rides
from model_service.archive_format import Line
from model_service.datasets import schema
from model_service.datasets.formats import json_lines, reader
from model_service.datasets.formats.json_lines import LineKind
from model_service.datasets.schema import Parsed
from model_service.errors import FileError, RideRejected

from ..support.factories import payload, ride_event

BARE = b'{"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66, "ride_id": %d}'
ARRIVED_AT = datetime(2022, 6, 2, 9, 18, 34, 132000, UTC)


def archived(data: bytes, event_id: str = "shardId-000000000000:1") -> bytes:
    """A line of the archive."""
    line = Line(
        event_id=event_id, arrived_at=ARRIVED_AT, partition_key="1", data=b64encode(data).decode()
    )
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
    bombs = [archived(bomb, f"shard:{n}") for n in range(200)]
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
    assert number == 200
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
    number, null = line(**{name: 1614586500000}), line(**{name: None})
    seconds, early = line(**{name: 1614586500}), line(**{name: "0001-01-01T00:00:00"})

    good, bad = parsed([aliased, own, number, null, seconds, early])

    np.testing.assert_array_equal(schema.columns(good).hour, [8, 9, 8, np.nan])
    path = f"$.ride.{name}" if is_event else f"$.{name}"
    assert bad["reason"].to_pylist() == [
        f"Expected text, or milliseconds since 1970 - at `{path}`",
        f"Expected a year from 2 to 9998 - at `{path}`",
    ]


TRIPS = {
    "VendorID": [2, 2, 1, 1],
    "lpep_pickup_datetime": [
        "2021-03-14 02:30",
        "2021-11-07 01:30:00.25",
        "2008-12-31 23:02",
        None,
    ],
    "lpep_dropoff_datetime": ["2021-03-14 03:10", "2021-11-07 01:40", None, "2021-01-01"],
    "PULocationID": [130, 43, 166, 41],
    "DOLocationID": [205, 151, 239, 42],
    "trip_distance": [3.66, 1.01, 0.0, 1.12],
    "total_amount": [16.86, 6.8, -6.8, float("nan")],
    "tip_amount": [2.81, 0.0, 0.0, 1.0],
}
"""A TLC month: times that occur twice or not at all, a voided ride, and missing values."""


@pytest.mark.parametrize("written", ["epoch", "iso"])
@pytest.mark.filterwarnings("ignore:'epoch' date format is deprecated")
def test_month_as_pandas_writes_it_has_the_rows_of_its_parquet_file(
    written: Any, tmp_path: Path
) -> None:
    frame = pd.DataFrame(TRIPS)
    for name in ("lpep_pickup_datetime", "lpep_dropoff_datetime"):
        frame[name] = pd.to_datetime(frame[name], format="ISO8601")
    frame.to_json(tmp_path / "json", orient="records", lines=True, date_format=written)
    frame.to_parquet(tmp_path / "parquet")

    from_json, from_parquet = (
        one.parse()
        for name in ("json", "parquet")
        for one in reader.chunks(tmp_path / name, name=name)
    )

    assert from_json.rides.equals(from_parquet.rides)
    assert from_json.rides["ride_duration_actual"].to_pylist() == [
        40,
        pytest.approx(9.99583),
        None,
        None,
    ]
    assert not len(from_json.rejected)


def test_lines_without_the_same_fields_have_the_hashes_of_files_with_their_columns() -> None:
    few = b'{"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66}'
    more = few[:-1] + b', "total_amount": 9}'
    named = few[:-1] + b', "ride_id": 7}'

    together, _ = parsed([few, more, named, few])

    ids = together["ride_id"].to_pylist()
    assert ids[::3] == parsed([few])[0]["ride_id"].to_pylist() * 2
    assert ids[1:2] == parsed([more])[0]["ride_id"].to_pylist() != ids[:1]
    assert ids[2] == "7"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pickup_datetime", "1614586500000"),  # it may be a local time or an instant
        ("lpep_pickup_datetime", "1614586500"),
        ("tpep_pickup_datetime", "1614586500000000"),
        ("lpep_pickup_datetime", "1614586500000.5"),
    ],
)
def test_file_whose_times_are_ambiguous_numbers_is_refused_in_one_sentence(
    name: str, value: str, tmp_path: Path
) -> None:
    path = tmp_path / "rides"
    ride = {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66}
    number = json.dumps(ride)[:-1] + f', "{name}": {value}}}\n'
    path.write_text(2 * number + json.dumps(ride) + "\nnonsense\n")

    with pytest.raises(FileError) as found:
        list(reader.chunks(path, name="a file"))

    assert str(found.value) == (
        f"a file has numbers as {name}, and it is not known which time they mean: write times as"
        ' text, in pandas with to_json(date_format="iso")'
    )


def test_one_ambiguous_number_is_one_rejection(tmp_path: Path) -> None:
    path = tmp_path / "rides"
    lines = [
        json.dumps(ride_event()["ride"] | {"pickup_datetime": time}).encode()
        for time in (1614586500000, "2021-03-01T08:15:00")
    ]
    path.write_bytes(b"\n".join(lines))

    [chunk] = reader.chunks(path, name="a file")

    good, bad = chunk.parse()
    assert (len(good), bad["reason"].to_pylist()) == (
        1,
        ["Expected `datetime`, got `int` - at `$.pickup_datetime`"],
    )


def test_malformed_values_beside_the_ride_are_unknown() -> None:
    fields = {"lpep_pickup_datetime": "2021-03-01T08:15:00", "lpep_dropoff_datetime": "soon"}
    ride = ride_event()["ride"] | fields | {"total_amount": "9", "tip_amount": 1}

    good, bad = parsed([json.dumps(ride).encode()])

    assert (
        good["ride_duration_actual"].to_pylist() == good["ride_cost_actual"].to_pylist() == [None]
    )
    assert not len(bad)


def test_archive_line_has_the_time_that_the_stream_used() -> None:
    event = payload(1, lpep_pickup_datetime="2021-03-01T08:15:00")

    good, _ = parsed([archived(event)])

    assert schema.columns(good).hour.tolist() == [5]  # of the arrival


def parsed(lines: list[bytes]) -> Parsed:
    """The rows of a file of *lines*."""
    kind = json_lines.kind_of_file(lines)
    assert kind
    return json_lines.parse(lines, kind, 1)
