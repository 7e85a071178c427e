from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_service.features import columns
from model_service.rides import Ride
from tests.support.training_factories import MONTH, TLC_DATA, needs_tlc_data, ride, write_month
from training.data import dataset
from training.data.dataset import DataError

PICKUP = datetime(2021, 3, 1, 8, 15)

times = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31))
in_march = st.builds(
    lambda year, minutes: datetime(year, 3, 8) + timedelta(minutes=minutes),
    st.integers(2007, 2099),
    st.integers(0, 7 * 24 * 60),
)


def lasting(minutes: float) -> dict[str, Any]:
    return ride(lpep_dropoff_datetime=PICKUP + timedelta(minutes=minutes))


def test_a_ride_is_read_as_columns_and_minutes(tmp_path: Path) -> None:
    rides = dataset.read(write_month(tmp_path, ride()), MONTH, "duration")

    assert rides.columns.pickup.tolist() == [130]
    assert rides.columns.dropoff.tolist() == [205]
    assert rides.columns.distance.tolist() == [3.66]
    assert rides.columns.hour.tolist() == [8]
    assert rides.columns.weekday.tolist() == [0]
    assert rides.target.tolist() == [15]
    assert rides.pickup_datetime.tolist() == [PICKUP]


def test_the_cost_of_a_ride_is_without_the_tip(tmp_path: Path) -> None:
    rides = dataset.read(write_month(tmp_path, ride()), MONTH, "cost")

    assert rides.target.tolist() == [18]


@pytest.mark.parametrize(
    ("kept", "minutes"), [(True, 1), (True, 60), (False, 0.99), (False, 60.01), (False, -5)]
)
def test_rides_of_1_to_60_minutes_are_kept(tmp_path: Path, kept: bool, minutes: float) -> None:
    write_month(tmp_path, ride(), lasting(minutes))

    assert len(dataset.read(tmp_path, MONTH, "duration")) == 1 + kept


@pytest.mark.parametrize(
    ("kept", "changes"),
    [
        (True, {"PULocationID": 1, "DOLocationID": 265}),
        (True, {"trip_distance": 0.0}),
        (True, {"trip_distance": 999.9}),
        (True, {"total_amount": -5.0}),
        (False, {"PULocationID": 0}),
        (False, {"DOLocationID": 266}),
        (False, {"DOLocationID": None}),
        (False, {"trip_distance": -0.1}),
        (False, {"trip_distance": 1000.0}),
        (False, {"trip_distance": float("nan")}),
        (False, {"trip_distance": None}),
        (False, {"lpep_pickup_datetime": None}),
    ],
)
def test_only_invalid_ride_events_are_dropped(
    tmp_path: Path, kept: bool, changes: dict[str, Any]
) -> None:
    write_month(tmp_path, ride(), ride(**changes))

    assert len(dataset.read(tmp_path, MONTH, "duration")) == 1 + kept


def test_a_ride_with_a_date_outside_the_month_is_kept(tmp_path: Path) -> None:
    stray = ride(
        lpep_pickup_datetime=datetime(2009, 1, 1, 0, 3),
        lpep_dropoff_datetime=datetime(2009, 1, 1, 0, 12),
    )

    rides = dataset.read(write_month(tmp_path, stray), MONTH, "duration")

    assert rides.pickup_datetime.tolist() == [datetime(2009, 1, 1, 0, 3)]


@pytest.mark.parametrize(
    ("kept", "total"), [(True, 4.5), (True, 202.0), (False, 4.49), (False, 202.01), (False, -18.0)]
)
def test_rides_with_an_implausible_cost_are_dropped(
    tmp_path: Path, kept: bool, total: float
) -> None:
    write_month(tmp_path, ride(), ride(total_amount=total))  # with a tip of 2

    assert len(dataset.read(tmp_path, MONTH, "cost")) == 1 + kept


@settings(max_examples=20, deadline=None)
@given(st.lists(st.one_of(times, in_march), min_size=1, max_size=50))
def test_pick_up_times_are_read_as_the_service_reads_them(
    tmp_path_factory: pytest.TempPathFactory, moments: list[datetime]
) -> None:
    directory = tmp_path_factory.mktemp("month")
    end = timedelta(minutes=15)
    rides = [
        ride(lpep_pickup_datetime=moment, lpep_dropoff_datetime=moment + end) for moment in moments
    ]

    read = dataset.read(write_month(directory, *rides), MONTH, "duration").columns

    served = columns([Ride(130, 205, 3.66, moment) for moment in moments])
    assert np.array_equal(read.picked_up, served.picked_up)


