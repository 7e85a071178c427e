"""Features of a ride: the one definition that training and every door share.

A model asks for features by name, each in the type it was trained on.  What it may ask for is
the table `FEATURES`; a new feature is a new line there.  Rides become columns first, so that a
batch of events and a month of Parquet go the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from . import geography
from .geography import AXES, places
from .rides import Ride, new_york

Array = NDArray[Any]
Inputs = Mapping[str, "np.dtype[Any]"]
"""What a model asks for: the type of each feature by name; `TEXT` means Python strings."""

Some = slice | NDArray[np.bool_] | NDArray[np.int64]

TEXT = np.dtype(object)


@dataclass(frozen=True, slots=True)
class RideColumns:
    """Rides side by side: arrays of the same length, shape (n,)."""

    pickup: NDArray[np.int64]
    """TLC zone, 1 to 265."""
    dropoff: NDArray[np.int64]
    """TLC zone, 1 to 265."""
    distance: NDArray[np.float64]
    """Miles."""
    hour: NDArray[np.float64]
    """Hour of the pick-up in New York, 0 to 23; NaN where the time is not known."""
    weekday: NDArray[np.float64]
    """Day of the pick-up in New York, Monday is 0; NaN where the time is not known."""
    minute: NDArray[np.float64]
    """Minute of that hour, 0 to 59; NaN where the time is not known."""

    def __len__(self) -> int:
        return len(self.pickup)

    def __getitem__(self, some: Some) -> RideColumns:
        """Some of the rides, by a slice, a mask or their places."""
        return RideColumns(*(getattr(self, field.name)[some] for field in fields(self)))

    @property
    def start(self) -> Array:
        """Where they begin, shape (n, 4): see `geography`."""
        return places()[self.pickup]

    @property
    def end(self) -> Array:
        """Where they end."""
        return places()[self.dropoff]


Feature = Callable[[RideColumns], Array]


def _by_axis(name: str, place: Feature) -> dict[str, Feature]:
    def along(axis: int) -> Feature:
        return lambda rides: place(rides)[:, axis]

    return {f"{name}_{way}": along(axis) for axis, way in enumerate(AXES)}


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
    "minute_of_day": lambda rides: rides.hour * 60 + rides.minute,
    **_by_axis("pickup", lambda rides: rides.start),
    **_by_axis("dropoff", lambda rides: rides.end),
    **_by_axis("change", lambda rides: rides.end - rides.start),
    **_by_axis("sum", lambda rides: rides.end + rides.start),
    "straight": lambda rides: geography.straight(rides.end - rides.start),
}
"""By name.  Places are in miles, and NaN where a zone lies nowhere."""

TYPES: Mapping[str, str] = {
    **dict.fromkeys(FEATURES, "f"),
    "PU_DO": "O",
    "PULocationID": "Oif",
    "DOLocationID": "Oif",
}
"""The kinds of type (`numpy.dtype.kind`) that hold every value of a feature, NaN included."""


def columns(rides: Sequence[Ride]) -> RideColumns:
    """Rides as columns, in order."""
    clocks = [_clock(ride) for ride in rides]
    return RideColumns(
        pickup=np.array([ride.pickup for ride in rides], dtype=np.int64),
        dropoff=np.array([ride.dropoff for ride in rides], dtype=np.int64),
        distance=np.array([ride.distance for ride in rides], dtype=np.float64),
        hour=np.array([hour for hour, _, _ in clocks], dtype=np.float64),
        weekday=np.array([weekday for _, weekday, _ in clocks], dtype=np.float64),
        minute=np.array([minute for _, _, minute in clocks], dtype=np.float64),
    )


def table(rides: RideColumns, inputs: Inputs) -> dict[str, Array]:
    """The features that *inputs* names, shape (n,) each, in the types it names.

    >>> table(columns([Ride(130, 205, 3.66)]), {"PU_DO": TEXT, "trip_distance": np.dtype("f8")})
    {'PU_DO': array(['130_205'], dtype=object), 'trip_distance': array([3.66])}
    """
    return {name: _as(FEATURES[name](rides), dtype) for name, dtype in inputs.items()}


def rows(rides: RideColumns) -> list[dict[str, str | float]]:
    """One dict a ride: what a model that names no columns is given.

    >>> rows(columns([Ride(130, 205, 3.66)]))
    [{'PU_DO': '130_205', 'trip_distance': 3.66}]
    """
    routes = FEATURES["PU_DO"](rides).tolist()
    return [
        {"PU_DO": route, "trip_distance": miles}
        for route, miles in zip(routes, rides.distance.tolist(), strict=True)
    ]


def _clock(ride: Ride) -> tuple[float, float, float]:
    if ride.pickup_datetime is UNSET:
        return np.nan, np.nan, np.nan
    local = new_york(ride.pickup_datetime)
    return local.hour, local.weekday(), local.minute


def _as(values: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "O" and values.dtype.kind != "O":
        return np.array([str(value) for value in values.tolist()], dtype=TEXT)
    return values.astype(dtype, copy=False)
