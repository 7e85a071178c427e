"""Intervals that hold what they promise: conformal prediction, with its arithmetic alone.

A *score* says how many spreads a ride's truth lies from its prediction.  Where scores are of
rides that the model had not seen, a ride to come has a score no greater than their quantile
with the probability of that quantile, whatever the model is worth, as long as rides to come are
like them.  Months differ, so the rides of late count for more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TAIL = 0.1
"""The share of rides to be left out of an interval, at either end."""


def reach(scores: Floats, weight: Floats) -> tuple[float, float]:
    """How far to reach down and up for all but `TAIL` of the rides to lie on either side."""
    return quantile(-scores, weight), quantile(scores, weight)


def quantile(scores: Floats, weight: Floats) -> float:
    """The least score that all but `TAIL` of the rides, by weight, do not pass; 0 or more.

    >>> quantile(np.arange(1.0, 11.0), np.ones(10))
    9.0
    """
    order = np.argsort(scores, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    place = min(int(np.searchsorted(share, 1 - TAIL - 1e-12)), len(scores) - 1)
    return max(float(scores[order[place]]), 0.0)


def intervals(
    value: Floats, spread: Floats, reach: tuple[float, float], limits: tuple[float, float]
) -> Floats:
    """Low and high, shape (n, 2): within *limits*, but around *value* wherever that is."""
    low = np.maximum(value - reach[0] * spread, limits[0])
    high = np.minimum(value + reach[1] * spread, limits[1])
    return np.column_stack([np.minimum(low, value), np.maximum(high, value)])
