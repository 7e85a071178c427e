"""Simulates months of green taxi rides, for use without the TLC's data.

The files have the TLC's columns, with the types that the TLC used in that month, and the usual
faults of its rows.  Their metadata says that the rides are simulated.  Zones have their real
positions.  The duration of a ride depends on its route, hour and day, so that a model can learn
from the rides.  The same seed gives the same city and the same rides.
"""

from __future__ import annotations

import os
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model_service.datasets.months import months as months_between
from model_service.zones import AXES, locations

from .tlc import DROPOFF, MONEY, PICKUP, PREFIX, SIMULATED, types

Floats = NDArray[np.float64]

ZONES = 265
OUTSIDE = (-12.0, 8.0)  # miles along the two axes; zones without a position are placed here
SECOND = np.timedelta64(1_000_000, "us")
DEMAND = np.array([3, 2, 1, 1, 1, 2, 3, 5, 6, 6, 6, 6, 6, 6, 7, 8, 8, 9, 9, 8, 7, 6, 5, 4]) / 125
PACE = (
    1
    + 0.45 * np.exp(-((np.arange(24) - 8.5) ** 2) / 5)
    + 0.6 * np.exp(-((np.arange(24) - 17) ** 2) / 8)
)
"""Minutes per mile by hour of the day, as a multiple of the pace at night."""
WEEKEND_PACE = 1 + 0.25 * np.exp(-((np.arange(24) - 15) ** 2) / 20)
LONG, SHARE_OF_LONG = 8.0, 0.08
"""Miles of a long ride, and the share of the rides that are long.

One in ten of the TLC's green rides of early 2021 was longer than 11.6 miles.
"""
FEWER_LONG = 12.0
"""The number of miles over which the rides of a mile become fewer by the factor e."""
STREETS, HIGHWAY_PACE = 10.0, 1.3
"""The miles of a ride on streets; the rest is on highways, with this pace at night."""
DETOURS, DETOUR_MILES, DETOUR_PACE = 0.05, 12.0, 1.8
"""The share of the rides that make a detour, its mean length, and its pace at night.

Without them, a model could not tell the distance of a ride from the distance of its zones.
"""
OPTIONAL = ("store_and_fwd_flag", "RatecodeID", "passenger_count", "payment_type", "trip_type")
FAULTS: Sequence[tuple[float, Sequence[pl.Expr]]] = (
    (0.02, [pl.lit(0.0).alias("trip_distance")]),
    (0.001, [pl.col("trip_distance") * 20_000]),
    (0.02, [(pl.col(PICKUP) + pl.duration(seconds=20)).alias(DROPOFF)]),
    (0.005, [(pl.col(PICKUP) + pl.duration(hours=23, minutes=40)).alias(DROPOFF)]),
    (0.001, [pl.col(name) - pl.duration(days=4400) for name in (PICKUP, DROPOFF)]),
    (0.005, [-pl.col(name) for name in MONEY]),
    (0.2, [pl.lit(None).alias(name) for name in (*OPTIONAL, "congestion_surcharge")]),
)
"""Pairs of a share and expressions: in this share of the rides, the expressions replace the values
of their columns by faulty ones."""


@dataclass(frozen=True, slots=True)
class City:
    """The properties of the routes between all pairs of zones; arrays of shape (ZONES, ZONES)."""

    share: Floats
    """The share of the usual rides that take this route."""
    long: Floats
    """The share of the long rides that take this route."""
    miles: Floats
    pace: Floats
    """Minutes per mile at night."""
    toll: Floats
    """The toll in dollars."""


def write(directory: Path, months: Sequence[str], rides: int, seed: int) -> None:
    """Write one file for each of *months* (YYYY-MM) to *directory*, with *rides* rows each.

    Raises `SettingsError` if a month is not written as YYYY-MM.
    """
    for month in months:
        months_between(month, month)
    directory.mkdir(parents=True, exist_ok=True)
    city = _city(np.random.default_rng(seed))
    for month in months:
        path = directory / f"{PREFIX}{month}.parquet"
        unfinished = path.with_suffix(f".{os.getpid()}")  # another process may write the same month
        _month(city, month, rides, seed).write_parquet(unfinished, metadata=dict(SIMULATED))
        unfinished.replace(path)


def _city(rng: np.random.Generator) -> City:
    place = locations()[1:, [AXES.index("across"), AXES.index("along")]].astype(np.float64)
    known = ~np.isnan(place[:, 0])
    place = np.where(np.isnan(place), OUTSIDE, place)
    apart = np.abs(place[:, None] - place).sum(axis=2)  # streets run along two axes
    popular = rng.lognormal(0, 1.3, ZONES)
    share = popular[:, None] * np.sqrt(popular) * np.exp(-apart / 2)
    slow = rng.lognormal(0, 0.25, ZONES)
    own = rng.lognormal(0, 0.12, (ZONES, ZONES))
    on_streets = (2 + 2.2 * np.exp(-apart / 4)) * np.sqrt(slow[:, None] * slow) * own
    streets = np.minimum(1, STREETS / np.maximum(apart, STREETS))
    return City(
        share=share / share.sum(),
        long=_long_rides(apart, np.where(known, popular, 0)),
        miles=apart + 0.6,
        pace=streets * on_streets + (1 - streets) * HIGHWAY_PACE,
        toll=np.where(apart > 9, 6.55, 0) * (rng.random((ZONES, ZONES)) < 0.5),
    )


