from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from model_service import rides
from model_service.errors import RideRejected
from model_service.rides import NEW_YORK, Prediction, Source, decode, encode, event_of, new_york

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


@pytest.mark.parametrize(
    ("moment", "hour", "weekday"),
    [
        ("2021-03-01T08:15:00", 8, 0),
        ("2021-03-01T08:15:00Z", 3, 0),
        ("2021-03-01T01:15:00+00:00", 20, 6),
        ("2021-03-14T02:30:00", 3, 6),  # a time that New York skipped
        ("2021-11-07T01:30:00", 1, 6),  # a time that New York had twice
    ],
)
def test_hours_are_new_yorks(moment: str, hour: int, weekday: int) -> None:
    local = new_york(datetime.fromisoformat(moment))

    assert (local.hour, local.weekday()) == (hour, weekday)


def test_an_hour_that_occurs_twice_means_the_first() -> None:
    summer_time = timedelta(hours=-4)

    assert new_york(datetime(2021, 11, 7, 1, 30)).utcoffset() == summer_time


@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))
def test_new_yorks_time_is_new_yorks_time_again(moment: datetime) -> None:
    local = new_york(moment)

    assert local.tzinfo is NEW_YORK
    assert new_york(local) == local


def test_a_prediction_event_has_the_fixed_form() -> None:
    prediction = Prediction(
        model="ride_duration_prediction_model",
        version="Test123",
        field="ride_duration",
        value=21.3,
        interval=(17.0, 26.9),
        ride_id=256,
        source=Source("shardId-000000000000:1", datetime(2022, 6, 2, 8, 5, 14, 132999, UTC)),
    )

    assert encode(event_of(prediction)) == (
        b'{"model":"ride_duration_prediction_model","version":"Test123",'
        b'"prediction":{"ride_duration":21.3,"ride_id":256,"interval":[17.0,26.9]},'
        b'"source":{"event_id":"shardId-000000000000:1","arrived_at":"2022-06-02T08:05:14.132Z"}}'
    )


def test_a_producer_is_told_what_the_service_would_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rides.jsonl"
    file.write_bytes(b"\n".join([payload(1), b"", payload(2, PULocationID=0), payload(3)]))

    assert rides.main(["check", str(file)]) == 1

    assert capsys.readouterr().out == (
        "line 3: rejected: Expected `int` >= 1 - at `$.ride.PULocationID`\n2 good, 1 rejected\n"
    )


def test_one_event_over_several_lines_is_one_even_when_it_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ride.json"
    file.write_text(json.dumps(ride_event(trip_distance=float("nan")), indent=2))

    assert rides.main(["check", str(file)]) == 1
    assert capsys.readouterr().out.endswith("0 good, 1 rejected\n")


def test_a_file_may_be_one_event_over_several_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ride.json"
    file.write_text(json.dumps(ride_event(), indent=2))

    assert rides.main(["check", str(file)]) == 0
    assert capsys.readouterr().out == "1 good, 0 rejected\n"


@pytest.mark.parametrize("arguments", [[], ["check"], ["check", "no such file"], ["lint", "x"]])
def test_a_wrong_call_gets_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert rides.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_without_events_is_not_called_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()

    assert rides.main(["check", str(tmp_path / "empty")]) == 1
    assert capsys.readouterr().err.startswith("there is no event in ")


def test_a_gzipped_event_is_unzipped_as_on_the_stream(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ride.json.gz").write_bytes(gzip.compress(payload()))

    assert rides.main(["check", str(tmp_path / "ride.json.gz")]) == 0
    assert capsys.readouterr().out == "1 good, 0 rejected\n"
