"""Months of rides for the tests of training: small, simulated, or the TLC's own."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from training.data import dataset, simulation
from training.data.dataset import Rides
from training.model import champion
from training.model.champion import FittedChampion
from training.model.parameters import DEFAULTS

TLC_DATA = Path(os.environ.get("TLC_DATA") or Path(__file__).parents[3] / "shared" / "data" / "tlc")
needs_tlc_data = pytest.mark.skipif(
    not (TLC_DATA / "green_tripdata_2021-01.parquet").exists(),
    reason="needs the TLC's green rides: set TLC_DATA to their directory",
)

RIDE: dict[str, Any] = {
    "lpep_pickup_datetime": datetime(2021, 3, 1, 8, 15),
    "lpep_dropoff_datetime": datetime(2021, 3, 1, 8, 30),
    "PULocationID": 130,
    "DOLocationID": 205,
    "trip_distance": 3.66,
    "total_amount": 20.0,
    "tip_amount": 2.0,
}
MONTH = "2021-03"
QUICK = {
    **DEFAULTS,
    "max_iter": 30,
    "learning_rate": 0.2,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 30,
}
"""Hyper-parameters with few trees, within the limits of ``tune --json``."""
FEW_BINS = {"max_bins": 20}  # scikit-learn's weighted binning takes most of the time of small fits
QUICK_SPREAD = {**champion.SPREAD, "max_bins": 10, "max_iter": 10, "learning_rate": 0.4}


Months = tuple[Rides, Rides]


def simulated_months(directory: Path) -> Months:
    """A month to train on and the next one, written to *directory*."""
    simulation.write(directory, ["2021-01", "2021-02"], 3_000, seed=0)
    january, february = (
        dataset.read(directory, month, "duration") for month in ("2021-01", "2021-02")
    )
    return january, february


def fit_quickly(rides: Rides, *, seed: int = 0, calibration: Rides | None = None) -> FittedChampion:
    """A champion of few trees, which takes a tenth of the time."""
    return champion.fit(
        rides,
        seed=seed,
        calibration=calibration,
        parameters={**QUICK, **FEW_BINS},
        spread_parameters=QUICK_SPREAD,
    )


def ride(**changes: Any) -> dict[str, Any]:
    """A ride as the TLC writes it: 15 minutes, 18 dollars without the tip."""
    return RIDE | changes


def write_month(directory: Path, *rides: dict[str, Any], month: str = MONTH) -> Path:
    """Writes rides as the TLC's file of a month; returns the directory."""
    pl.DataFrame(rides).write_parquet(directory / f"green_tripdata_{month}.parquet")
    return directory


def write_yellow_month(directory: Path, month: str) -> Path:
    """The rides of a green month that is there, as the TLC writes those of yellow taxis."""
    green = pl.read_parquet(directory / f"green_tripdata_{month}.parquet")
    fee = "airport_fee" if month < "2023-02" else "Airport_fee"
    yellow = green.rename(
        {f"lpep_{end}_datetime": f"tpep_{end}_datetime" for end in ("pickup", "dropoff")}
    ).drop("trip_type", "ehail_fee")
    path = directory / f"yellow_tripdata_{month}.parquet"
    yellow.with_columns(pl.lit(0.0).alias(fee)).write_parquet(path)
    return path
