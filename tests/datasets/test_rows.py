"""A row is valid exactly if its ride event is, whatever the types of its columns."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_service import rides
from model_service.datasets import schema
from model_service.datasets.formats.columns import REQUIRED
from model_service.errors import FileError, RideRejected
from model_service.features import columns
from model_service.rides import RideEvent

from ..support.batch_factories import ROW, TLC_ROW, parsed, table
from ..support.training_factories import TLC_DATA, needs_tlc_data

ZONES = st.integers(-3, 270) | st.none() | st.integers(-(2**40), 2**40)
EDGES = st.sampled_from([0.0, -0.0, -0.01, 999.999, 1000.0, 1e300])
DISTANCES = st.floats(-5, 1100) | EDGES | st.none()
TIMES = st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
TEXTS = TIMES.map(lambda time: time and time.isoformat()) | st.sampled_from(
    [
        *("2021-03-01 08:15:00", "2021-03-01", "2021-03-01T08:15:60", "2021-03-01T24:00:00"),
        *("2021-03-01T08:15:00Z", "2021-03-01T08:15:00-05:00", "2021-02-30T08:15:00", "soon", ""),
        *("2021-03-01T08:15:00.1234567", "2021-03-01t08:15:00z", "2021-03-01T08:15:00.9"),
        *("2021-03-01T08:15Z", "2021-03-01T08:15", "2021-03-01 08:15", "2021-03-01T08:15-05:00"),
        *("0001-01-01T00:00:00+05:00", "9999-12-31T23:00:00-05:00", "9998-12-31T23:00:00"),
    ]
)
IDS = st.text(max_size=130).filter(lambda text: text.isprintable()) | st.none()


def rows(times: st.SearchStrategy[Any], ids: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    row = st.fixed_dictionaries(
        {
            "PULocationID": ZONES,
            "DOLocationID": ZONES,
            "trip_distance": DISTANCES,
            "pickup_datetime": times,
            "ride_id": ids,
        }
    )
    return st.lists(row, min_size=1, max_size=20)


def typed(rows: list[dict[str, Any]], time: pa.DataType, id_: pa.DataType) -> pa.RecordBatch:
    schema = pa.schema(
        [
            ("PULocationID", pa.int64()),
            ("DOLocationID", pa.int64()),
            ("trip_distance", pa.float64()),
            ("pickup_datetime", time),
            ("ride_id", id_),
        ]
    )
    return pa.RecordBatch.from_pylist(rows, schema)


def event(row: dict[str, Any]) -> bytes:
    """The ride event of a row, without a time if the row has none."""
    ride = {name: row[name] for name in REQUIRED}
    if (time := row["pickup_datetime"]) is not None:
        ride["pickup_datetime"] = time if isinstance(time, str) else time.isoformat()
    return json.dumps(
        {"ride": ride, "ride_id": 1 if row["ride_id"] is None else row["ride_id"]}
    ).encode()


def verdicts(found: list[dict[str, Any]]) -> dict[int, RideEvent | str]:
    """The result of `rides.decode` for each row, by row number."""
    said: dict[int, RideEvent | str] = {}
    for number, row in enumerate(found, start=1):
        try:
            said[number] = rides.decode(event(row))
        except RideRejected as exc:
            said[number] = str(exc)
    return said


def assert_same_verdicts(found: list[dict[str, Any]], batch: pa.RecordBatch) -> None:
    good, bad = parsed(batch)
    expected = verdicts(found)
    events = {n: said for n, said in expected.items() if isinstance(said, RideEvent)}

    assert dict(zip(bad["row"].to_pylist(), bad["reason"].to_pylist(), strict=True)) == {
        n: said for n, said in expected.items() if isinstance(said, str)
    }
    assert good["row"].to_pylist() == list(events)
    ours, theirs = schema.columns(good), columns([one.ride for one in events.values()])
    for name in ("pickup", "dropoff", "distance", "picked_up"):
        left, right = getattr(ours, name).tolist(), getattr(theirs, name).tolist()
        assert [str(one) for one in left] == [str(one) for one in right]
    given_ids = [found[n - 1]["ride_id"] for n in events]
    for given_id, ride_id in zip(given_ids, good["ride_id"].to_pylist(), strict=True):
        assert ride_id == str(given_id) if given_id is not None else len(ride_id) == 16


@settings(deadline=None)
@given(rows(TIMES, IDS))
def test_row_is_accepted_exactly_if_its_ride_event_is(found: list[dict[str, Any]]) -> None:
    assert_same_verdicts(found, typed(found, pa.timestamp("us"), pa.string()))


@settings(deadline=None)
@given(rows(TEXTS, st.integers(-(2**60), 2**60) | st.integers(-9, 9) | st.none()))
def test_row_with_text_times_and_numeric_ids_is_accepted_exactly_if_its_ride_event_is(
    found: list[dict[str, Any]],
) -> None:
    assert_same_verdicts(found, typed(found, pa.string(), pa.int64()))


@settings(deadline=None)
@given(rows(TIMES, IDS))
def test_data_of_a_rejected_row_is_rejected_as_a_ride_event(
    found: list[dict[str, Any]],
) -> None:
    _, bad = parsed(typed(found, pa.timestamp("us"), pa.string()))

    for data, reason in zip(bad["data"].to_pylist(), bad["reason"].to_pylist(), strict=True):
        with pytest.raises(RideRejected) as caught:
            rides.decode(data)
        assert str(caught.value) == reason


NUMBERS = st.one_of(
    st.integers(-2, 300).map(str),
    st.floats(-10, 2000, allow_nan=False).map(repr),
    st.sampled_from(
        ["", "nan", "inf", "-Infinity", "1_0", "0x1f", "12abc", " 7 ", "3\n", "1e2", "1e999"]
    ),
    st.text(max_size=5),
)


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, TEXTS), min_size=1, max_size=20))
def test_row_with_any_text_is_accepted_or_rejected(
    found: list[tuple[str, str, str, str | None]],
) -> None:
    names = ("PULocationID", "DOLocationID", "trip_distance", "pickup_datetime")
    schema = pa.schema([(name, pa.string()) for name in names])
    batch = pa.RecordBatch.from_pylist(
        [dict(zip(names, row, strict=True)) for row in found], schema
    )

    good, bad = parsed(batch, text=True)

    assert sorted(good["row"].to_pylist() + bad["row"].to_pylist()) == [*range(1, len(found) + 1)]


@pytest.mark.parametrize("type_", [pa.int8(), pa.uint16(), pa.int64(), pa.float32(), pa.float64()])
def test_zone_column_may_have_any_numeric_type(type_: pa.DataType) -> None:
    good, bad = parsed(table(ROW | {"PULocationID": 100}, PULocationID=type_))

    assert good["PULocationID"].to_pylist() == [100]
    assert not len(bad)


def test_decimals_and_dictionary_columns_are_read() -> None:
    row = ROW | {"trip_distance": Decimal("3.66")}

    good, _ = parsed(table(row, ride_id=pa.dictionary(pa.int32(), pa.string())))

    assert good["trip_distance"].to_pylist() == [3.66]
    assert good["ride_id"].to_pylist() == ["256"]


def test_fractional_zone_is_rejected_as_in_json() -> None:
    _, bad = parsed(table(ROW | {"PULocationID": 1.5}))

    assert bad["reason"].to_pylist() == ["Expected `int`, got `float` - at `$.ride.PULocationID`"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_distance_that_is_not_finite_is_rejected(value: float) -> None:
    _, bad = parsed(table(ROW | {"trip_distance": value}))

    assert bad["reason"].to_pylist() == ["Expected `float`, got `null` - at `$.ride.trip_distance`"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_time_column_may_have_any_unit_and_time_zone(unit: str) -> None:
    naive = table(pickup_datetime=pa.timestamp(unit))
    aware = table(pickup_datetime=pa.timestamp(unit, "Asia/Tokyo"))

    assert schema.columns(parsed(naive).rides).hour.tolist() == [8]
    assert schema.columns(parsed(aware).rides).hour.tolist() == [3]  # 08:15 in UTC


@pytest.mark.parametrize("year", [0, 20_000, -5])
def test_year_outside_python_s_range_is_rejected(year: int) -> None:
    seconds = int((year - 1970) * 365.2425 * 86400)
    time = pa.array([seconds]).cast(pa.timestamp("s"))
    batch = table().set_column(4, "pickup_datetime", time)

    good, bad = parsed(batch)

    assert (len(good), len(bad)) == (0, 1)
    assert "pickup_datetime" in bad["reason"].to_pylist()[0]


@pytest.mark.parametrize("ticks", [2**61, -(2**61), 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_time_beyond_64_bits_of_microseconds_is_rejected_unchanged(unit: Any, ticks: int) -> None:
    batch = table().set_column(4, "pickup_datetime", pa.array([ticks]).cast(pa.timestamp(unit)))

    good, bad = parsed(batch)

    assert (len(good), bad["reason"].to_pylist()) == (
        0,
        ["Invalid RFC3339 encoded datetime - at `$.ride.pickup_datetime`"],
    )
    [data] = bad["data"].to_pylist()
    kept = msgspec.json.decode(data)["ride"]["pickup_datetime"]
    assert kept == str(np.datetime64(ticks, unit))


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), min_size=1, max_size=9))
def test_invalid_utf_8_is_rejected_as_in_json_with_its_bytes(
    found: list[tuple[bytes, bytes]],
) -> None:
    texts = [pa.array(column).view(pa.string()) for column in zip(*found, strict=True)]
    batch = table(*[ROW] * len(found)).set_column(0, "ride_id", texts[0])
    batch = batch.set_column(4, "pickup_datetime", texts[1])

    good, bad = parsed(batch)

    events = [bytes_event(*one) for one in found]
    refused = {n: reason for n, data in enumerate(events, 1) if (reason := refusal(data))}
    assert dict(zip(bad["row"].to_pylist(), bad["reason"].to_pylist(), strict=True)) == refused
    assert len(good) == len(found) - len(refused)
    assert [refusal(data) for data in bad["data"].to_pylist()] == [*refused.values()]
    for n, data in zip(bad["row"].to_pylist(), bad["data"].to_pylist(), strict=True):
        assert data == events[n - 1]


def bytes_event(ride_id: bytes, time: bytes) -> bytes:
    """A ride event with these bytes as its id and its time."""
    zones = b'{"ride":{"PULocationID":130,"DOLocationID":205,"trip_distance":3.66'
    return b'%s,"pickup_datetime":%s},"ride_id":%s}' % (zones, quoted(time), quoted(ride_id))


def quoted(text: bytes) -> bytes:
    whole = json.dumps(text.decode(errors="surrogateescape"), ensure_ascii=False)
    return whole.encode(errors="surrogateescape")


def refusal(data: bytes) -> str | None:
    try:
        rides.decode(data)
    except RideRejected as exc:
        return str(exc)
    return None


@pytest.mark.parametrize("prefix", ["lpep", "tpep"])
def test_tlc_ride_has_its_duration_and_its_cost_without_the_tip(prefix: str) -> None:
    row = {name.replace("lpep", prefix): value for name, value in TLC_ROW.items()}

    good, _ = parsed(table(row))

    assert good["ride_duration_actual"].to_pylist() == [15.0]
    assert good["ride_cost_actual"].to_pylist() == [18.0]


def test_case_of_column_names_is_ignored() -> None:
    row = {name.lower(): value for name, value in TLC_ROW.items()}

    assert len(parsed(table(row)).rides) == 1


def test_hashed_id_is_the_same_in_every_generation_of_the_schema() -> None:
    old = table(TLC_ROW)
    new = table(
        TLC_ROW,
        VendorID=pa.int32(),
        PULocationID=pa.int32(),
        DOLocationID=pa.int32(),
        lpep_pickup_datetime=pa.timestamp("ns"),
    )

    assert parsed(old).rides["ride_id"].to_pylist() == ["f58dc17bbb5c0b07"]
    assert parsed(new).rides["ride_id"] == parsed(old).rides["ride_id"]


@pytest.mark.parametrize(
    "change",
    [
        {"VendorID": 1},
        {"PULocationID": 131},
        {"trip_distance": 3.67},
        {"lpep_dropoff_datetime": datetime(2021, 3, 1, 8, 31)},
        {"tip_amount": 2.5},
    ],
)
def test_different_rides_have_different_hashed_ids(change: dict[str, Any]) -> None:
    good, _ = parsed(table(TLC_ROW, TLC_ROW | change))

    assert len(set(good["ride_id"].to_pylist())) == 2


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"PULocationID": "Jamaica"}, "PULocationID is text, not a number"),
        ({"pickup_datetime": date(2021, 3, 1)}, "pickup_datetime is date32[day], not a time"),
        ({"ride_id": True}, "ride_id is bool, not a number or text"),
    ],
)
def test_error_names_a_column_of_an_unsuitable_type(row: dict[str, Any], fault: str) -> None:
    with pytest.raises(FileError, match=r"^a table does not hold rides: ") as caught:
        parsed(table(ROW | row))

    assert str(caught.value).endswith(fault)


def test_error_names_every_missing_column() -> None:
    with pytest.raises(FileError) as caught:
        parsed(table({"PULocationID": 1}))

    assert str(caught.value) == (
        "a table does not hold rides: there is no column DOLocationID;"
        " there is no column trip_distance"
    )


@needs_tlc_data
def test_every_generation_of_tlc_files_is_read() -> None:
    for path in sorted(TLC_DATA.glob("green_tripdata_*.parquet")):
        whole = pq.read_table(path).combine_chunks()
        [batch] = whole.to_batches()

        good, bad = parsed(batch)

        assert len(good) + len(bad) == len(batch)
        assert len(bad) < 100
        assert good["ride_duration_actual"].null_count == 0
        assert len(set(good["ride_id"].to_pylist())) == len(good)


def test_rejected_row_is_kept_as_a_ride_event() -> None:
    _, bad = parsed(table(ROW | {"PULocationID": 0}))

    [data] = bad["data"].to_pylist()
    assert msgspec.json.decode(data) == {
        "ride": {
            "PULocationID": 0,
            "DOLocationID": 205,
            "trip_distance": 3.66,
            "pickup_datetime": "2021-03-01T08:15:00.000000",
        },
        "ride_id": "256",
    }
