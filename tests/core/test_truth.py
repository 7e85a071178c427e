from __future__ import annotations

import numpy as np
import pytest

from model_service import truth


@pytest.mark.parametrize(
    ("field", "low", "high"), [("ride_duration", 1, 60), ("ride_cost", 2.5, 200)]
)
def test_both_limits_are_valid_and_values_beyond_them_are_not(
    field: str, low: float, high: float
) -> None:
    values = np.array([low - 0.01, low, high, high + 0.01, np.nan])

    assert truth.for_field(field).valid(values).tolist() == [False, True, True, False, False]


def test_a_custom_prediction_field_has_no_limits() -> None:
    values = np.array([-1e9, 0.0, 1e9, np.nan])

    assert truth.for_field("ride_tip").valid(values).tolist() == [True, True, True, False]
