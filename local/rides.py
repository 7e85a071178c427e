"""Selects the rides that the demo trains on and streams: TLC data or simulated rides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model_service.datasets.months import months

from .formatting import many
from .messages import ride_event

if TYPE_CHECKING:
    from training.data.dataset import Rides

SIMULATED_MONTHS = ("2023-01", "2023-02")
SIMULATED_RIDES = 20_000  # per month, at least
SPARE = 1.5  # simulated rides per streamed ride, because some are invalid


class RidesError(Exception):
    """The demo cannot run with its arguments; the message is for the person who runs it."""


@dataclass(frozen=True, slots=True)
class RideMonths:
    """A directory of rides, with one month to train on, and the following month to test on."""

    name: str
    """``tlc`` or ``simulated``."""
    directory: Path
    train: str
    test: str


@dataclass(frozen=True, slots=True)
class Trip:
    """A ride to stream, and its true duration."""

    ride_id: int
    pickup: int
    dropoff: int
    distance: float
    pickup_datetime: str
    """New York local time, ISO 8601."""
    minutes: float

    @property
    def event(self) -> dict[str, Any]:
        return ride_event(
            self.ride_id, self.pickup, self.dropoff, self.distance, self.pickup_datetime
        )


def tlc(directory: Path) -> RideMonths:
    """Return the first two consecutive months of TLC data in *directory*.

    Raises `RidesError` if there are no such months, and a `ServiceError` if the first month
    cannot be read.
    """
    from training.data import dataset

    check_directory(directory)
    if not directory.is_dir():
        raise RidesError(f"There is no directory {directory}.")
    found = dataset.months(directory)
    pair = consecutive(found)
    if pair is None:
        has = ", ".join(found) or "no green_tripdata_YYYY-MM.parquet"
        raise RidesError(f"{directory} needs two consecutive months; it has {has}.")
    dataset.read(directory, pair[0], "duration")  # reports errors before anything starts
    return RideMonths("tlc", directory, *pair)


def check_directory(path: Path) -> None:
    """Raise `RidesError` if *path* or one of its parents exists and is not a directory."""
    for each in (path, *path.parents):
        if each.exists() and not each.is_dir():
            raise RidesError(f"{each} is a file, not a directory.")


def simulated(directory: Path, rides: int, seed: int = 0) -> RideMonths:
    """Write two months of simulated rides to *directory*, and return these months.

    Each month has more than *rides* rides, because some of them are faulty.
    """
    from training.data import simulation

    per_month = max(SIMULATED_RIDES, round(SPARE * rides))
    simulation.write(directory, SIMULATED_MONTHS, per_month, seed)
    return RideMonths("simulated", directory, *SIMULATED_MONTHS)


def consecutive(found: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two consecutive months in *found*, or None if no two are consecutive.

    >>> consecutive(["2021-11", "2022-01", "2021-12"])
    ('2021-11', '2021-12')
    """
    known = sorted(month for month in found if re.fullmatch(r"[1-9]\d{3}-(0[1-9]|1[0-2])", month))
    return next((pair for pair in pairwise(known) if len(months(*pair)) == 2), None)


def trips(rides: Rides, count: int, seed: int = 0, first_id: int = 1) -> list[Trip]:
    """Return a random sample of *count* rides, sorted by pick-up time.

    Raises `RidesError` if *rides* has fewer rides.
    """
    if count > len(rides):
        raise RidesError(
            f"RIDES is {count:,}, but the month has only {many(len(rides), 'valid ride')}."
        )
    picked = np.random.default_rng(seed).choice(len(rides), count, replace=False)
    picked = picked[np.argsort(rides.pickup_datetime[picked], kind="stable")]
    columns = rides.columns
    return [
        Trip(
            ride_id=number,
            pickup=int(columns.pickup[i]),
            dropoff=int(columns.dropoff[i]),
            distance=float(columns.distance[i]),
            pickup_datetime=str(np.datetime_as_string(rides.pickup_datetime[i], unit="s")),
            minutes=float(rides.target[i]),
        )
        for number, i in enumerate(picked.tolist(), start=first_id)
    ]
