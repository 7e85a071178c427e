"""The TLC's taxi zones: names, boroughs and centroids, and their locations in miles.

``zones.csv`` beside this file holds the facts of the TLC's table.  Zones 264 (unknown) and 265
(outside the city) have no location and are not in it.

Locations have 32 bits and are computed by single sums, so that the ONNX graph of a model that
computes the same (`training.model.onnx_graph`) gets the same bits.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Miles = NDArray[np.float32]

# Medians over the TLC's rides: `python -m tools.road_factor DIRECTORY` computes both anew.
ROAD_FACTOR = 1.3
MILES_WITHIN = 0.8

AXES = ("east", "north", "across", "along")
"""The axes of a location: two by the compass, two by Manhattan's streets and avenues."""
ORIGIN = (40.73, -73.95)  # degrees north and east: amid the city
MILES_PER_DEGREE = (69.0, 69.17 * np.cos(np.radians(ORIGIN[0])))
AVENUES = np.radians(29)  # the avenues run this far east of north
ROWS = 266  # of `locations`: zones are 1 to 265


@dataclass(frozen=True, slots=True)
class TaxiZone:
    """A zone with a location."""

    id: int
    name: str
    borough: str
    latitude: float
    """Degrees north, of the centroid."""
    longitude: float
    """Degrees east, of the centroid: New York's are negative."""


@dataclass(frozen=True, slots=True)
class ZoneTable:
    """All zones with a location, and the figures that turn two centroids into a distance."""

    road_factor: float
    """Miles driven for each mile as the crow flies, from centroid to centroid."""
    miles_within: float
    """Miles of a ride that ends in the zone where it began; also the least between two zones."""
    zones: tuple[TaxiZone, ...]


@cache
def taxi_zones() -> tuple[TaxiZone, ...]:
    """All zones with a location, by id.

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


@cache
def name_of(zone: int) -> str:
    """The name of a zone from 1 to 265.

    >>> name_of(265)
    'outside New York City'
    """
    without_location = {264: "unknown zone", 265: "outside New York City"}
    names = {each.id: each.name for each in taxi_zones()}
    return (names | without_location)[zone]


def zone_table() -> ZoneTable:
    """The zones and figures that a page needs to offer zones and to suggest a distance."""
    return ZoneTable(ROAD_FACTOR, MILES_WITHIN, taxi_zones())


@cache
def locations() -> Miles:
    """The centroid of each zone in miles from `ORIGIN`, shape (`ROWS`, 4), a column an axis.

    A row is NaN where its zone has no location.

    >>> [round(miles) for miles in locations()[132].tolist()]  # JFK Airport
    [9, -6, 10, -1]
    """
    found = np.full((ROWS, len(AXES)), np.nan)
    for zone in taxi_zones():
        north = (zone.latitude - ORIGIN[0]) * MILES_PER_DEGREE[0]
        east = (zone.longitude - ORIGIN[1]) * MILES_PER_DEGREE[1]
        across = east * np.cos(AVENUES) - north * np.sin(AVENUES)
        along = east * np.sin(AVENUES) + north * np.cos(AVENUES)
        found[zone.id] = east, north, across, along
    return found.astype(np.float32)


def straight_miles(change: NDArray[Any]) -> Miles:
    """Miles as the crow flies, shape (n,); *change* has a column for each of `AXES`."""
    squares = change * change
    miles: Miles = np.sqrt(squares[:, 0] + squares[:, 1])
    return miles
