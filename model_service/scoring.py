"""From rides to predictions: the one scoring rule of the stream, the web, batch and Spark.

It does no I/O, given a model.

Rule 1: a batch is one call to the model, whatever its size.
Rule 2: where that call raises or returns another number of values, the batch is halved until the
        rides at fault stand alone; those are rejected, the others are scored as if they had come
        by themselves.
Rule 3: no ride is rejected on the word of a broken model: the model is asked for the warm-up
        ride, and where it cannot score that one either, the model is at fault and the batch fails.
Rule 4: a value that is not finite or outside its range, and an interval that is not finite or
        does not hold its value, is a rejection, never a default.
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
"""Seconds until the caller has to be done."""

WARM_UP = Ride(pickup=130, dropoff=205, distance=3.66, pickup_datetime=datetime(2021, 3, 1, 8, 15))


OUTSIDE = "the model answered outside its range"


class Answers(NamedTuple):
    """A model's output for n rides, in the unit of its target."""

    values: NDArray[np.float64]
    """Shape (n,)."""
    intervals: NDArray[np.float64] | None = None
    """Shape (n, 2), low and high; None where the model has none."""


class Model(Protocol):
    """A model as scoring needs it."""

    @property
    def version(self) -> str: ...

    def predict(self, rides: RideColumns, /) -> Answers: ...


@dataclass(frozen=True, slots=True)
class Target:
    """The quantity that a model predicts: name and field of its events, and range of its values."""

    model_name: str = "ride_duration_prediction_model"
    field: str = "ride_duration"
    minimum: float = 0.0
    maximum: float = 1440.0


class Answer(NamedTuple):
    """A model's prediction for one ride, in the unit of its target."""

    value: float
    interval: tuple[float, float] | None


ScoreOutcome = Answer | RideRejected | None
"""The outcome for one ride; None where there was no time left to ask the model."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The outcomes for n rides, in order: each is scored, rejected, or was not asked in time."""

    values: NDArray[np.float64]
    """Shape (n,), in the unit of the target; without meaning where a ride is not scored."""
    intervals: NDArray[np.float64] | None
    """Shape (n, 2), low and high; None where the model has none."""
    scored: NDArray[np.bool_]
    """Shape (n,)."""
    reasons: NDArray[np.object_]
    """Shape (n,): why a ride was rejected; None where it was scored or not asked in time."""

    def outcomes(self) -> list[ScoreOutcome]:
        """One outcome a ride, for interfaces that answer ride by ride."""
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
    """Score *rides* in one call; *time_left* bounds the search for rides at fault.

    Raises `ModelError` where the model is at fault.
    """
    if not len(rides):
        return _not_scored(0)
    try:
        return _ask(model, target, rides)
    except Exception as exc:  # a model may raise anything
        warm_up(model, because=exc)
        scores = _isolate(model, target, rides, time_left)
        warm_up(model, because=exc)
        return scores


def warm_up(model: Model, *, because: Exception | None = None) -> None:
    """Score the warm-up ride.  Raises `ModelError` where the model cannot score it."""
    try:
        values = model.predict(columns([WARM_UP])).values
    except ModelError:
        raise
    except Exception as exc:  # a model may raise anything
        raise ModelError(f"the model cannot score the warm-up ride: {_name(exc)}") from exc
    if values.shape != (1,) or not np.isfinite(values).all():
        raise ModelError("the model's answer to the warm-up ride is not a number") from because


class _Miscounted(Exception):
    """The model returned another number of values; treated like any exception of the model."""


def _ask(model: Model, target: Target, rides: RideColumns) -> Scores:
    values, intervals = model.predict(rides)
    if values.shape != (len(rides),):
        raise _Miscounted
    scored = np.isfinite(values) & (values >= target.minimum) & (values <= target.maximum)
    if intervals is not None:
        if intervals.shape != (len(rides), 2):
            raise _Miscounted
        low, high = intervals.T
        scored &= np.isfinite(low) & np.isfinite(high) & (low <= values) & (values <= high)
    reasons = np.full(len(rides), None, dtype=object)
    reasons[~scored] = OUTSIDE
    return Scores(values, intervals, scored, reasons)


def _isolate(model: Model, target: Target, rides: RideColumns, time_left: TimeLeft) -> Scores:
    """Halve *rides* until those that make the model fail stand alone, and reject them."""
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
    return type(exc).__name__.lstrip("_")  # its message may quote a customer's data
