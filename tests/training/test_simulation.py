from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from model_service.errors import SettingsError
from tests.support.training_factories import TLC_DATA, needs_tlc_data, ride, write_month
from training.data import dataset, simulation
from training.data.tlc import DROPOFF, MONEY, PICKUP


def month(
    directory: Path, month: str = "2021-01", rides: int = 2_000, seed: int = 0
) -> pl.DataFrame:
    simulation.write(directory, [month], rides, seed)
    return pl.read_parquet(directory / f"green_tripdata_{month}.parquet")


@pytest.fixture(scope="module")
def rides(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return month(tmp_path_factory.mktemp("rides"), rides=4_000)


def test_the_same_seed_simulates_the_same_rides(tmp_path: Path) -> None:
    first, second = month(tmp_path / "a"), month(tmp_path / "b")

    assert first.equals(second)


def test_a_month_does_not_depend_on_the_other_simulated_months(tmp_path: Path) -> None:
    simulation.write(tmp_path / "both", ["2021-01", "2021-02"], 100, seed=0)

    together = pl.read_parquet(tmp_path / "both" / "green_tripdata_2021-02.parquet")

    assert together.equals(month(tmp_path, "2021-02", rides=100))


def test_another_seed_or_month_gives_other_rides(tmp_path: Path) -> None:
    first = month(tmp_path)["trip_distance"]

    assert first.to_list() != month(tmp_path, seed=1)["trip_distance"].to_list()
    assert first.to_list() != month(tmp_path, "2021-02")["trip_distance"].to_list()


def test_the_file_says_that_its_rides_are_simulated(tmp_path: Path) -> None:
    month(tmp_path / "simulated")
    written = write_month(tmp_path, ride(), month="2021-01")

    assert dataset.is_simulated(tmp_path / "simulated", "2021-01")
    assert not dataset.is_simulated(written, "2021-01")


def test_no_unfinished_file_is_left(tmp_path: Path) -> None:
    month(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["green_tripdata_2021-01.parquet"]


@needs_tlc_data
@pytest.mark.parametrize("name", ["2021-01", "2023-01", "2023-02"])
def test_the_columns_and_their_types_are_the_tlcs(tmp_path: Path, name: str) -> None:
    real = pl.read_parquet_schema(TLC_DATA / f"green_tripdata_{name}.parquet")

    assert month(tmp_path, name).schema == real


def test_rides_have_the_tlcs_faults(rides: pl.DataFrame) -> None:
    minutes = (rides[DROPOFF] - rides[PICKUP]).dt.total_seconds() / 60

    assert (rides["trip_distance"] == 0).any()
    assert (rides["trip_distance"] >= 1000).any()
    assert (minutes < 1).any()
    assert (minutes > 60).any()
    assert (rides[PICKUP].dt.year() == 2008).any()
    assert (rides["total_amount"] < 0).any()
    assert rides["passenger_count"].null_count() > 0


def test_most_rides_are_valid(tmp_path: Path) -> None:
    month(tmp_path)

    assert len(dataset.read(tmp_path, "2021-01", "duration")) > 1_800
    assert len(dataset.read(tmp_path, "2021-01", "cost")) > 1_800


def test_some_zones_have_more_rides_than_others(rides: pl.DataFrame) -> None:
    counts = np.sort(rides["PULocationID"].value_counts()["count"].to_numpy())[::-1]

    assert rides["PULocationID"].is_between(1, 265).all()
    assert len(counts) > 150
    assert counts[:20].sum() > 0.3 * counts.sum()


def test_the_amounts_add_up(rides: pl.DataFrame) -> None:
    whole = rides.drop_nulls("congestion_surcharge")
    parts = [name for name in MONEY if name != "total_amount"]

    total = whole.select(pl.sum_horizontal(parts)).to_series()

    assert np.allclose(total, whole["total_amount"], atol=0.02)


def test_a_ride_in_the_rush_hour_is_slower_than_at_night(rides: pl.DataFrame) -> None:
    usual = rides.filter(pl.col("trip_distance").is_between(1, 10))
    minutes = (pl.col(DROPOFF) - pl.col(PICKUP)).dt.total_seconds() / 60
    pace = usual.select(pl.col(PICKUP).dt.hour().alias("hour"), minutes / pl.col("trip_distance"))

    by_hour = dict(pace.group_by("hour").median().iter_rows())

    assert by_hour[17] > 1.2 * by_hour[3]


@pytest.mark.parametrize("text", ["2021-13", "2021-1", "0000-01", "01-2021", "2021-01-01"])
def test_a_malformed_month_is_refused_before_anything_is_written(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="must be in the form YYYY-MM"):
        simulation.write(tmp_path, ["2021-01", text], 10, seed=0)

    assert list(tmp_path.iterdir()) == []
