from __future__ import annotations

import gzip
import json
import time
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_service import rides
from model_service.errors import MalformedJson, RideRejected
from model_service.rides import decode

from ..support.factories import BROTLI, STORED_BROTLI, payload, ride_event

ZONES = st.integers(1, 265)
MILES = st.floats(0, 1000, exclude_max=True)
RIDE_IDS = st.integers(-(2**53) + 1, 2**53 - 1) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128
)
LOCAL = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31))
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
MOMENTS = LOCAL | st.builds(lambda moment, tz: moment.replace(tzinfo=tz), LOCAL, OFFSETS)


@given(RIDE_IDS, ZONES, ZONES, MILES, MOMENTS)
def test_what_a_producer_encodes_is_what_is_read(
    ride_id: int | str, pickup: int, dropoff: int, miles: float, moment: datetime
) -> None:
    event = decode(
        json.dumps(
            {
                "ride_id": ride_id,
                "ride": {
                    "PULocationID": pickup,
                    "DOLocationID": dropoff,
                    "trip_distance": miles,
                    "pickup_datetime": moment.isoformat(),
                },
            }
        ).encode()
    )

    assert event == rides.RideEvent(rides.Ride(pickup, dropoff, miles, moment), ride_id)


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_ride_or_a_rejection(data: bytes) -> None:
    try:
        decode(data)
    except RideRejected as exc:
        assert str(exc)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"PULocationID": "130"}, "Expected `int`, got `str` - at `$.ride.PULocationID`"),
        ({"PULocationID": True}, "Expected `int`, got `bool` - at `$.ride.PULocationID`"),
        ({"PULocationID": 0}, "Expected `int` >= 1 - at `$.ride.PULocationID`"),
        ({"DOLocationID": 266}, "Expected `int` <= 265 - at `$.ride.DOLocationID`"),
        ({"DOLocationID": 205.5}, "Expected `int`, got `float` - at `$.ride.DOLocationID`"),
        ({"trip_distance": -0.1}, "Expected `float` >= 0.0 - at `$.ride.trip_distance`"),
        ({"trip_distance": 1000}, "Expected `float` < 1000.0 - at `$.ride.trip_distance`"),
        ({"trip_distance": None}, "Expected `float`, got `null` - at `$.ride.trip_distance`"),
        ({"DOLocationID": 266.0}, "Expected `int` <= 265 - at `$.ride.DOLocationID`"),
        ({"DOLocationID": 0.0}, "Expected `int` >= 1 - at `$.ride.DOLocationID`"),
        ({"DOLocationID": 1e300}, "Expected `int` <= 265 - at `$.ride.DOLocationID`"),
        ({"PULocationID": None}, "Expected `int`, got `null` - at `$.ride.PULocationID`"),
        ({"pickup_datetime": "noon"}, "Invalid RFC3339 encoded datetime"),
        ({"pickup_datetime": "0001-01-01T00:00:00Z"}, "Expected a year from 2 to 9998"),
        ({"pickup_datetime": "9999-12-31T23:59:59-14:00"}, "Expected a year from 2 to 9998"),
    ],
)
def test_a_rejection_names_the_field_and_the_rule(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(RideRejected) as exc:
        decode(payload(**change))

    assert str(exc.value).startswith(reason)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"\xff",
        payload().replace(b"3.66", b"NaN"),
        payload().replace(b"3.66", b"1e999"),
        payload(ride_id=2**53),
        payload(ride_id=""),
        payload(ride_id="x" * 129),
        payload().replace(b"256", b"null"),
        payload().replace(b"256", b"256.5"),
        payload().replace(b"256", b"9007199254740992.0"),
        payload().replace(b"256", b"-1e16"),
        payload().replace(b"256", b'"256.0"').replace(b"130", b'"130.0"'),
        payload().replace(b"256", b'"\\ud800"'),
        b'{"ride": ' * 100_000,
        b'{"ignored": ' * 100_000,
    ],
)
def test_what_is_no_ride_event_is_rejected(data: bytes) -> None:
    with pytest.raises(RideRejected):
        decode(data)


@given(st.text(min_size=3).filter(lambda text: text not in "Expected `datetime`, got `str` - at"))
def test_a_rejection_never_repeats_what_was_sent(secret: str) -> None:
    with pytest.raises(RideRejected) as exc:
        decode(json.dumps(ride_event(PULocationID=f"<{secret}>"), ensure_ascii=False).encode(
            "utf-8", "surrogatepass"))  # fmt: skip

    assert f"<{secret}>" not in str(exc.value)


def test_bytes_that_are_no_text_are_rejected_without_quoting_them() -> None:
    with pytest.raises(RideRejected) as exc:
        decode(payload().replace(b"256", b'"\xff\xfe"'))

    assert str(exc.value) == "JSON is not UTF-8"