def _long_rides(apart: Floats, popular: Floats) -> Floats:
    """Return the share of the long rides that take each route, in the shape of *apart*.

    Each mile has the same share of the rides of the mile before it, so that there are rides of all
    lengths up to the longest route.
    """
    mile = apart.astype(np.int64)
    weight = np.where(apart >= LONG, np.sqrt(popular[:, None] * popular), 0)
    in_mile = np.bincount(mile.ravel(), weight.ravel())
    share = weight / np.maximum(in_mile[mile], 1) * np.exp(-mile / FEWER_LONG)
    return share / share.sum()


def _with_long_rides(
    city: City, route: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the routes with a share of them replaced by long ones; the others stay the same."""
    long = rng.choice(city.long.size, size=len(route), p=city.long.ravel())
    return np.where(rng.random(len(route)) < SHARE_OF_LONG, long, route)


def _month(city: City, month: str, rides: int, seed: int) -> pl.DataFrame:
    first = datetime.strptime(month, "%Y-%m")
    rng = np.random.default_rng([seed, first.year, first.month])
    day = rng.integers(monthrange(first.year, first.month)[1], size=rides)
    hour = rng.choice(24, size=rides, p=DEMAND)
    second = (day * 24 + hour) * 3600 + rng.integers(3600, size=rides)
    start = np.datetime64(first, "us") + SECOND * second
    weekend = (first.weekday() + day) % 7 >= 5

    route = rng.choice(city.share.size, size=rides, p=city.share.ravel())
    more = np.random.default_rng([seed, first.year, first.month, 1])  # leaves the other rides alone
    route = _with_long_rides(city, route, more)
    direct = np.round(city.miles.ravel()[route] * rng.lognormal(0, 0.12, rides), 2)
    detour = np.where(more.random(rides) < DETOURS, more.exponential(DETOUR_MILES, rides), 0)
    busy = np.where(weekend, WEEKEND_PACE[hour], PACE[hour])
    moving = direct * city.pace.ravel()[route] * busy + detour * DETOUR_PACE * busy
    miles = np.round(direct + detour, 2)
    minutes = 1.5 + moving * rng.lognormal(0, 0.18, rides)
    money = _money(miles, minutes, city.toll.ravel()[route], hour, rng)

    clean = pl.DataFrame(
        {
            "VendorID": rng.choice([1, 2], rides, p=[0.1, 0.9]),
            PICKUP: start,
            DROPOFF: start + SECOND * (minutes * 60).astype(np.int64),
            "store_and_fwd_flag": np.full(rides, "N"),
            "RatecodeID": np.ones(rides),
            "PULocationID": route // ZONES + 1,
            "DOLocationID": route % ZONES + 1,
            "passenger_count": rng.choice([1, 2, 5], rides, p=[0.85, 0.1, 0.05]),
            "trip_distance": miles,
            "ehail_fee": None,
            "payment_type": np.where(money["tip_amount"] > 0, 1, 2),
            "trip_type": np.ones(rides),
            "cbd_congestion_fee": np.zeros(rides),
            **money,
        }
    )
    table = clean.select(pl.col(name).cast(kind) for name, kind in types(month).items())
    return _with_faults(table, rng).sort(PICKUP, maintain_order=True)


def _money(
    miles: Floats, minutes: Floats, toll: Floats, hour: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, Floats]:
    rides = len(miles)
    parts = {
        "fare_amount": np.round((2.5 + 2.1 * miles + 0.35 * minutes) * 2) / 2,
        "extra": np.select(
            [(hour >= 16) & (hour < 20), (hour >= 20) | (hour < 6)], [1.0, 0.5], 0.0
        ),
        "mta_tax": np.full(rides, 0.5),
        "tolls_amount": toll,
        "improvement_surcharge": np.full(rides, 0.3),
        "congestion_surcharge": np.where(rng.random(rides) < 0.2, 2.75, 0.0),
    }
    before = np.sum(list(parts.values()), axis=0)
    tip = np.round(before * rng.choice([0, 0, 0.15, 0.2, 0.25], rides), 2)
    return {**parts, "tip_amount": tip, "total_amount": np.round(before + tip, 2)}


def _with_faults(table: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    for share, faults in FAULTS:
        some = pl.lit(pl.Series(rng.random(table.height) < share))
        table = table.with_columns(
            pl.when(some).then(fault).otherwise(pl.col(fault.meta.output_name()))
            for fault in faults
        )
    return table
