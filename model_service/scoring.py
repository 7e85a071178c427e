"""Scores rides with a model, by the same rules for the stream, the web, batch and Spark.

This module does no I/O of its own.

Rule 1: a batch of any size is scored in one call to the model, if there is enough time.  If the
        duration of a call with one ride shows that the time left may not be enough, the batch is
        scored in parts until the time is up.
Rule 2: if a call raises an exception, or returns the wrong number of values, the first ride is
        scored alone, however little time is left, and each half of the others separately, down to
        single rides.  Each single ride for which the call fails is rejected; all other rides get
        the same predictions as without the rejected rides.
Rule 3: a ride is rejected only if the model works.  If a call fails, the model has to score the
        warm-up ride.  If it cannot, the model is at fault, and the whole batch fails.
Rule 4: a ride is rejected if its value is not finite or outside the target's range, or if its
        interval is not finite or does not contain the value.  No default replaces the value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError, RideRejected
from .features import RideColumns, columns
from .rides import Ride

TimeLeft = Callable[[], float]
"""A function that returns the number of seconds until the work must be finished."""

WARM_UP = Ride(pickup=130, dropoff=205, distance=3.66, pickup_datetime=datetime(2021, 3, 1, 8, 15))


OUTSIDE = "the model answered outside its range"


class Answers(NamedTuple):
    """A model's output for n rides, in the unit of its target."""

    values: NDArray[np.float64]
    """Shape (n,)."""
    intervals: NDArray[np.float64] | None = None
    """Shape (n, 2), low and high; None if the model predicts no intervals."""


class Model(Protocol):
    """The interface of a model."""

    @property
    def version(self) -> str: ...

    @property
    def seconds(self) -> float:
        """The duration of a call with one ride, in seconds.

        A call with n rides takes at most n times as long.
        """

    def predict(self, rides: RideColumns, /) -> Answers: ...


@dataclass(frozen=True, slots=True)
class Target:
    """The quantity that a model predicts: names in prediction events, and the range of values."""

    model_name: str = "ride_duration_prediction_model"
    field: str = "ride_duration"
    minimum: float = 0.0
    maximum: float = 1440.0


class Answer(NamedTuple):
    """A model's prediction for one ride, in the unit of its target."""

    value: float
    interval: tuple[float, float] | None


ScoreOutcome = Answer | RideRejected | None
"""The outcome for one ride; None if the time ran out before the ride was scored."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The outcomes for n rides, in order.

    A ride is either scored, or rejected, or the time ran out before it was scored.
    """

    values: NDArray[np.float64]
    """Shape (n,), in the unit of the target; meaningless for a ride that is not scored."""
    intervals: NDArray[np.float64] | None
    """Shape (n, 2), low and high; None if the model predicts no intervals."""
    scored: NDArray[np.bool_]
    """Shape (n,); True for each ride that is scored."""
    reasons: NDArray[np.object_]
    """Shape (n,): the reason for each rejected ride, and None for all other rides."""

    def outcomes(self) -> list[ScoreOutcome]:
        """Return the outcome of each ride, for interfaces that answer each ride separately."""
        if self.intervals is None:
            pairs: list[tuple[float, float] | None] = [None] * len(self.values)
        else:
            pairs = [(low, high) for low, high in self.intervals.tolist()]
        answers: list[ScoreOutcome] = list(map(Answer, self.values.tolist(), pairs))
        for n in np.flatnonzero(~self.scored).tolist():
            reason = self.reasons[n]
            answers[n] = None if reason is None else RideRejected(reason)
        return answers