@given(
    st.integers(-(2**53) + 1, 2**53 - 1),
    ZONES,
    st.sampled_from([lambda n: f"{n}.0", lambda n: f"{n}.000", lambda n: f"{n / 100:.2f}e2"]),
)
def test_a_number_without_a_fraction_is_that_integer(
    ride_id: int, zone: int, write: Callable[[int], str]
) -> None:
    data = payload(1, PULocationID=2).replace(b'"PULocationID": 2', b'"PULocationID": %b')
    written = data.replace(b'"ride_id": 1', b'"ride_id": %b')
    event = decode(written % (write(zone).encode(), f"{ride_id}.0".encode()))

    assert event == decode(written % (b"%d" % zone, b"%d" % ride_id))
    assert type(event.ride.pickup) is int and type(event.ride_id) is int


def test_null_means_that_an_optional_field_is_absent() -> None:
    ride = b'{"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66%b}'
    nulls = ride % b', "pickup_datetime": null, "ride_id": null'

    assert decode(payload(pickup_datetime=None)) == decode(payload())
    assert rides.decode_bare(nulls) == rides.decode_bare(ride % b"")
    assert rides.decode_wrapped(b'{"ride": %b, "ride_id": null}' % nulls).ride_id is None


def test_unknown_fields_are_ignored() -> None:
    assert decode(payload(color="green")) == decode(payload())


def test_the_arrival_stands_for_a_pickup_time_that_is_absent() -> None:
    arrived, said = datetime(2022, 6, 2, tzinfo=UTC), datetime(2021, 3, 1, 8, 15)

    assert decode(payload(), arrived).ride.pickup_datetime == arrived
    assert decode(payload(pickup_datetime=said.isoformat()), arrived).ride.pickup_datetime == said
    assert decode(payload()).ride.pickup_datetime is None


def read_all(data: bytes) -> list[rides.RideResult]:
    return list(rides.read(b64encode(data).decode(), "shard:1", datetime(2022, 6, 2, tzinfo=UTC)))


def test_a_record_is_read_to_its_ride_event() -> None:
    [result] = read_all(gzip.compress(payload(7)))

    assert result.event_id == "shard:1"
    assert isinstance(result.event, rides.RideEvent)
    assert result.event.ride_id == 7
    assert result.event.ride.pickup_datetime == datetime(2022, 6, 2, tzinfo=UTC)


def test_a_record_that_cannot_be_read_gives_one_rejection() -> None:
    [result] = rides.read("no base64!", "shard:1", None)

    assert (result.event_id, result.raw) == ("shard:1", None)
    assert str(result.event) == "data is not base64"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"ride": ' * 100_000])
def test_bytes_that_are_not_json_are_told_from_a_broken_rule(data: bytes) -> None:
    with pytest.raises(MalformedJson):
        decode(data)


def test_a_bare_ride_may_have_an_id() -> None:
    ride = b'{"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66%s}'

    assert rides.decode_bare(ride % b"").ride_id is None
    assert rides.decode_bare(ride % b', "ride_id": "a"').ride_id == "a"


RIDE = payload("a customer")
FORMATS = {
    "empty": (b"", "data is empty"),
    "blank": (b" \r\n", "data is empty"),
    "UTF-16": (RIDE.decode().encode("utf-16"), "data is UTF-16 text"),
    "UTF-16 LE": (RIDE.decode().encode("utf-16-le"), "data is UTF-16 text"),
    "UTF-16 BE": (RIDE.decode().encode("utf-16-be"), "data is UTF-16 text"),
    "UTF-32": (RIDE.decode().encode("utf-32"), "data is UTF-32 text"),
    "UTF-32 LE": (RIDE.decode().encode("utf-32-le"), "data is UTF-32 text"),
    "zlib": (zlib.compress(RIDE), "data is compressed with zlib"),
    "zlib, fast": (zlib.compress(RIDE, 1), "data is compressed with zlib"),
    "gzip": (gzip.compress(RIDE), "data is compressed with gzip"),
    "zstd": (pa.compress(RIDE, "zstd", asbytes=True), "data is compressed with zstd"),
    "snappy": (pa.compress(RIDE, "snappy", asbytes=True), "data is compressed with snappy"),
    "short snappy": (pa.compress(b"{}", "snappy", asbytes=True), "data is compressed with snappy"),
    "LZ4": (pa.compress(RIDE, "lz4", asbytes=True), "data is compressed with LZ4"),
    "base64": (b64encode(RIDE), "data is base64 text"),
    "lines of base64": (b64encode(RIDE)[:76] + b"\n" + b64encode(RIDE)[76:], "data is base64 text"),
    "base64 of a gzip": (b64encode(gzip.compress(RIDE)), "data is base64 text"),
    "base64 without padding": (b64encode(RIDE + b" ").rstrip(b"="), "data is base64 text"),
    "base64url": (urlsafe_b64encode(RIDE + b"~~~~"), "data is base64 text"),
    "ZIP": (b"PK\x03\x04\x14\x00\x00\x00", "data is a ZIP archive"),
    "brotli": (BROTLI, "data is probably compressed with brotli"),
    "brotli, stored": (STORED_BROTLI, "data is probably compressed with brotli"),
}


@pytest.mark.parametrize(("data", "reason"), FORMATS.values(), ids=FORMATS)
def test_a_format_that_is_not_json_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedJson) as exc:
        decode(data)

    assert str(exc.value) == (reason if "empty" in reason else f"{reason}, not JSON in UTF-8")


