"""Provides the TLC's taxi zones: names, boroughs and centroids, and their coordinates in miles.

``zones.csv``, in this folder, has the zones of the TLC's table.  The zones 264 (unknown) and 265
(outside the city) are not in this file, because they have no location.

Coordinates are 32-bit floats, and distances are computed from sums of two terms.  So the ONNX graph
of a model that computes the same features (`training.model.onnx_graph`) gets exactly the same bits.
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

# Medians of the TLC's rides.  To compute them again: `python -m tools.road_factor DIRECTORY`.
ROAD_FACTOR = 1.3
MILES_WITHIN = 0.8

AXES = ("east", "north", "across", "along")
"""The axes of a location: two by the compass, and two along Manhattan's streets and avenues."""
ORIGIN = (40.73, -73.95)  # degrees north and east, in the middle of the city
MILES_PER_DEGREE = (69.0, 69.17 * np.cos(np.radians(ORIGIN[0])))
AVENUES = np.radians(29)  # the direction of the avenues, east of north
ROWS = 266  # of `locations`; the ids of zones, 1 to 265, are row numbers


@dataclass(frozen=True, slots=True)
class TaxiZone:
    """A taxi zone that has a location."""

    id: int
    name: str
    borough: str
    latitude: float
    """The centroid's latitude in degrees north."""
    longitude: float
    """The centroid's longitude in degrees east, which is negative in New York."""


@dataclass(frozen=True, slots=True)
class ZoneTable:
    """All zones that have a location, and two numbers to estimate the distance between them."""

    road_factor: float
    """The typical driven distance divided by the straight-line distance between the centroids."""
    miles_within: float
    """The typical miles of a ride within one zone, and the minimum estimate between two zones."""
    zones: tuple[TaxiZone, ...]


@cache
def taxi_zones() -> tuple[TaxiZone, ...]:
    """Return all zones that have a location, in the order of ``zones.csv``.

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
    """Return the name of the zone with the TLC's id *zone*, from 1 to 265.

    >>> name_of(265)
    'outside New York City'
    """
    without_location = {264: "unknown zone", 265: "outside New York City"}
    names = {each.id: each.name for each in taxi_zones()}
    return (names | without_location)[zone]


def zone_table() -> ZoneTable:
    """Return the data with which a page lists the zones and suggests a distance."""
    return ZoneTable(ROAD_FACTOR, MILES_WITHIN, taxi_zones())


@cache
def locations() -> Miles:
    """Return the centroids of all zones in miles from `ORIGIN`, shape (`ROWS`, 4).

    The row number is the zone's id, and the columns are `AXES`.  The row of a zone without a
    location is NaN.

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
    """Return straight-line distances in miles, shape (n,).

    *change* has the end's location minus the start's, shape (n, 4), with the columns `AXES`.
    """
    squares = change * change
    miles: Miles = np.sqrt(squares[:, 0] + squares[:, 1])
    return miles
