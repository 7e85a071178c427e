"""Computes the features of the champion's scikit-learn model, one ride at a time as in tutorials.

The position of a zone comes from a table like ``model_service/zones.csv``.
"""

from __future__ import annotations

import csv
import math
from typing import Any

MILES_NORTH, MILES_EAST = 69.0, 69.17 * math.cos(math.radians(40.73))
AVENUES = math.radians(29)
NOWHERE = dict.fromkeys(("east", "north", "across", "along"), math.nan)


def places(zones: str) -> dict[int, dict[str, float]]:
    with open(zones) as file:
        return {int(zone["LocationID"]): place(zone) for zone in csv.DictReader(file)}


def place(zone: dict[str, str]) -> dict[str, float]:
    north = (float(zone["latitude"]) - 40.73) * MILES_NORTH
    east = (float(zone["longitude"]) + 73.95) * MILES_EAST
    return {
        "east": east,
        "north": north,
        "across": east * math.cos(AVENUES) - north * math.sin(AVENUES),
        "along": east * math.sin(AVENUES) + north * math.cos(AVENUES),
    }


def row(ride: dict[str, Any], moment: Any, places: dict[int, dict[str, float]]) -> dict[str, float]:
    start = places.get(ride["PULocationID"], NOWHERE)
    end = places.get(ride["DOLocationID"], NOWHERE)
    change = {way: end[way] - start[way] for way in start}
    return {
        **{f"pickup_{way}": miles for way, miles in start.items()},
        **{f"dropoff_{way}": miles for way, miles in end.items()},
        **{f"change_{way}": miles for way, miles in change.items()},
        **{f"sum_{way}": end[way] + start[way] for way in start},
        "straight": math.hypot(change["east"], change["north"]),
        "trip_distance": ride["trip_distance"],
        "weekday": moment.weekday(),
        "minute_of_day": moment.hour * 60 + moment.minute,
    }
