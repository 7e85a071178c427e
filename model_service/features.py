"""Features of a ride: the one definition that training and every interface share.

Rides become columns first (`RideColumns`), so that a batch of events and a month of Parquet take
the same path.  A model asks for features by name, each in the type that it was trained on; the
table `FEATURES` holds all that it may ask for.  A new feature is a new line in that table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from . import local_time
from .local_time import Micros
from .rides import Ride
from .zones import AXES, locations, straight_miles

Array = NDArray[Any]
Inputs = Mapping[str, "np.dtype[Any]"]
"""The features that a model asks for and their types, by name; `TEXT` means Python strings."""

Some = slice | NDArray[np.bool_] | NDArray[np.int64]

TEXT = np.dtype(object)
NO_TIME = np.datetime64("NaT", "us")


@dataclass(frozen=True, slots=True)
class RideColumns:
    """Rides side by side: arrays of the same length, shape (n,)."""

    pickup: NDArray[np.int64]
    """TLC zone, 1 to 265."""
    dropoff: NDArray[np.int64]
    """TLC zone, 1 to 265."""
    distance: NDArray[np.float64]
    """Miles."""
    picked_up: NDArray[np.datetime64]
    """Pick-up time on New York's clocks, in microseconds; NaT where it is not known."""

    def __len__(self) -> int:
        return len(self.pickup)

    def __getitem__(self, some: Some) -> RideColumns:
        """Some of the rides, by a slice, a mask or an array of positions."""
        return RideColumns(*(getattr(self, field.name)[some] for field in fields(self)))

    @property
    def hour(self) -> NDArray[np.float64]:
        """Hour of the pick-up, 0 to 23; NaN where the time is not known."""
        return self._clock(local_time.hours)

    @property
    def weekday(self) -> NDArray[np.float64]:
        """Day of the week of the pick-up, Monday is 0; NaN where the time is not known."""
        return self._clock(local_time.weekdays)

    @property
    def minute_of_day(self) -> NDArray[np.float64]:
        """Minute of the day of the pick-up, 0 to 1439; NaN where the time is not known."""
        return self._clock(local_time.minutes_of_day)

    @property
    def start(self) -> Array:
        """Location of the pick-up zone in miles, shape (n, 4): see `zones.AXES`."""
        return locations()[self.pickup]

    @property
    def end(self) -> Array:
        """Location of the drop-off zone in miles, shape (n, 4): see `zones.AXES`."""
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
"""Every feature by name.  Locations are in miles, NaN where a zone has no location."""

TYPES: Mapping[str, str] = {
    **dict.fromkeys(FEATURES, "f"),
    "PU_DO": "O",
    "PULocationID": "Oif",
    "DOLocationID": "Oif",
}
"""The kinds of type (`numpy.dtype.kind`) that can hold every value of a feature, NaN included."""


def columns(rides: Sequence[Ride]) -> RideColumns:
    """Rides as columns, in order."""
    times = [ride.pickup_datetime for ride in rides]
    return RideColumns(
        pickup=np.array([ride.pickup for ride in rides], dtype=np.int64),
        dropoff=np.array([ride.dropoff for ride in rides], dtype=np.int64),
        distance=np.array([ride.distance for ride in rides], dtype=np.float64),
        picked_up=picked_up(
            np.array(
                [0 if time is UNSET else local_time.instant(time) for time in times],
                dtype=np.int64,
            ),
            known=np.array([time is not UNSET for time in times], dtype=bool),
        ),
    )


def picked_up(instants: Micros, *, known: NDArray[np.bool_]) -> NDArray[np.datetime64]:
    """Pick-up times for `RideColumns`, from instants in microseconds; NaT where not *known*."""
    shown = local_time.clocks(instants).view("datetime64[us]")
    return np.where(known, shown, NO_TIME)


def table(rides: RideColumns, inputs: Inputs) -> dict[str, Array]:
    """The features that *inputs* names, shape (n,) each, in the types it names.

    >>> table(columns([Ride(130, 205, 3.66)]), {"PU_DO": TEXT, "trip_distance": np.dtype("f8")})
    {'PU_DO': array(['130_205'], dtype=object), 'trip_distance': array([3.66])}
    """
    return {name: _as(FEATURES[name](rides), dtype) for name, dtype in inputs.items()}


def rows(rides: RideColumns) -> list[dict[str, str | float]]:
    """One dict a ride, for a model that names no columns.

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
