from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_service import scoring
from model_service.errors import ModelError, RideRejected
from model_service.features import RideColumns, columns
from model_service.rides import Ride
from model_service.scoring import WARM_UP, Answer, Answers, ScoreOutcome, Target, warm_up

from ..support.factories import FakeModel

TARGET = Target()


def rides(*distances: float) -> RideColumns:
    return columns([Ride(130, 205, distance) for distance in distances])


def cannot(*distances: float) -> Callable[[RideColumns], object]:
    return lambda rides: np.isin(rides.distance, distances)


def score(
    model: FakeModel, target: Target, rides: RideColumns, **options: Any
) -> Sequence[ScoreOutcome]:
    return scoring.score(model, target, rides, **options).outcomes()


def kinds(outcomes: Sequence[object]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


def test_answers_keep_the_order_of_rides() -> None:
    assert score(FakeModel(), TARGET, rides(3, 1, 2)) == [
        Answer(17.0, None),
        Answer(7.0, None),
        Answer(12.0, None),
    ]


def test_a_batch_is_one_call_whatever_its_size() -> None:
    model = FakeModel()

    score(model, TARGET, rides(*range(900)))

    assert model.calls == [900]


def test_nothing_to_score_never_reaches_the_model() -> None:
    model = FakeModel()

    assert score(model, TARGET, rides()) == []
    assert model.calls == []


def test_a_ride_that_makes_the_model_raise_stands_alone() -> None:
    outcomes = score(FakeModel(cannot=cannot(7)), TARGET, rides(*range(20)))

    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, RideRejected)] == [7]
    assert str(outcomes[7]) == "the model cannot score this ride: KeyError"
    assert outcomes[8] == Answer(42.0, None)


@given(st.lists(st.integers(0, 9), max_size=40), st.frozensets(st.integers(0, 9)))
def test_a_ride_fares_the_same_in_any_company(distances: list[int], bad: frozenset[int]) -> None:
    model = FakeModel(cannot=cannot(*bad))

    together = score(model, TARGET, rides(*distances))

    alone = [outcome for miles in distances for outcome in score(model, TARGET, rides(miles))]
    assert [str(outcome) for outcome in together] == [str(outcome) for outcome in alone]


@pytest.mark.parametrize("size", [1, 5])
def test_a_model_that_still_scores_the_warm_up_ride_is_believed(size: int) -> None:
    model = FakeModel(cannot=lambda rides: rides.distance != WARM_UP.distance)

    assert kinds(score(model, TARGET, rides(*range(size)))) == [RideRejected] * size


@pytest.mark.parametrize("size", [1, 5])
def test_a_broken_model_rejects_nobody(size: int) -> None:
    model = FakeModel(cannot=lambda rides: True)

    with pytest.raises(ModelError, match="cannot score the warm-up ride: KeyError"):
        score(model, TARGET, rides(*range(size)))


def test_a_model_that_breaks_during_the_search_rejects_nobody() -> None:
    calls = count()
    model = FakeModel(cannot=lambda rides: next(calls) != 1)  # 1: the first warm-up

    with pytest.raises(ModelError):
        score(model, TARGET, rides(1, 2, 3))


def test_the_search_ends_when_there_is_no_time_left() -> None:
    model = FakeModel(cannot=cannot(0))
    times = iter([1.0])

    outcomes = score(model, TARGET, rides(0, 1, 2, 3), time_left=lambda: next(times, 0.0))

    assert kinds(outcomes) == [RideRejected, type(None), type(None), type(None)]


@pytest.mark.parametrize("value", [nan, inf, -inf, -0.1, 1440.1])
def test_an_answer_outside_its_range_is_a_rejection_and_never_a_default(value: float) -> None:
    model = FakeModel(lambda rides: Answers(np.where(rides.distance == 1, value, 5.0)))

    first, second = score(model, TARGET, rides(1, 2))

    assert str(first) == "the model answered outside its range"
    assert second == Answer(5.0, None)


@pytest.mark.parametrize("value", [0.0, 1440.0])
def test_the_ends_of_the_range_are_in_it(value: float) -> None:
    model = FakeModel(lambda rides: Answers(np.full(len(rides.pickup), value)))

    assert score(model, TARGET, rides(1)) == [Answer(value, None)]


@pytest.mark.parametrize(
    ("interval", "good"),
    [((1, 9), True), ((5, 5), True), ((6, 9), False), ((1, 4), False), ((nan, 9), False),
     ((1, inf), False)],
)  # fmt: skip
def test_an_interval_is_finite_and_has_its_value(interval: tuple[float, float], good: bool) -> None:
    model = FakeModel(lambda rides: Answers(np.array([5.0]), np.array([interval])))

    [outcome] = score(model, TARGET, rides(1))

    assert (outcome == Answer(5.0, interval)) is good
    assert isinstance(outcome, RideRejected) is not good


