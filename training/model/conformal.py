"""Conformal prediction: computes intervals with a guaranteed coverage.

The *score* of a ride is the difference between its true value and its prediction, as a multiple of
the ride's spread (see `champion`).  The scores are computed for rides on which the model was not
trained.  If future rides are like these, 90 % of their scores are below the 90 % quantile of the
known scores, however good the model is.  Because months differ, recent rides have more weight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TAIL = 0.1
"""The share of rides below the interval, and also the share above it."""


def reach(scores: Floats, weight: Floats) -> tuple[float, float]:
    """Return how far intervals have to extend below and above the predictions.

    Both distances are in the unit of *scores*, such as multiples of the spread.  With them, a share
    of `TAIL` of the rides is below the intervals, and the same share is above them.
    """
    return quantile(-scores, weight), quantile(scores, weight)


def quantile(scores: Floats, weight: Floats) -> float:
    """Return the quantile of *scores* at 1 - `TAIL`, or 0 if the quantile is negative.

    *weight* is the weight of each score.

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
    """Return the interval of each ride as (low, high), shape (n, 2).

    An interval extends from *value* by the multiples *reach* of *spread*, below and above.  It is
    cut at *limits*, the lowest and the highest end, except that it always contains *value*.
    """
    low = np.maximum(value - reach[0] * spread, limits[0])
    high = np.minimum(value + reach[1] * spread, limits[1])
    return np.column_stack([np.minimum(low, value), np.maximum(high, value)])
