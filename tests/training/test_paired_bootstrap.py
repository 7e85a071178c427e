"""The bootstrap comparison: a candidate wins only if it is better by more than noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.registry import paired_bootstrap

DAYS = np.repeat(np.datetime64("2023-03-01") + np.arange(28), 50)


def noise(seed: int, size: float = 1.0) -> paired_bootstrap.Floats:
    return np.random.default_rng(seed).normal(0, size, len(DAYS))


def test_a_model_that_is_much_better_wins() -> None:
    gain = paired_bootstrap.rmse_gain(noise(0, 5), noise(1, 4), DAYS, seed=0)

    assert gain.confidence > 0.99
    assert gain.low < gain.gain < gain.high
    assert gain.gain == pytest.approx(1, abs=0.3)


def test_a_model_beats_neither_itself_nor_a_better_model() -> None:
    good, bad = noise(0, 4), noise(1, 5)

    assert paired_bootstrap.rmse_gain(good, good, DAYS, seed=0).confidence == 0
    assert paired_bootstrap.rmse_gain(good, bad, DAYS, seed=0).confidence < 0.01
    assert paired_bootstrap.mae_gain(good, bad, DAYS, seed=0).gain < 0


def test_models_that_are_equally_good_seldom_win() -> None:
    wins = sum(
        paired_bootstrap.rmse_gain(noise(2 * i), noise(2 * i + 1), DAYS, seed=i).confidence >= 0.95
        for i in range(50)
    )

    assert wins <= 8  # 2.5 are expected; more than 8 come by chance once in a thousand times


def test_one_unusual_day_does_not_make_a_candidate_win() -> None:
    """All rides of one day count as one observation, however many they are."""
    champion, candidate = noise(0), noise(0)
    champion[DAYS[0] == DAYS] *= 3

    by_day = paired_bootstrap.rmse_gain(champion, candidate, DAYS, seed=0)
    by_ride = paired_bootstrap.rmse_gain(champion, candidate, np.arange(len(DAYS)), seed=0)

    assert by_ride.confidence > 0.95 > by_day.confidence


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.permutations(range(20)))
def test_the_order_of_rides_does_not_matter(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    before, after, days = rng.normal(size=20), rng.normal(size=20), np.arange(20) // 2
    mixed = np.array(order)

    first = paired_bootstrap.rmse_gain(before, after, days, seed=0)
    again = paired_bootstrap.rmse_gain(before[mixed], after[mixed], days[mixed], seed=0)

    assert first.gain == pytest.approx(again.gain)
    assert first.confidence == pytest.approx(again.confidence)


def test_the_error_in_a_borough_may_increase_by_the_bound_at_most() -> None:
    before = {"Queens": 4.0, "Bronx": 6.0}

    found = paired_bootstrap.worse_boroughs(before, {"Queens": 4.19, "Bronx": 6.4}, bound=0.05)

    assert found == ["Bronx"]


def test_boroughs_with_few_rides_are_not_compared() -> None:
    pickup = np.array([4] * 200 + [264] * (paired_bootstrap.MIN_BOROUGH_RIDES - 1))

    assert set(paired_bootstrap.rmse_by_borough(np.ones(len(pickup)), pickup)) == {"Manhattan"}
