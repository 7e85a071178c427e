"""Read the TLC's months of taxi rides, green or yellow, as columns and what is to be predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model_service.features import RideColumns, Some

from .cleaning import DataError as DataError
from .cleaning import Tally, gate
from .tlc import TAXIS, Kind, Taxi

Target = Literal["duration", "cost"]
UNITS: Mapping[Target, str] = {"duration": "minutes", "cost": "dollars"}
CALENDAR = (-62_135_596_800_000, 253_402_300_799_999)
"""Milliseconds from 1970 to either end of the years 1 to 9999."""


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


def months(directory: Path, kind: Kind = "green") -> list[str]:
    """The months that *directory* holds, oldest first."""
    if not directory.is_dir():
        raise DataError(f"There is no directory {directory}.")
    prefix = TAXIS[kind].prefix
    return sorted(path.stem.removeprefix(prefix) for path in directory.glob(f"{prefix}*.parquet"))


def newest(directory: Path, kind: Kind = "green") -> str:
    """The last month that *directory* holds.  Raises `DataError` where it holds none."""
    found = months(directory, kind)
    if not found:
        raise DataError(f"There is no {TAXIS[kind].file('YYYY-MM')} in {directory}.")
    return found[-1]


def read(directory: Path, month: str, target: Target, kind: Kind = "green") -> Rides:
    """The rides of one month, in the order of the file."""
    rides, _ = read_counted(directory, month, target, kind)
    return rides


def read_counted(
    directory: Path, month: str, target: Target, kind: Kind = "green"
) -> tuple[Rides, Tally]:
    """The same, and what became of the file's rows."""
    path = _path(directory, month, kind)
    kept, tally = gate(_table(path, TAXIS[kind], target), path.name)
    return _rides(kept, target), tally


def rows(directory: Path, month: str, kind: Kind = "green") -> int:
    """How many rows the file of a month says it has."""
    path = _path(directory, month, kind)
    try:
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise DataError(f"{path} cannot be read as Parquet.") from exc


def take(rides: Rides, some: Some) -> Rides:
    """Some of the rides, by a mask or by their places."""
    return Rides(
        columns=rides.columns[some],
        target=rides.target[some],
        pickup_datetime=rides.pickup_datetime[some],
    )


def thin(rides: Rides, tally: Tally, share: float, seed: int) -> tuple[Rides, Tally]:
    """So large a *share* of the rides, at random, and the tally of that."""
    some = np.random.default_rng(seed).random(len(rides)) < share
    left_out = {"more rides than are trained on": int((~some).sum())}
    return take(rides, some), Tally(tally.read, {**tally.dropped, **left_out})


def days(rides: Rides) -> NDArray[np.int64]:
    """The day on which each ride began, counted from 1970."""
    return rides.pickup_datetime.astype("datetime64[D]").astype(np.int64)


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
    """*pickup* on New York's clocks; `model_service.local_time` has the same rule."""
    exists = pickup.dt.replace_time_zone(
        "America/New_York", ambiguous="earliest", non_existent="null"
    )
    return pl.when(exists.is_null()).then(pickup.dt.offset_by("1h")).otherwise(pickup)


def _path(directory: Path, month: str, kind: Kind) -> Path:
    taxi = TAXIS[kind]
    found = months(directory, kind)
    if month not in found:
        there = f"it has {', '.join(found)}" if found else f"it has no {taxi.file('YYYY-MM')}"
        raise DataError(f"There is no month {month} in {directory}: {there}.")
    return directory / taxi.file(month)


def _table(path: Path, taxi: Taxi, target: Target) -> pl.DataFrame:
    """The columns that are used, with the names and types of all kinds and generations."""
    kinds = _kinds(taxi, target)
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
        table = pl.read_parquet(path, columns=list(kinds))
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise DataError(f"{path} cannot be read as Parquet.") from exc
    pickup, dropoff = _time(taxi.pickup), _time(taxi.dropoff)
    minutes = (dropoff - pickup).dt.total_microseconds() / 60e6
    cost = pl.col("total_amount") - pl.col("tip_amount")  # a tip in cash is not recorded
    return table.select(
        pl.col("PULocationID", "DOLocationID").cast(pl.Int64),
        pl.col("trip_distance").cast(pl.Float64),
        clock(pickup).alias("picked_up"),
        pickup.alias("pickup_datetime"),
        minutes.alias("duration"),
        *([cost.cast(pl.Float64).alias("cost")] if target == "cost" else []),
    )


def _time(name: str) -> pl.Expr:
    """A column of times; what no calendar has, as in a damaged file, is missing."""
    time = pl.col(name)
    exists = time.dt.timestamp("ms").is_between(*CALENDAR)
    return pl.when(exists).then(time).cast(pl.Datetime("us"))


def _kinds(taxi: Taxi, target: Target) -> dict[str, str]:
    """What each column that is used has to be."""
    return {
        **dict.fromkeys((taxi.pickup, taxi.dropoff), "a time without a zone"),
        **dict.fromkeys(("PULocationID", "DOLocationID"), "a whole number"),
        "trip_distance": "a number",
        **(dict.fromkeys(("total_amount", "tip_amount"), "a number") if target == "cost" else {}),
    }


def _is(dtype: pl.DataType, kind: str) -> bool:
    if kind == "a whole number":
        return dtype.is_integer()
    if kind == "a number":
        return dtype.is_numeric()
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is None


def _name(dtype: pl.DataType) -> str:
    return "text" if dtype == pl.String else str(dtype)


def _rides(table: pl.DataFrame, target: Target) -> Rides:
    names = ("PULocationID", "DOLocationID", "trip_distance", "picked_up")
    return Rides(
        columns=RideColumns(*(table[name].to_numpy() for name in names)),
        target=table[target].to_numpy(),
        pickup_datetime=table["pickup_datetime"].to_numpy(),
    )
