"""The TLC's taxi zones: their names, boroughs and centroids, and how far it is between them.

``zones.csv`` beside this file has the facts of the TLC's table; zones 264 (unknown) and 265
(outside the city) lie nowhere and are not in it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Of the TLC's real rides: `python -m tools.road_factor DIRECTORY` finds both anew.
ROAD_FACTOR = 1.3
MILES_WITHIN = 0.8


@dataclass(frozen=True, slots=True)
class TaxiZone:
    """A zone that lies somewhere."""

    id: int
    name: str
    borough: str
    latitude: float
    """Degrees north, of the centroid."""
    longitude: float
    """Degrees east, of the centroid: New York's are negative."""


@dataclass(frozen=True, slots=True)
class ZoneTable:
    """All zones that lie somewhere, and what turns their centroids into a distance."""

    road_factor: float
    """Miles driven for each mile as the crow flies, from centroid to centroid."""
    miles_within: float
    """Of a ride that ends in the zone where it began; and the least between two."""
    zones: tuple[TaxiZone, ...]


@cache
def taxi_zones() -> tuple[TaxiZone, ...]:
    """All of them, by id.

    >>> next(zone.name for zone in taxi_zones() if zone.id == 130)
    'Jamaica'
    """
    with (Path(__file__).parent / "zones.csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            TaxiZone(
                int(row["LocationID"]),
                row["Zone"],
                row["Borough"],
                float(row["latitude"]),
                float(row["longitude"]),
            )
            for row in csv.DictReader(file)
        )


def zone_table() -> ZoneTable:
    """What a page needs to offer zones and to suggest a distance."""
    return ZoneTable(ROAD_FACTOR, MILES_WITHIN, taxi_zones())
