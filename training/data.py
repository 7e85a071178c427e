"""Read the TLC's months of green taxi rides.

The rule: a ride is kept if it lasted 1 to 60 minutes and would be accepted as a ride event.
Nothing else is filtered, not even stray dates, so that a test month is what the service gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model_service.errors import ServiceError
from model_service.features import RideColumns

from .schema import DROPOFF, PICKUP, PREFIX

Target = Literal["duration", "cost"]
UNITS: Mapping[Target, str] = {"duration": "minutes", "cost": "dollars"}

KINDS = {
    PICKUP: "a time without a zone",
    DROPOFF: "a time without a zone",
    "PULocationID": "a whole number",
    "DOLocationID": "a whole number",
    "trip_distance": "a number",
}
KINDS_OF_MONEY = {"total_amount": "a number", "tip_amount": "a number"}


class DataError(ServiceError):
    """The rides to train on are not there, or are not the TLC's."""


@dataclass(frozen=True, slots=True)
class Rides:
    """Rides and what is to be predicted of them: arrays of the same length, shape (n,)."""

    columns: RideColumns
    target: NDArray[np.float64]
    """Minutes or dollars."""
    pickup_datetime: NDArray[np.datetime64]
    """New York local time, as the TLC wrote it."""

    def __len__(self) -> int:
        return len(self.target)


def months(directory: Path) -> list[str]:
    """The months that *directory* holds, oldest first."""
    if not directory.is_dir():
        raise DataError(f"There is no directory {directory}.")
    return sorted(path.stem.removeprefix(PREFIX) for path in directory.glob(f"{PREFIX}*.parquet"))


def read(directory: Path, month: str, target: Target) -> Rides:
    """The rides of one month, in the order of the file."""
    found = months(directory)
    if month not in found:
        there = f"it has {', '.join(found)}" if found else f"it has no {PREFIX}YYYY-MM.parquet"
        raise DataError(f"There is no month {month} in {directory}: {there}.")
    path = directory / f"{PREFIX}{month}.parquet"
    kinds = KINDS if target == "duration" else KINDS | KINDS_OF_MONEY
    rides = _rides(_table(path, kinds), target)
    if not len(rides):
        raise DataError(f"{path.name} has no valid ride of 1 to 60 minutes.")
    return rides


def join(parts: Sequence[Rides]) -> Rides:
    """Several months as one."""
    names = [field.name for field in fields(RideColumns)]
    return Rides(
        columns=RideColumns(
            *(np.concatenate([getattr(part.columns, name) for part in parts]) for name in names)
        ),
        target=np.concatenate([part.target for part in parts]),
        pickup_datetime=np.concatenate([part.pickup_datetime for part in parts]),
    )


def clock(pickup: pl.Expr) -> pl.Expr:
    """*pickup* on New York's clocks; `model_service.rides.new_york` has the same rule."""
    exists = pickup.dt.replace_time_zone(
        "America/New_York", ambiguous="earliest", non_existent="null"
    )
    return pl.when(exists.is_null()).then(pickup.dt.offset_by("1h")).otherwise(pickup)


def _table(path: Path, kinds: Mapping[str, str]) -> pl.DataFrame:
    try:
        schema = pl.read_parquet_schema(path)
        faults = [
            f"{name} is {_name(schema[name])}, not {kind}"
            if name in schema
            else f"there is no column {name}"
            for name, kind in kinds.items()
            if name not in schema or not _is(schema[name], kind)
        ]
        if faults:
            raise DataError(f"{path.name} is not as the TLC writes it: {'; '.join(faults)}.")
        return pl.read_parquet(path, columns=list(kinds))
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise DataError(f"{path} cannot be read as Parquet.") from exc


def _is(dtype: pl.DataType, kind: str) -> bool:
    if kind == "a whole number":
        return dtype.is_integer()
    if kind == "a number":
        return dtype.is_numeric()
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is None


def _name(dtype: pl.DataType) -> str:
    return "text" if dtype == pl.String else str(dtype)


def _rides(table: pl.DataFrame, target: Target) -> Rides:
    zones = pl.col("PULocationID", "DOLocationID").cast(pl.Int64)
    table = table.with_columns(zones, pl.col("trip_distance").cast(pl.Float64))
    minutes = (pl.col(DROPOFF) - pl.col(PICKUP)).dt.total_microseconds() / 60e6
    kept = table.with_columns(minutes.alias("duration")).filter(
        pl.col("duration").is_between(1, 60),
        pl.col("PULocationID").is_between(1, 265),
        pl.col("DOLocationID").is_between(1, 265),
        pl.col("trip_distance").is_between(0, 1000, closed="left"),
    )
    if target == "cost":  # without the tip: a tip in cash is not recorded
        cost = pl.col("total_amount") - pl.col("tip_amount")
        kept = kept.with_columns(cost.alias("cost")).filter(pl.col("cost").is_between(2.5, 200))
    local = clock(pl.col(PICKUP)).dt
    kept = kept.with_columns(
        pl.col(PICKUP).cast(pl.Datetime("us")),
        local.hour().cast(pl.Float64).alias("hour"),
        (local.weekday() - 1).cast(pl.Float64).alias("weekday"),
    )
    names = ("PULocationID", "DOLocationID", "trip_distance", "hour", "weekday")
    columns = RideColumns(*(kept[name].to_numpy() for name in names))
    return Rides(columns, kept[target].cast(pl.Float64).to_numpy(), kept[PICKUP].to_numpy())