def test_a_time_in_the_skipped_hour_is_read_as_an_hour_later(tmp_path: Path) -> None:
    skipped = ride(
        lpep_pickup_datetime=datetime(2021, 3, 14, 2, 30),
        lpep_dropoff_datetime=datetime(2021, 3, 14, 2, 45),
    )

    rides = dataset.read(write_month(tmp_path, skipped), MONTH, "duration")

    assert (rides.columns.hour.tolist(), rides.columns.weekday.tolist()) == ([3], [6])


def test_months_with_old_and_new_types_are_read_alike(tmp_path: Path) -> None:
    write_month(tmp_path, ride(), month="2021-01")
    pl.DataFrame([ride()]).with_columns(
        pl.col("PULocationID", "DOLocationID").cast(pl.Int32),
        pl.col("lpep_pickup_datetime", "lpep_dropoff_datetime").cast(pl.Datetime("ns")),
    ).write_parquet(tmp_path / "green_tripdata_2023-02.parquet")

    old, new = (dataset.read(tmp_path, month, "duration") for month in ("2021-01", "2023-02"))

    assert repr(old) == repr(new)
    assert old.columns.pickup.dtype == new.columns.pickup.dtype == np.int64


def test_months_are_joined_in_order(tmp_path: Path) -> None:
    write_month(tmp_path, lasting(10), lasting(20), month="2021-01")
    write_month(tmp_path, lasting(30), month="2021-02")

    joined = dataset.concatenate(
        [dataset.read(tmp_path, m, "duration") for m in ("2021-02", "2021-01")]
    )

    assert joined.target.tolist() == [30, 10, 20]
    assert len(joined.columns.hour) == len(joined.pickup_datetime) == 3


def test_months_are_found_by_their_names_oldest_first(tmp_path: Path) -> None:
    for month in ("2021-02", "2020-12"):
        write_month(tmp_path, ride(), month=month)
    (tmp_path / "yellow_tripdata_2021-01.parquet").touch()

    assert dataset.months(tmp_path) == ["2020-12", "2021-02"]


def test_a_missing_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no directory .*nowhere"):
        dataset.read(tmp_path / "nowhere", MONTH, "duration")


def test_the_error_for_a_missing_month_lists_the_available_ones(tmp_path: Path) -> None:
    write_month(tmp_path, ride())

    with pytest.raises(DataError, match=r"no month 2021-04 in .*: it has 2021-03\.$"):
        dataset.read(tmp_path, "2021-04", "duration")


def test_the_error_for_an_empty_directory_names_the_expected_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"it has no green_tripdata_YYYY-MM\.parquet"):
        dataset.read(tmp_path, MONTH, "duration")


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("there is no column trip_distance", pl.DataFrame.drop),
        ("trip_distance is text, not a number", lambda table, name: table.cast({name: pl.String})),
    ],
)
def test_the_error_names_a_missing_or_mistyped_column(
    tmp_path: Path, message: str, change: Any
) -> None:
    change(pl.DataFrame([ride()]), "trip_distance").write_parquet(
        tmp_path / f"green_tripdata_{MONTH}.parquet"
    )

    with pytest.raises(DataError, match=message):
        dataset.read(tmp_path, MONTH, "duration")


def test_all_faults_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    write_month(tmp_path, ride(PULocationID="130", lpep_dropoff_datetime="2021-03-01 08:30"))

    with pytest.raises(DataError, match=r"dropoff_datetime is text.*PULocationID is text"):
        dataset.read(tmp_path, MONTH, "duration")


def test_amounts_are_only_needed_for_the_cost(tmp_path: Path) -> None:
    pl.DataFrame([ride()]).drop("total_amount").write_parquet(
        tmp_path / f"green_tripdata_{MONTH}.parquet"
    )

    assert len(dataset.read(tmp_path, MONTH, "duration")) == 1
    with pytest.raises(DataError, match="no column total_amount"):
        dataset.read(tmp_path, MONTH, "cost")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not Parquet at all"])
def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"green_tripdata_{MONTH}.parquet").write_bytes(content)

    with pytest.raises(DataError, match="cannot be read as Parquet"):
        dataset.read(tmp_path, MONTH, "duration")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_month(tmp_path, *[ride()] * 1000) / f"green_tripdata_{MONTH}.parquet"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(DataError, match="cannot be read as Parquet"):
        dataset.read(tmp_path, MONTH, "duration")


def test_a_month_without_a_valid_ride_is_refused(tmp_path: Path) -> None:
    write_month(tmp_path, lasting(0.5))

    with pytest.raises(DataError, match="no valid ride"):
        dataset.read(tmp_path, MONTH, "duration")


@needs_tlc_data
@pytest.mark.parametrize(("month", "rides"), [("2021-02", 61_895), ("2023-02", 62_538)])
def test_the_tlcs_months_have_the_expected_number_of_rides(month: str, rides: int) -> None:
    assert len(dataset.read(TLC_DATA, month, "duration")) == rides
