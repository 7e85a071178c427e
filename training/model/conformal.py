"""Conformal prediction: intervals with a guaranteed coverage.

The *score* of a ride is the distance of its true value from its prediction, in spreads.  Where the
scores are of rides that the model had not seen, the score of a future ride is below their quantile
with the probability of that quantile, however good the model is, as long as future rides are like
these.  Months differ, so recent rides have more weight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TAIL = 0.1
"""The share of rides below the interval, and the share above it."""


def reach(scores: Floats, weight: Floats) -> tuple[float, float]:
    """The reach down and up that leaves a share of `TAIL` of the rides on either side."""
    return quantile(-scores, weight), quantile(scores, weight)


def quantile(scores: Floats, weight: Floats) -> float:
    """The weighted quantile of *scores* at 1 - `TAIL`, or 0 where it is negative.

    >>> quantile(np.arange(1.0, 11.0), np.ones(10))
    9.0
    """
    order = np.argsort(scores, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    position = min(int(np.searchsorted(share, 1 - TAIL - 1e-12)), len(scores) - 1)
    return max(float(scores[order[position]]), 0.0)


def intervals(
    value: Floats, spread: Floats, reach: tuple[float, float], limits: tuple[float, float]
) -> Floats:
    """Low and high, shape (n, 2): within *limits*, but always around *value*."""
    low = np.maximum(value - reach[0] * spread, limits[0])
    high = np.minimum(value + reach[1] * spread, limits[1])
    return np.column_stack([np.minimum(low, value), np.maximum(high, value)])
