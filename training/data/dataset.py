"""Reads a TLC month of green or yellow taxi rides as arrays of features and true values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model_service import local_time
from model_service.features import RideColumns, Some, picked_up
from model_service.truth import COST, DURATION

from .cleaning import DataError as DataError
from .cleaning import RowCounts, keep_valid
from .tlc import SIMULATED, TAXIS, Kind, Taxi

Target = Literal["duration", "cost"]
UNITS: Mapping[Target, str] = {"duration": DURATION.unit, "cost": COST.unit}


@dataclass(frozen=True, slots=True)
class Rides:
    """Rides and their true durations or costs, as arrays of the same length, shape (n,)."""

    columns: RideColumns
    target: NDArray[np.float64]
    """The true values, in minutes or dollars."""
    pickup_datetime: NDArray[np.datetime64]
    """New York local times, as in the TLC's files."""

    def __len__(self) -> int:
        return len(self.target)


def months(directory: Path, kind: Kind = "green") -> list[str]:
    """Return the months of which *directory* has a file of *kind* taxis, oldest first.

    Raises `DataError` if *directory* is not a directory.
    """
    if not directory.is_dir():
        raise DataError(f"There is no directory {directory}.")
    prefix = TAXIS[kind].prefix
    return sorted(path.stem.removeprefix(prefix) for path in directory.glob(f"{prefix}*.parquet"))


def newest_month(directory: Path, kind: Kind = "green") -> str:
    """Return the newest month of which *directory* has a file of *kind* taxis.

    Raises `DataError` if there is no such file.
    """
    found = months(directory, kind)
    if not found:
        raise DataError(f"There is no {TAXIS[kind].file('YYYY-MM')} in {directory}.")
    return found[-1]


def read(directory: Path, month: str, target: Target, kind: Kind = "green") -> Rides:
    """Return the valid rides of *month* (YYYY-MM) in *directory*, in the order of the file.

    Raises `DataError` if the month cannot be read, or is not in the TLC's format.
    """
    rides, _ = read_with_counts(directory, month, target, kind)
    return rides


def read_with_counts(
    directory: Path, month: str, target: Target, kind: Kind = "green"
) -> tuple[Rides, RowCounts]:
    """Return the valid rides of *month*, and how many rows of its file were read and dropped.

    Raises `DataError` if the month cannot be read, or is not in the TLC's format.
    """
    path = _path(directory, month, kind)
    valid, counts = keep_valid(_table(path, TAXIS[kind], target), path.name)
    return _rides(valid, target), counts


def count_rows(directory: Path, month: str, kind: Kind = "green") -> int:
    """Return the number of rows in a month's file, as its metadata state it.

    Raises `DataError` if the file cannot be read.
    """
    path = _path(directory, month, kind)
    try:
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise DataError(f"{path} cannot be read as Parquet.") from exc


def is_simulated(directory: Path, month: str, kind: Kind = "green") -> bool:
    """Return whether `simulation` wrote the file of a month, from the metadata of the file.

    Raises `DataError` if the file cannot be read.
    """
    path = _path(directory, month, kind)
    try:
        return SIMULATED.items() <= pl.read_parquet_metadata(path).items()
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise DataError(f"{path} cannot be read as Parquet.") from exc


def take(rides: Rides, some: Some) -> Rides:
    """Return the rides that *some* selects; *some* is a slice, a mask or an array of positions."""
    return Rides(
        columns=rides.columns[some],
        target=rides.target[some],
        pickup_datetime=rides.pickup_datetime[some],
    )


def sample(rides: Rides, counts: RowCounts, share: float, seed: int) -> tuple[Rides, RowCounts]:
    """Return a random sample of *rides*, and *counts* with the other rides added as dropped.

    *share*, from 0 to 1, is the probability with which a ride is in the sample.
    """
    some = np.random.default_rng(seed).random(len(rides)) < share
    left_out = {"more rides than are trained on": int((~some).sum())}
    return take(rides, some), RowCounts(counts.read, {**counts.dropped, **left_out})


def days(rides: Rides) -> NDArray[np.int64]:
    """Return the day on which each ride began, as the number of days since 1970-01-01."""
    return rides.pickup_datetime.astype("datetime64[D]").astype(np.int64)


