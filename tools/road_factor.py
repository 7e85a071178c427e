"""How much longer roads are than a straight line: ``python -m tools.road_factor DIRECTORY``.

Both numbers that `model_service.zones` suggests a distance by are medians over real rides with a
distance, month by month, so that a month with many rides does not speak for the others.
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

EARTH_MILES = 3958.8  # its mean radius


class Roads(NamedTuple):
    """What the rides of a month say."""

    rides: int
    factor: float
    """The median of miles driven for each mile between the centroids."""
    within: float
    """The median of miles within a zone."""
    error: float
    """The median of how many miles the suggestion is off."""


def roads(rides: RideColumns) -> Roads:
    """Of *rides* that have a distance and whose zones lie somewhere."""
    straight = straight_miles(rides.pickup, rides.dropoff)
    known = np.isfinite(straight) & (rides.distance > 0)
    straight, driven = straight[known], rides.distance[known]
    between = straight > 0
    suggested = np.where(between, np.maximum(ROAD_FACTOR * straight, MILES_WITHIN), MILES_WITHIN)
    return Roads(
        rides=len(driven),
        factor=float(np.median(driven[between] / straight[between])),
        within=float(np.median(driven[~between])),
        error=float(np.median(np.abs(suggested - driven))),
    )


def straight_miles(pickup: NDArray[np.int64], dropoff: NDArray[np.int64]) -> NDArray[np.float64]:
    """Along the great circle between centroids; not a number where a zone lies nowhere."""
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
    """Print what each month says, and the median month."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m tools.road_factor DIRECTORY", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    found = []
    try:
        for month in dataset.months(directory):
            found.append(roads(dataset.read(directory, month, "duration").columns))
            print(_line(month, found[-1]))
    except ServiceError as exc:
        print(exc, file=sys.stderr)
        return 2
    if not found:
        print(f"There is no month in {directory}.", file=sys.stderr)
        return 2
    _, *medians = (float(np.median(column)) for column in zip(*found, strict=True))
    print(_line("median", Roads(sum(each.rides for each in found), *medians)))
    return 0


def _line(name: str, said: Roads) -> str:
    return (
        f"{name:8} {said.rides:7} rides  factor {said.factor:.2f}"
        f"  within a zone {said.within:.2f} miles  off by {said.error:.2f} miles"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