@pytest.mark.parametrize(
    "data",
    [b"a ride", b"{ {", b"x^y", b"\x78", b"\xff", b"NaN", b"ab==", b"x" * 40, b"{" + 60 * b"a"],
)
def test_bytes_of_no_known_format_are_malformed_json(data: bytes) -> None:
    with pytest.raises(MalformedJson, match="JSON is malformed"):
        decode(data)


def test_a_byte_order_mark_is_skipped() -> None:
    marked = b"\xef\xbb\xbf"

    assert decode(marked + payload(7)) == decode(payload(7))
    assert rides.decode_bare(marked + json.dumps(ride_event()["ride"]).encode()).pickup == 130
    with pytest.raises(MalformedJson):
        decode(marked * 10_000 + payload(7))


@pytest.mark.parametrize("offset", ["", "Z", "z", "+01:00", "-0500"])
@pytest.mark.parametrize("between", ["T", "t", " "])
def test_a_pickup_time_may_lack_its_seconds(between: str, offset: str) -> None:
    short, full = (f"2021-03-01{between}{clock}{offset}" for clock in ("08:15", "08:15:00"))

    assert decode(payload(pickup_datetime=short)) == decode(payload(pickup_datetime=full))
    assert rides.decode_bare(
        json.dumps(ride_event(pickup_datetime=short)["ride"]).encode()
    ).pickup_datetime == datetime.fromisoformat(full.upper())


@pytest.mark.parametrize(
    "text", ["2021-03-01T24:00", "2021-02-30T08:15", "2021-03-01T08", "2021-03-01T08:15:", "08:15"]
)
def test_a_time_that_lacks_more_than_its_seconds_is_rejected(text: str) -> None:
    with pytest.raises(RideRejected, match="Invalid RFC3339 encoded datetime"):
        decode(payload(pickup_datetime=text))


def test_other_rules_hold_for_a_ride_whose_time_lacks_its_seconds() -> None:
    short = "2021-03-01T08:15Z"

    with pytest.raises(RideRejected, match="Expected `int` >= 1"):
        decode(payload(pickup_datetime=short, DOLocationID=0, PULocationID=1))
    with pytest.raises(RideRejected):
        decode(payload(pickup_datetime=short) + b"?")
    with pytest.raises(RideRejected, match="Expected a year from 2 to 9998"):
        decode(payload(pickup_datetime="9999-03-01T08:15Z"))


@pytest.mark.parametrize(
    ("digits", "microseconds"),
    [("1234564", 123456), ("1234565", 123457), ("12345649999", 123456), ("0000005", 1)],
)
def test_fractions_of_a_second_are_rounded_half_up_to_microseconds(
    digits: str, microseconds: int
) -> None:
    ride = decode(payload(pickup_datetime=f"2021-03-01T08:15:00.{digits}")).ride

    assert ride.pickup_datetime == datetime(2021, 3, 1, 8, 15, 0, microseconds)


@pytest.mark.parametrize(
    ("changes", "ignores_time"),
    [
        ({"lpep_pickup_datetime": "2021-03-01 08:15:00"}, True),
        ({"pickupTime": 1614586500}, True),
        ({"PICK_UP_AT": "2021-03-01T08:15Z"}, True),
        ({"pickup_longitude": -73.9, "pickup_borough": "Queens"}, False),
        ({"pickup_datetime": "2021-03-01T08:15:00", "pickup_at": "2021-03-01"}, False),
        ({"pickup_datetime": "2022-06-02T00:00:00Z"}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("ride_id", [256, "257"])
def test_an_unknown_field_that_looks_like_a_pickup_time_is_noticed(
    ride_id: int | str, changes: dict[str, Any], ignores_time: bool
) -> None:
    [result] = read_all(gzip.compress(payload(ride_id, **changes)))

    assert isinstance(result.event, rides.RideEvent)
    assert result.ignores_time is ignores_time


def test_a_pickup_time_outside_the_ride_is_noticed() -> None:
    [result] = read_all(json.dumps({**ride_event(), "pickup_datetime": "2021-03-01"}).encode())

    assert result.ignores_time


@pytest.mark.parametrize(
    "field",
    [
        {"a": "pickup" * 150_000},
        {"pickup" * 150_000: 1},
        {f"pickup_{n}": "" for n in range(50_000)},
        {"a": '"' * 400_000},
    ],
)
def test_an_event_of_a_megabyte_is_read_in_linear_time(field: dict[str, Any]) -> None:
    data = json.dumps({**ride_event(), **field}).encode()
    started = time.process_time()

    [result] = read_all(data)

    assert isinstance(result.event, rides.RideEvent)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("name", ["lpep_pickup_datetime", "PickupTime", "pick-up time", "pick_up"])
def test_a_field_that_looks_like_a_pickup_time_is_noticed(name: str) -> None:
    [result] = read_all(json.dumps(ride_event(**{name: "2021-03-01 08:15:00"})).encode())

    assert result.ignores_time