@pytest.mark.parametrize("answers", [[1.0, 2.0, 3.0], [[1.0, 2.0]], 1.0])
def test_a_model_that_always_miscounts_is_at_fault(answers: object) -> None:
    model = FakeModel(lambda rides: Answers(np.array(answers)))

    with pytest.raises(ModelError, match="warm-up"):
        score(model, TARGET, rides(1, 2))


def test_a_ride_that_the_model_drops_is_rejected_and_the_others_are_not() -> None:
    model = FakeModel(lambda rides: Answers(rides.distance[rides.distance != 7]))

    outcomes = score(model, TARGET, rides(1, 7, 3))

    assert [str(outcome) for outcome in outcomes[1:2]] == [
        "the model cannot score this ride: Miscounted"
    ]
    assert (outcomes[0], outcomes[2]) == (Answer(1.0, None), Answer(3.0, None))


def test_a_broken_model_is_found_out_before_the_search() -> None:
    model = FakeModel(cannot=lambda rides: True)

    with pytest.raises(ModelError):
        score(model, TARGET, rides(*range(100)))

    assert model.calls == [100, 1]


@pytest.mark.parametrize("values", [[nan], [1.0, 2.0], []])
def test_a_model_is_not_warm_without_one_number(values: list[float]) -> None:
    with pytest.raises(ModelError, match="warm-up"):
        warm_up(FakeModel(lambda rides: Answers(np.array(values))))


def test_scores_are_arrays_with_a_reason_where_a_ride_is_not_scored() -> None:
    model = FakeModel(
        lambda rides: Answers(rides.distance, np.stack([rides.distance - 1, rides.distance], 1)),
        cannot=cannot(7),
    )

    scores = scoring.score(model, Target(maximum=100.0), rides(1, 7, 900, 3))

    assert scores.scored.tolist() == [True, False, False, True]
    assert scores.values[scores.scored].tolist() == [1.0, 3.0]
    assert scores.intervals is not None
    assert scores.intervals[scores.scored].tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert scores.reasons.tolist() == [
        None,
        "the model cannot score this ride: KeyError",
        "the model answered outside its range",
        None,
    ]


def test_intervals_of_another_number_of_rides_are_never_spread_over_them() -> None:
    model = FakeModel(lambda rides: Answers(rides.distance, np.array([[0.0, 9.0]])))

    assert [str(one) for one in score(model, TARGET, rides(1, 2))] == [
        str(Answer(1.0, (0.0, 9.0))),
        str(Answer(2.0, (0.0, 9.0))),
    ]


class SlowModel(FakeModel):
    """A model that takes a second a ride, on a clock of its own."""

    def __init__(self, seconds_left: float, expected: float) -> None:
        super().__init__(seconds=expected)
        self.left = seconds_left

    def predict(self, rides: RideColumns, /) -> Answers:
        self.left -= len(rides)
        return super().predict(rides)

    def time_left(self) -> float:
        return self.left


@given(st.floats(0, 100), st.integers(0, 60), st.floats(0.5, 5))
def test_a_slow_model_scores_some_rides_within_the_time(
    seconds: float, number: int, expected: float
) -> None:
    model = SlowModel(seconds, expected)

    scores = scoring.score(model, TARGET, rides(*range(number)), time_left=model.time_left)

    scored = int(scores.scored.sum())
    assert scored >= min(1, number)
    assert scores.scored.tolist() == [n < scored for n in range(number)]  # in order
    assert scored <= max(1, 2 * seconds)  # where the first part is underestimated by half
    if seconds > 10 * number * expected:
        assert scored == number


@given(st.floats(0, 20), st.integers(1, 40), st.integers(0, 39))
def test_a_slow_model_settles_the_first_ride_also_where_a_ride_makes_it_fail(
    seconds: float, number: int, failing: int
) -> None:
    model = SlowModel(seconds, 1.0)
    model.cannot = cannot(float(failing))

    outcomes = score(model, TARGET, rides(*range(number)), time_left=model.time_left)

    assert outcomes[0] is not None


def test_a_fast_model_is_called_once_whatever_the_time() -> None:
    model = FakeModel(seconds=0.001)

    scoring.score(model, TARGET, rides(*range(900)), time_left=lambda: 1.0)

    assert model.calls == [900]
