"""The TLC's taxi zones: their names, boroughs and centroids.

``zones.csv`` beside this file has the facts of the TLC's table; zones 264 (unknown) and 265
(outside the city) lie nowhere and are not in it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path


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
