"""The validity check of rows, and the reason for dropping each invalid row."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.training_factories import (
    MONTH,
    RIDE,
    TLC_DATA,
    needs_tlc_data,
    ride,
    write_month,
)
from training.data import dataset
from training.data.cleaning import RowCounts
from training.data.dataset import DataError, Target

PICKUP = RIDE["lpep_pickup_datetime"]


def lasting(minutes: float) -> dict[str, Any]:
    return ride(lpep_dropoff_datetime=PICKUP + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        (lasting(0.9), "under 1 minute"),
        (lasting(-5), "under 1 minute"),
        (lasting(60.1), "over 60 minutes"),
        (ride(lpep_dropoff_datetime=None), "no pick-up or drop-off time"),
        (ride(PULocationID=266), "pick-up zone outside 1 to 265"),
        (ride(PULocationID=None), "no pick-up zone"),
        (ride(DOLocationID=0), "drop-off zone outside 1 to 265"),
        (ride(DOLocationID=None), "no drop-off zone"),
        (ride(trip_distance=-0.1), "distance outside 0 to 1,000 miles"),
        (ride(trip_distance=1000.0), "distance outside 0 to 1,000 miles"),
        (ride(trip_distance=float("nan")), "no distance"),
        (ride(trip_distance=None), "no distance"),
        (ride(total_amount=4.4, tip_amount=2.0), "under 2.50 dollars"),
        (ride(total_amount=300.0), "over 200 dollars"),
        (ride(tip_amount=None), "no amount"),
    ],
)
def test_each_dropped_row_has_a_reason(tmp_path: Path, faulty: dict[str, Any], reason: str) -> None:
    write_month(tmp_path, ride(), faulty)

    rides, tally = dataset.read_with_counts(tmp_path, MONTH, "cost")

    assert (len(rides), tally) == (1, RowCounts(2, {reason: 1}))


def test_a_row_with_several_faults_is_counted_once(tmp_path: Path) -> None:
    broken = lasting(0) | {"PULocationID": 0, "trip_distance": -1.0}
    write_month(tmp_path, ride(), ride(), broken, lasting(90))

    _, tally = dataset.read_with_counts(tmp_path, MONTH, "duration")

    assert tally == RowCounts(4, {"under 1 minute": 1, "over 60 minutes": 1})
    assert str(tally) == "2 of 4 rows (under 1 minute: 1; over 60 minutes: 1)"


def test_valid_rows_stay_in_order(tmp_path: Path) -> None:
    miles = [4.0, 3.0, -1.0, 2.0, 5.0]
    write_month(tmp_path, *(ride(trip_distance=distance) for distance in miles))

    rides = dataset.read(tmp_path, MONTH, "duration")

    assert rides.columns.distance.tolist() == [4.0, 3.0, 2.0, 5.0]


@settings(max_examples=20, deadline=None)
@given(good=st.integers(1, 9), bad=st.integers(0, 9))
def test_a_month_that_loses_most_of_its_rows_is_refused(
    tmp_path_factory: pytest.TempPathFactory, good: int, bad: int
) -> None:
    directory = tmp_path_factory.mktemp("month")
    write_month(directory, *[ride()] * good, *[lasting(300)] * bad)

    if bad <= good:
        assert dataset.read_with_counts(directory, MONTH, "duration")[1].used == good
        return
    with pytest.raises(DataError, match=rf"only {good} of {good + bad} rows \(over 60 minutes: "):
        dataset.read(directory, MONTH, "duration")


@needs_tlc_data
@pytest.mark.parametrize("target", ["duration", "cost"])
def test_at_most_5_percent_of_the_rows_of_a_tlc_month_are_dropped(target: Target) -> None:
    rides, tally = dataset.read_with_counts(TLC_DATA, "2023-01", target)

    assert tally.used == len(rides) > 0.95 * tally.read
    assert tally.dropped["under 1 minute"] > 0
