from __future__ import annotations

import gzip
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from model_service import rides
from model_service.errors import MalformedJson, RideRejected
from model_service.rides import decode

from ..support.factories import payload, ride_event

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
        (
            {"pickup_datetime": None},
            "Expected `datetime`, got `null` - at `$.ride.pickup_datetime`",
        ),
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
        payload().replace(b"256", b"256.0"),
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


def test_unknown_fields_are_ignored() -> None:
    assert decode(payload(color="green")) == decode(payload())


def test_the_arrival_stands_for_a_pickup_time_that_is_absent() -> None:
    arrived, said = datetime(2022, 6, 2, tzinfo=UTC), datetime(2021, 3, 1, 8, 15)

    assert decode(payload(), arrived).ride.pickup_datetime == arrived
    assert decode(payload(pickup_datetime=said.isoformat()), arrived).ride.pickup_datetime == said
    assert decode(payload()).ride.pickup_datetime is UNSET


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

    assert rides.decode_bare(ride % b"").ride_id is UNSET
    assert rides.decode_bare(ride % b', "ride_id": "a"').ride_id == "a"
