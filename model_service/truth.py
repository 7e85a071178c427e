"""Defines the true values of a finished ride, and the limits for comparing them to predictions.

A single ride whose meter was left running could outweigh all other rides.  So training, drift
measurement and evaluation use only true durations and costs within the limits.  Scoring ignores
the limits: every valid ride gets a prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TrueValue:
    """The unit of a true value, and its lowest and highest valid value."""

    unit: str
    low: float
    high: float

    def valid(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return a mask of the values that are within the limits, shape (n,); NaN is outside.

        >>> DURATION.valid(np.array([0.9, 1.0, 60.0, np.nan])).tolist()
        [False, True, True, False]
        """
        inside: NDArray[np.bool_] = (values >= self.low) & (values <= self.high)
        return inside


DURATION = TrueValue("minutes", 1, 60)
COST = TrueValue("dollars", 2.5, 200)  # the total amount without the tip
ANY_NUMBER = TrueValue("", -inf, inf)
TRUE_VALUES: Mapping[str, TrueValue] = {"ride_duration": DURATION, "ride_cost": COST}
"""Field of a prediction -> the true value that it predicts."""


def for_field(field: str) -> TrueValue:
    """Return the true value that the prediction *field* predicts, such as ``ride_cost``.

    For any other field, the result has neither a unit nor limits.

    >>> for_field("ride_cost").unit
    'dollars'
    """
    return TRUE_VALUES.get(field, ANY_NUMBER)
