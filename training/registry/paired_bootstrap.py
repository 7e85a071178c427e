"""Statistical bootstrap: compares two models on the same rides, and computes the confidence.

The errors of rides on one day have common causes (snow, a parade), so rides are not independent.
Therefore each draw of the bootstrap is a random sample of whole days, with all their rides.  The
confidence is the share of draws in which the candidate's error is smaller than the champion's.
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
"""The minimum confidence with which a candidate must be better."""
BOUND = 0.05
"""The largest allowed increase of the RMSE in a borough, as a share of the champion's."""
DRAWS = 5_000
MIN_DAYS = 7
"""The minimum number of days in the test rides."""
MIN_BOROUGH_RIDES = 100
"""Boroughs with fewer rides are not compared."""


@dataclass(frozen=True, slots=True)
class Gain:
    """The champion's error minus the candidate's error; positive if the candidate is better."""

    gain: float
    low: float
    """The 5th percentile of the gain over all draws."""
    high: float
    """The 95th percentile of the gain over all draws."""
    confidence: float
    """The share of draws in which the candidate is better."""


def rmse_gain(champion: Floats, candidate: Floats, days: NDArray[Any], seed: int) -> Gain:
    """Return the champion's RMSE minus the candidate's RMSE, with its confidence.

    *champion* and *candidate* are the errors of the two models for the same rides, and *days* are
    the days of these rides; each has the shape (n,).
    """
    return _gain(champion**2, candidate**2, days, seed, power=0.5)


def mae_gain(champion: Floats, candidate: Floats, days: NDArray[Any], seed: int) -> Gain:
    """Return the champion's MAE minus the candidate's MAE; the arguments are as in `rmse_gain`."""
    return _gain(np.abs(champion), np.abs(candidate), days, seed, power=1.0)


def rmse_by_borough(error: Floats, pickup: NDArray[np.int64]) -> dict[str, float]:
    """Return the RMSE of the rides in each borough, by the name of the borough.

    *error* and *pickup* are the errors and the pick-up zones of the rides, shape (n,).

    Boroughs with fewer than `MIN_BOROUGH_RIDES` rides are left out.
    """
    names = boroughs(pickup)
    return {
        str(name): rmse(error[names == name])
        for name, rides in zip(*np.unique(names, return_counts=True), strict=True)
        if rides >= MIN_BOROUGH_RIDES
    }


def worse_boroughs(
    champion: Mapping[str, float], candidate: Mapping[str, float], bound: float
) -> list[str]:
    """Return the boroughs where the candidate's RMSE is greater by more than the share *bound*.

    *champion* and *candidate* are the RMSE of the two models by borough.
    """
    return [name for name in champion if candidate[name] > champion[name] * (1 + bound)]


def _gain(
    champion: Floats, candidate: Floats, days: NDArray[Any], seed: int, *, power: float
) -> Gain:
    distinct, day = np.unique(days, return_inverse=True)
    rides, before, after = (np.bincount(day, sums) for sums in (None, champion, candidate))
    even = np.full(len(distinct), 1 / len(distinct))
    drawn = np.random.default_rng(seed).multinomial(len(distinct), even, size=DRAWS)
    total = drawn @ rides
    gains = (drawn @ before / total) ** power - (drawn @ after / total) ** power
    low, high = np.quantile(gains, [0.05, 0.95]).tolist()
    gain = float(np.mean(champion) ** power - np.mean(candidate) ** power)
    return Gain(gain, low, high, float(np.mean(gains > 0)))
