"""Where a ride goes: zones as places, in miles.

Everything has 32 bits and is made by single sums, so that a model's graph that does the same
(`training.model.onnx_graph`) comes to the same bits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .zones import taxi_zones

Miles = NDArray[np.float32]

AXES = ("east", "north", "across", "along")
"""The ways that a mile may go: by the compass, and by Manhattan's streets and avenues."""
ORIGIN = (40.73, -73.95)  # degrees north and east: amid the city
MILES_A_DEGREE = (69.0, 69.17 * np.cos(np.radians(ORIGIN[0])))
AVENUES = np.radians(29)  # by which they run east of north
ZONES = 266
"""Rows of `places`: zones are 1 to 265."""


@cache
def places() -> Miles:
    """Row n is the centroid of zone n, a column for each of `AXES`; NaN where it lies nowhere.

    >>> [round(miles) for miles in places()[132].tolist()]  # JFK Airport
    [9, -6, 10, -1]
    """
    found = np.full((ZONES, len(AXES)), np.nan)
    for zone in taxi_zones():
        north = (zone.latitude - ORIGIN[0]) * MILES_A_DEGREE[0]
        east = (zone.longitude - ORIGIN[1]) * MILES_A_DEGREE[1]
        across = east * np.cos(AVENUES) - north * np.sin(AVENUES)
        along = east * np.sin(AVENUES) + north * np.cos(AVENUES)
        found[zone.id] = east, north, across, along
    return found.astype(np.float32)


def straight(change: NDArray[Any]) -> Miles:
    """How far it is as the crow flies; *change* has a column for each of `AXES`."""
    squares = change * change
    miles: Miles = np.sqrt(squares[:, 0] + squares[:, 1])
    return miles
