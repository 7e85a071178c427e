"""Computes the ratio of road distance to straight distance: ``python -m tools.road_factor DIR``.

`model_service.zones` suggests distances with two constants.  This tool computes both constants from
real rides: first the median of each month, then the median of all months, so that each month has
the same weight.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_service.errors import ServiceError
from model_service.features import RideColumns
from model_service.zones import MILES_WITHIN, ROAD_FACTOR, taxi_zones
from training.data import dataset

EARTH_MILES = 3958.8  # the mean radius of the earth


class RoadStatistics(NamedTuple):
    """Statistics over the rides of a month."""

    rides: int
    factor: float
    """The median of miles driven per straight mile between the centroids of the zones."""
    within: float
    """The median distance of rides within one zone, in miles."""
    error: float
    """The median absolute error of the suggested distance, in miles."""


def statistics(rides: RideColumns) -> RoadStatistics:
    """Return the statistics of the rides that have a distance and whose zones have a position."""
    straight = straight_miles(rides.pickup, rides.dropoff)
    known = np.isfinite(straight) & (rides.distance > 0)
    straight, driven = straight[known], rides.distance[known]
    between = straight > 0
    suggested = np.where(between, np.maximum(ROAD_FACTOR * straight, MILES_WITHIN), MILES_WITHIN)
    return RoadStatistics(
        rides=len(driven),
        factor=float(np.median(driven[between] / straight[between])),
        within=float(np.median(driven[~between])),
        error=float(np.median(np.abs(suggested - driven))),
    )


def straight_miles(pickup: NDArray[np.int64], dropoff: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the great-circle miles between the centroids of the zones of each ride, shape (n,).

    *pickup* and *dropoff* are TLC zone ids, shape (n,).  If a zone has no position, the result is
    NaN.
    """
    places = np.full((266, 2), np.nan)
    for zone in taxi_zones():
        places[zone.id] = np.radians((zone.latitude, zone.longitude))
    (lat_a, lon_a), (lat_b, lon_b) = places[pickup].T, places[dropoff].T
    chord = (
        np.sin((lat_b - lat_a) / 2) ** 2
        + np.cos(lat_a) * np.cos(lat_b) * np.sin((lon_b - lon_a) / 2) ** 2
    )
    return np.asarray(2 * EARTH_MILES * np.arcsin(np.sqrt(chord)))


def main(arguments: list[str]) -> int:
    """Print the statistics of each month and the median of all months; return the exit code.

    *arguments* are those of the command line.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m tools.road_factor DIRECTORY", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    found = []
    try:
        for month in dataset.months(directory):
            found.append(statistics(dataset.read(directory, month, "duration").columns))
            print(_line(month, found[-1]))
    except ServiceError as exc:
        print(exc, file=sys.stderr)
        return 2
    if not found:
        print(f"There is no month of rides in {directory}.", file=sys.stderr)
        return 2
    _, *medians = (float(np.median(column)) for column in zip(*found, strict=True))
    print(_line("median", RoadStatistics(sum(each.rides for each in found), *medians)))
    return 0


def _line(name: str, month: RoadStatistics) -> str:
    return (
        f"{name:8} {month.rides:7} rides  factor {month.factor:.2f}"
        f"  within a zone {month.within:.2f} miles  off by {month.error:.2f} miles"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
