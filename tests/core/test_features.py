from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_service.features import FEATURES, TEXT, TYPES, columns, rows, table
from model_service.rides import Ride

ZONES = [None, UTC, *(timezone(timedelta(minutes=minutes)) for minutes in (-1439, 1439))]
RIDES = st.lists(
    st.builds(
        Ride,
        pickup=st.integers(1, 265),
        dropoff=st.integers(1, 265),
        distance=st.floats(0, 999),
        pickup_datetime=st.datetimes(
            datetime(2, 1, 1),
            datetime(9998, 12, 31, 23, 59, 59),  # all that `rides.decode` lets through
            timezones=st.sampled_from(ZONES),
        ),
    ),
    max_size=20,
)
PLACES = {  # from Jamaica to Saint Albans
    "pickup_east": 8.18,
    "pickup_north": -1.77,
    "pickup_across": 8.01,
    "pickup_along": 2.42,
    "dropoff_east": 9.80,
    "dropoff_north": -2.68,
    "dropoff_across": 9.87,
    "dropoff_along": 2.41,
    "change_east": 1.62,
    "change_north": -0.91,
    "change_across": 1.86,
    "change_along": -0.01,
    "sum_east": 17.97,
    "sum_north": -4.44,
    "sum_across": 17.87,
    "sum_along": 4.83,
    "straight": 1.86,
}
EVERYTHING = {name: TEXT if name == "PU_DO" else np.dtype("f4") for name in FEATURES}


@given(RIDES)
def test_every_feature_has_a_value_a_ride(rides: list[Ride]) -> None:
    for column in table(columns(rides), EVERYTHING).values():
        assert column.shape == (len(rides),)


@given(RIDES)
def test_some_of_the_rides_are_as_they_were_among_all(rides: list[Ride]) -> None:
    middle = len(rides) // 2

    some = columns(rides)[middle:]

    assert len(some) == len(rides) - middle
    assert repr(some) == repr(columns(rides[middle:]))


@given(RIDES, st.randoms())
def test_a_ride_has_the_same_features_in_any_company(rides: list[Ride], random: object) -> None:
    together = table(columns(rides), EVERYTHING)

    for place, ride in enumerate(rides):
        alone = table(columns([ride]), EVERYTHING)
        for name, column in together.items():
            assert repr(column[place]) == repr(alone[name][0])


def test_a_ride_has_the_features_that_a_model_names() -> None:
    ride = Ride(130, 205, 3.66, datetime(2021, 3, 1, 8, 15))

    found = table(columns([ride]), EVERYTHING)

    assert {name: column.tolist() for name, column in found.items()} == {
        "PU_DO": ["130_205"],
        "PULocationID": [130.0],
        "DOLocationID": [205.0],
        "trip_distance": [pytest.approx(3.66)],
        "hour": [8.0],
        "weekday": [0.0],
        "minute_of_day": [495.0],
        **{name: [pytest.approx(miles, abs=0.01)] for name, miles in PLACES.items()},
    }


def test_a_feature_comes_in_the_type_that_a_model_names() -> None:
    rides = columns([Ride(130, 205, 3.66)])

    found = table(rides, {"PULocationID": TEXT, "DOLocationID": np.dtype("i4")})

    assert found["PULocationID"].tolist() == ["130"]
    assert found["DOLocationID"].dtype == np.int32


def test_a_ride_without_a_time_has_no_hour() -> None:
    rides = columns([Ride(130, 205, 3.66)])

    assert np.isnan(rides.hour).all()
    assert np.isnan(rides.weekday).all()
    assert np.isnan(rides.minute_of_day).all()


def test_a_quarter_to_nine_is_still_eight() -> None:
    start = datetime(2021, 3, 1)
    rides = columns([Ride(1, 1, 1.0, start + timedelta(minutes=15 * n)) for n in range(96)])

    assert rides.hour.tolist() == [n // 4 for n in range(96)]


def test_a_zone_that_lies_nowhere_has_no_place() -> None:
    found = table(columns([Ride(264, 265, 1.0)]), EVERYTHING)

    assert all(np.isnan(found[name]).all() for name in PLACES)


def test_a_model_that_names_nothing_gets_the_route_and_the_distance() -> None:
    assert rows(columns([Ride(1, 2, 0.5), Ride(3, 4, 1)])) == [
        {"PU_DO": "1_2", "trip_distance": 0.5},
        {"PU_DO": "3_4", "trip_distance": 1.0},
    ]


def test_every_feature_says_which_types_hold_it() -> None:
    assert TYPES.keys() == FEATURES.keys()


@given(RIDES)
def test_a_type_that_holds_a_feature_changes_no_ride(rides: list[Ride]) -> None:
    found = columns(rides)

    for name, kinds in TYPES.items():
        for dtype in (np.dtype("f8"), np.dtype("i8")):
            if dtype.kind in kinds:
                asked = table(found, {name: dtype})[name]
                assert np.array_equal(asked, FEATURES[name](found), equal_nan=dtype.kind == "f")
