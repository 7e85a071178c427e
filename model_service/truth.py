"""The true values of a finished ride, and the limits within which they are compared.

A meter that was left running would outweigh all other rides.  So training, drift and evaluation
use only rides whose true duration and cost lie within these limits.  Scoring ignores the limits:
a ride outside them still gets a prediction.
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
    """The unit of a true value and its limits, both of which are valid values."""

    unit: str
    low: float
    high: float

    def valid(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """A mask of the values within the limits, shape (n,); NaN is outside.

        >>> DURATION.valid(np.array([0.9, 1.0, 60.0, np.nan])).tolist()
        [False, True, True, False]
        """
        inside: NDArray[np.bool_] = (values >= self.low) & (values <= self.high)
        return inside


DURATION = TrueValue("minutes", 1, 60)
COST = TrueValue("dollars", 2.5, 200)  # the total amount without the tip
ANY_NUMBER = TrueValue("", -inf, inf)
TRUE_VALUES: Mapping[str, TrueValue] = {"ride_duration": DURATION, "ride_cost": COST}
"""The true value for each prediction field."""


def for_field(field: str) -> TrueValue:
    """The true value that a prediction field predicts; a custom field has neither unit nor limits.

    >>> for_field("ride_cost").unit
    'dollars'
    """
    return TRUE_VALUES.get(field, ANY_NUMBER)