def score(
    model: Model, target: Target, rides: RideColumns, *, time_left: TimeLeft = lambda: inf
) -> Scores:
    """Score *rides*, as many as the time allows, and return an outcome for each ride.

    *target* has the range of valid values, and *time_left* returns the seconds that are left.  The
    model is called at least once.

    Raises `ModelError` if the model is at fault.
    """
    if not len(rides):
        return _not_scored(0)
    left = time_left()
    if model.seconds * len(rides) <= max(left, model.seconds):
        return _score_part(model, target, rides, time_left)
    found = _not_scored(0)
    pace = model.seconds
    while (at := len(found.values)) < len(rides) and (left > 0 or not at):
        size = len(rides) - at if pace <= 0 else max(1, int(min(left / pace, len(rides))))
        found = _joined(found, _score_part(model, target, rides[at : at + size], time_left))
        before, left = left, time_left()
        pace = 2 * (before - left) / size  # doubled, because the next part may be slower
    return _joined(found, _not_scored(len(rides) - at))


def _score_part(model: Model, target: Target, rides: RideColumns, time_left: TimeLeft) -> Scores:
    try:
        return _ask(model, target, rides)
    except Exception as exc:  # a model may raise anything
        warm_up(model, because=exc)
        # The call may have used up the time.  The first ride is settled nevertheless: otherwise the
        # same rides would come again, and would fail in the same way.
        scores = _isolate(model, target, rides[:1], lambda: inf)
        if len(rides) > 1:
            scores = _joined(scores, _isolate(model, target, rides[1:], time_left))
        warm_up(model, because=exc)
        return scores


def warm_up(model: Model, *, because: Exception | None = None) -> None:
    """Score the warm-up ride.  Raises `ModelError` if the model fails.

    *because* is the exception of an earlier call, which becomes the cause of the error.
    """
    try:
        values = model.predict(columns([WARM_UP])).values
    except ModelError:
        raise
    except Exception as exc:  # a model may raise anything
        raise ModelError(f"the model cannot score the warm-up ride: {_name(exc)}") from exc
    if values.shape != (1,) or not np.isfinite(values).all():
        raise ModelError("the model's answer to the warm-up ride is not a number") from because


class _Miscounted(Exception):
    """The model returned the wrong number of values; handled like an exception of the model."""


def _ask(model: Model, target: Target, rides: RideColumns) -> Scores:
    values, intervals = model.predict(rides)
    if values.shape != (len(rides),):
        raise _Miscounted
    scored = (values >= target.minimum) & (values <= target.maximum)  # false for NaN
    if intervals is not None:
        if intervals.shape != (len(rides), 2):
            raise _Miscounted
        low, high = intervals.T
        scored &= (low <= values) & (values <= high) & np.isfinite(intervals).all(axis=1)
    reasons = np.full(len(rides), None, dtype=object)
    if not scored.all():
        reasons[~scored] = OUTSIDE
    return Scores(values, intervals, scored, reasons)


def _isolate(model: Model, target: Target, rides: RideColumns, time_left: TimeLeft) -> Scores:
    """Score *rides*; if the model fails, score each half separately, down to single rides.

    A single ride for which the model fails is rejected.
    """
    if time_left() <= 0:
        return _not_scored(len(rides))
    try:
        return _ask(model, target, rides)
    except Exception as exc:  # a model may raise anything
        if len(rides) == 1:
            return _not_scored(1, reason=f"the model cannot score this ride: {_name(exc)}")
    middle = len(rides) // 2
    return _joined(
        _isolate(model, target, rides[:middle], time_left),
        _isolate(model, target, rides[middle:], time_left),
    )


def _not_scored(size: int, *, reason: str | None = None) -> Scores:
    return Scores(
        np.full(size, np.nan),
        None,
        np.zeros(size, dtype=bool),
        np.full(size, reason, dtype=object),
    )


def _joined(first: Scores, second: Scores) -> Scores:
    parts = (first, second)
    without_interval = all(part.intervals is None for part in parts)
    return Scores(
        np.concatenate([part.values for part in parts]),
        None if without_interval else np.concatenate([_intervals(part) for part in parts]),
        np.concatenate([part.scored for part in parts]),
        np.concatenate([part.reasons for part in parts]),
    )


def _intervals(scores: Scores) -> NDArray[np.float64]:
    if scores.intervals is None:
        return np.full((len(scores.values), 2), np.nan)
    return scores.intervals


def _name(exc: Exception) -> str:
    return type(exc).__name__.lstrip("_")  # the message may quote a customer's data
