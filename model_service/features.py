"""Computes the features of rides, with the same code for training and for all interfaces.

Rides are first converted to arrays (`RideColumns`), so that the same code computes the features of
a batch of events and of a month of Parquet.  Each input of a model has the name of a feature, and
the type with which the model was trained.  `FEATURES` has all features; to add a feature, add a
line to this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import local_time
from .local_time import Micros
from .rides import Ride
from .zones import AXES, locations, straight_miles

Array = NDArray[Any]
Inputs = Mapping[str, "np.dtype[Any]"]
"""The inputs of a model: name of a feature -> numpy type; `TEXT` stands for Python strings."""

Some = slice | NDArray[np.bool_] | NDArray[np.int64]

TEXT = np.dtype(object)
NO_TIME = np.datetime64("NaT", "us")


@dataclass(frozen=True, slots=True)
class RideColumns:
    """The data of n rides as columns: one array of shape (n,) for each field of a ride."""

    pickup: NDArray[np.int64]
    """TLC zone, 1 to 265."""
    dropoff: NDArray[np.int64]
    """TLC zone, 1 to 265."""
    distance: NDArray[np.float64]
    """Miles."""
    picked_up: NDArray[np.datetime64]
    """Pick-up time in New York's local time, in microseconds; NaT if it is not known."""

    def __len__(self) -> int:
        return len(self.pickup)

    def __getitem__(self, some: Some) -> RideColumns:
        """Return the rides that *some*, a slice, a mask or an array of positions, selects."""
        return RideColumns(*(getattr(self, field.name)[some] for field in fields(self)))

    @property
    def hour(self) -> NDArray[np.float64]:
        """Return the hour of the pick-up, 0 to 23, shape (n,); NaN if the time is not known."""
        return self._clock(local_time.hours)

    @property
    def weekday(self) -> NDArray[np.float64]:
        """Return the weekday of the pick-up, shape (n,); Monday is 0, an unknown time is NaN."""
        return self._clock(local_time.weekdays)

    @property
    def minute_of_day(self) -> NDArray[np.float64]:
        """Return the pick-up's minute of the day, 0 to 1439, shape (n,); an unknown time is NaN."""
        return self._clock(local_time.minutes_of_day)

    @property
    def start(self) -> Array:
        """Return the location of the pick-up zone in miles, shape (n, 4): see `zones.AXES`."""
        return locations()[self.pickup]

    @property
    def end(self) -> Array:
        """Return the location of the drop-off zone in miles, shape (n, 4): see `zones.AXES`."""
        return locations()[self.dropoff]

    def _clock(self, read: Callable[[Micros], NDArray[np.int64]]) -> NDArray[np.float64]:
        shown = read(self.picked_up.view(np.int64))
        return np.where(np.isnat(self.picked_up), np.nan, shown)


Feature = Callable[[RideColumns], Array]


def _by_axis(name: str, location: Feature) -> dict[str, Feature]:
    def along(n: int) -> Feature:
        return lambda rides: location(rides)[:, n]

    return {f"{name}_{axis}": along(n) for n, axis in enumerate(AXES)}


FEATURES: Mapping[str, Feature] = {
    "PU_DO": lambda rides: np.array(
        [
            f"{pu}_{do}"
            for pu, do in zip(rides.pickup.tolist(), rides.dropoff.tolist(), strict=True)
        ],
        dtype=TEXT,
    ),
    "PULocationID": lambda rides: rides.pickup,
    "DOLocationID": lambda rides: rides.dropoff,
    "trip_distance": lambda rides: rides.distance,
    "hour": lambda rides: rides.hour,
    "weekday": lambda rides: rides.weekday,
    "minute_of_day": lambda rides: rides.minute_of_day,
    **_by_axis("pickup", lambda rides: rides.start),
    **_by_axis("dropoff", lambda rides: rides.end),
    **_by_axis("change", lambda rides: rides.end - rides.start),
    **_by_axis("sum", lambda rides: rides.end + rides.start),
    "straight": lambda rides: straight_miles(rides.end - rides.start),
}
"""Name of a feature -> function that computes it, shape (n,).

Coordinates are in miles, and NaN if a zone has no location.
"""

TYPES: Mapping[str, str] = {
    **dict.fromkeys(FEATURES, "f"),
    "PU_DO": "O",
    "PULocationID": "Oif",
    "DOLocationID": "Oif",
}
"""Name of a feature -> the kinds of numpy type that can hold all its values, including NaN.

Each letter is a `numpy.dtype.kind`.
"""


def columns(rides: Sequence[Ride]) -> RideColumns:
    """Convert a sequence of rides to columns, in the same order."""
    times = [ride.pickup_datetime for ride in rides]
    return RideColumns(
        pickup=np.array([ride.pickup for ride in rides], dtype=np.int64),
        dropoff=np.array([ride.dropoff for ride in rides], dtype=np.int64),
        distance=np.array([ride.distance for ride in rides], dtype=np.float64),
        picked_up=picked_up(
            np.array(
                [0 if time is None else local_time.instant(time) for time in times],
                dtype=np.int64,
            ),
            known=np.array([time is not None for time in times], dtype=bool),
        ),
    )


def picked_up(instants: Micros, *, known: NDArray[np.bool_]) -> NDArray[np.datetime64]:
    """Return the pick-up times for `RideColumns`, shape (n,).

    *instants* are in microseconds since 1970 in UTC.  Where *known* is False, the result is NaT.
    """
    shown = local_time.clocks(instants).view("datetime64[us]")
    return np.where(known, shown, NO_TIME)


def table(rides: RideColumns, inputs: Inputs) -> dict[str, Array]:
    """Return each feature that *inputs* names, with shape (n,) and the type in *inputs*.

    >>> table(columns([Ride(130, 205, 3.66)]), {"PU_DO": TEXT, "trip_distance": np.dtype("f8")})
    {'PU_DO': array(['130_205'], dtype=object), 'trip_distance': array([3.66])}
    """
    return {name: _as(FEATURES[name](rides), dtype) for name, dtype in inputs.items()}


def rows(rides: RideColumns) -> list[dict[str, str | float]]:
    """Return a dict of features for each ride, for a model that does not name its inputs.

    >>> rows(columns([Ride(130, 205, 3.66)]))
    [{'PU_DO': '130_205', 'trip_distance': 3.66}]
    """
    routes = FEATURES["PU_DO"](rides).tolist()
    return [
        {"PU_DO": route, "trip_distance": miles}
        for route, miles in zip(routes, rides.distance.tolist(), strict=True)
    ]


def _as(values: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "O" and values.dtype.kind != "O":
        return np.array([str(value) for value in values.tolist()], dtype=TEXT)
    return values.astype(dtype, copy=False)
