"""The rides that the demo trains on and streams: the TLC's, or simulated ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..formatting import many
from ..producer import ride_event

if TYPE_CHECKING:
    from training.data.dataset import Rides

SIMULATED_MONTHS = ("2023-01", "2023-02")
SIMULATED_RIDES = 20_000  # a month, unless more are to be streamed
SPARE = 1.5  # simulated rides for each that is to be streamed; not all are valid


class InputError(Exception):
    """The demo was asked for something that cannot be; the message is for the person."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rides are: a month to train on, and the next one to test on."""

    name: str
    """`tlc` or `simulated`."""
    directory: Path
    train: str
    test: str


@dataclass(frozen=True, slots=True)
class Trip:
    """A ride that is streamed, and how long it really took."""

    ride_id: int
    pickup: int
    dropoff: int
    distance: float
    begins: str
    """New York local time."""
    minutes: float

    @property
    def event(self) -> dict[str, Any]:
        return ride_event(self.ride_id, self.pickup, self.dropoff, self.distance, self.begins)


def tlc(directory: Path) -> Source:
    """The first two months in *directory* that follow each other.

    Raises `InputError`, or a `ServiceError` if the month to train on cannot be read.
    """
    from training.data import dataset

    check_directory(directory)
    if not directory.is_dir():
        raise InputError(f"There is no directory {directory}.")
    months = dataset.months(directory)
    pair = consecutive(months)
    if pair is None:
        found = ", ".join(months) or "no green_tripdata_YYYY-MM.parquet"
        raise InputError(f"{directory} needs two months that follow each other; it has {found}.")
    dataset.read(directory, pair[0], "duration")  # what is wrong with it is said before the start
    return Source("tlc", directory, *pair)


def check_directory(path: Path) -> None:
    """Raises `InputError` if *path*, or what it lies in, is there and no directory."""
    for each in (path, *path.parents):
        if each.exists() and not each.is_dir():
            raise InputError(f"{each} is a file, not a directory.")


def simulated(directory: Path, rides: int, seed: int = 0) -> Source:
    """Two months of simulated rides, written to *directory*, enough to stream *rides*."""
    from training.data import simulation

    many = max(SIMULATED_RIDES, round(SPARE * rides))
    simulation.write(directory, SIMULATED_MONTHS, many, seed)
    return Source("simulated", directory, *SIMULATED_MONTHS)


def consecutive(months: Iterable[str]) -> tuple[str, str] | None:
    """
    >>> consecutive(["2021-11", "2022-01", "2021-12"])
    ('2021-11', '2021-12')
    """
    known = sorted(month for month in months if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month))
    return next(((month, after(month)) for month in known if after(month) in known), None)


def after(month: str) -> str:
    """
    >>> after("2021-12")
    '2022-01'
    """
    year, number = map(int, month.split("-"))
    return f"{year + number // 12}-{number % 12 + 1:02}"


def trips(rides: Rides, count: int, seed: int = 0) -> list[Trip]:
    """*count* of the rides, picked at random, in the order in which they began.

    Raises `InputError` if there are not so many.
    """
    if count > len(rides):
        raise InputError(
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
            begins=str(np.datetime_as_string(rides.pickup_datetime[i], unit="s")),
            minutes=float(rides.target[i]),
        )
        for number, i in enumerate(picked.tolist(), start=1)
    ]
