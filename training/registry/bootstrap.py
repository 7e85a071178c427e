"""Two models on the same rides: is one better by more than noise, and nowhere much worse?

Errors of rides on one day have causes in common (snow, a parade), so a ride is not the unit of
chance: the bootstrap draws whole days, with every ride of a day in both models, and asks in how
many of the draws the candidate's error is smaller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import boroughs, rmse

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
"""That a candidate is better."""
BOUND = 0.05
"""In no borough may RMSE grow by more than this share."""
DRAWS = 5_000
FEWEST_DAYS = 7
"""A week; with fewer there is no saying what chance does."""
FEWEST_RIDES = 100
"""Of a borough; with fewer its figures are noise."""


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much a candidate's error is smaller; below 0 where it is larger."""

    gain: float
    low: float
    """Nine of ten draws lie between this and `high`."""
    high: float
    confidence: float
    """The share of draws in which the candidate is better."""


def rmse_gain(champion: Floats, candidate: Floats, days: NDArray[Any], seed: int) -> Gain:
    """Of the root mean square error; *champion* and *candidate* are errors of the same rides."""
    return _gain(champion**2, candidate**2, days, seed, power=0.5)


def mae_gain(champion: Floats, candidate: Floats, days: NDArray[Any], seed: int) -> Gain:
    """Of the mean absolute error."""
    return _gain(np.abs(champion), np.abs(candidate), days, seed, power=1.0)


def days_of(pickup: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    return pickup.astype("datetime64[D]")


def rmse_by_borough(error: Floats, pickup: NDArray[np.int64]) -> dict[str, float]:
    """For each borough that has `FEWEST_RIDES`."""
    of = boroughs(pickup)
    return {
        str(name): rmse(error[of == name])
        for name, rides in zip(*np.unique(of, return_counts=True), strict=True)
        if rides >= FEWEST_RIDES
    }


def worse(champion: Mapping[str, float], candidate: Mapping[str, float], bound: float) -> list[str]:
    """The boroughs in which the candidate is worse by more than *bound*, a share."""
    return [name for name in champion if candidate[name] > champion[name] * (1 + bound)]


def _gain(
    champion: Floats, candidate: Floats, days: NDArray[Any], seed: int, *, power: float
) -> Gain:
    found, place = np.unique(days, return_inverse=True)
    rides, before, after = (np.bincount(place, of) for of in (None, champion, candidate))
    even = np.full(len(found), 1 / len(found))
    drawn = np.random.default_rng(seed).multinomial(len(found), even, size=DRAWS)
    total = drawn @ rides
    gains = (drawn @ before / total) ** power - (drawn @ after / total) ** power
    low, high = np.quantile(gains, [0.05, 0.95]).tolist()
    gain = float(np.mean(champion) ** power - np.mean(candidate) ** power)
    return Gain(gain, low, high, float(np.mean(gains > 0)))
