"""Conformal prediction: the intervals have the guaranteed coverage."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.model import conformal

scores = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, n, elements=st.floats(-9, 9)),
        arrays(np.float64, n, elements=st.floats(0.1, 1)),
    )
)


@given(scores)
def test_at_most_a_tenth_of_the_weight_is_above_the_quantile(
    given: tuple[np.ndarray, np.ndarray],
) -> None:
    score, weight = given

    reach = conformal.quantile(score, weight)

    assert reach >= 0
    assert weight[score > reach].sum() <= conformal.TAIL * weight.sum() + 1e-9


@given(scores)
def test_the_quantile_is_no_larger_than_necessary(given: tuple[np.ndarray, np.ndarray]) -> None:
    score, weight = given

    reach = conformal.quantile(score, weight)

    assert reach == 0 or weight[score >= reach].sum() > conformal.TAIL * weight.sum() - 1e-9


def test_a_weight_of_two_equals_two_rides() -> None:
    score = np.array([5.0, 1.0, 3.0, 2.0])

    assert conformal.quantile(score, np.array([1.0, 2, 3, 1])) == conformal.quantile(
        np.array([5.0, 1, 1, 3, 3, 3, 2]), np.ones(7)
    )


def test_an_interval_is_cut_at_the_limits_but_contains_the_value() -> None:
    value, spread = np.array([2.0, 30.0, 59.0, 61.0]), np.array([2.0, 4.0, 2.0, 2.0])

    found = conformal.intervals(value, spread, (1.0, 2.0), (1.0, 60.0))

    assert found.tolist() == [[1.0, 6.0], [26.0, 38.0], [57.0, 60.0], [59.0, 61.0]]