def concatenate(parts: Sequence[Rides]) -> Rides:
    """Return the rides of all *parts*, in order."""
    return Rides(
        columns=concatenate_columns([part.columns for part in parts]),
        target=np.concatenate([part.target for part in parts]),
        pickup_datetime=np.concatenate([part.pickup_datetime for part in parts]),
    )


def concatenate_columns(parts: Sequence[RideColumns]) -> RideColumns:
    """Return the columns of the rides of all *parts*, in order."""
    names = [field.name for field in fields(RideColumns)]
    return RideColumns(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _path(directory: Path, month: str, kind: Kind) -> Path:
    taxi = TAXIS[kind]
    found = months(directory, kind)
    if month not in found:
        has = ", ".join(found) if found else f"no {taxi.file('YYYY-MM')}"
        raise DataError(f"There is no month {month} in {directory}: it has {has}.")
    return directory / taxi.file(month)


def _table(path: Path, taxi: Taxi, target: Target) -> pl.DataFrame:
    """Read the columns that training uses; names and types are the same for all kinds of files."""
    types = _expected_types(taxi, target)
    try:
        _check_schema(pl.read_parquet_schema(path), types, path.name)
        table = pl.read_parquet(path, columns=list(types))
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise DataError(f"{path} cannot be read as Parquet.") from exc
    pickup, dropoff = _time(taxi.pickup), _time(taxi.dropoff)
    minutes = (dropoff - pickup).dt.total_microseconds() / 60e6
    cost = pl.col("total_amount") - pl.col("tip_amount")  # a tip in cash is not recorded
    return table.select(
        pl.col("PULocationID", "DOLocationID").cast(pl.Int64),
        pl.col("trip_distance").cast(pl.Float64),
        pickup.alias("pickup_datetime"),
        minutes.alias("duration"),
        *([cost.cast(pl.Float64).alias("cost")] if target == "cost" else []),
    )


def _time(name: str) -> pl.Expr:
    """Return a column of times, with null for a time that a ride event cannot have."""
    time = pl.col(name)
    first, end = local_time.FIRST_MICROS // 1000, local_time.END_MICROS // 1000
    exists = time.dt.timestamp("ms").is_between(first, end, closed="left")
    return pl.when(exists).then(time).cast(pl.Datetime("us"))


def _expected_types(taxi: Taxi, target: Target) -> dict[str, str]:
    """Return the expected type of each column that is read."""
    return {
        **dict.fromkeys((taxi.pickup, taxi.dropoff), "a time without a time zone"),
        **dict.fromkeys(("PULocationID", "DOLocationID"), "an integer"),
        "trip_distance": "a number",
        **(dict.fromkeys(("total_amount", "tip_amount"), "a number") if target == "cost" else {}),
    }


def _check_schema(schema: Mapping[str, pl.DataType], types: Mapping[str, str], name: str) -> None:
    """Raise a `DataError` that names every missing column and every column of another type."""
    faults = [
        f"there is no column {column}"
        if column not in schema
        else f"{column} is {_type_name(schema[column])}, not {wanted}"
        for column, wanted in types.items()
        if column not in schema or not _has_type(schema[column], wanted)
    ]
    if faults:
        raise DataError(f"{name} is not in the TLC's format: {'; '.join(faults)}.")


def _has_type(dtype: pl.DataType, wanted: str) -> bool:
    if wanted == "an integer":
        return dtype.is_integer()
    if wanted == "a number":
        return dtype.is_numeric()
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is None


def _type_name(dtype: pl.DataType) -> str:
    return "text" if dtype == pl.String else str(dtype)


def _rides(table: pl.DataFrame, target: Target) -> Rides:
    pickup = table["pickup_datetime"].to_numpy()
    instants = local_time.instants(pickup.astype(np.int64))
    return Rides(
        columns=RideColumns(
            pickup=table["PULocationID"].to_numpy(),
            dropoff=table["DOLocationID"].to_numpy(),
            distance=table["trip_distance"].to_numpy(),
            picked_up=picked_up(instants, known=np.full(len(instants), True)),
        ),
        target=table[target].to_numpy(),
        pickup_datetime=pickup,
    )
