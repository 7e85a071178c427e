"""Rides to answers, in one call to the model and in order.  Pure, given a model.

Rule 1: a batch is one call, whatever its size.
Rule 2: where that call raises or miscounts, the batch is halved until the rides at fault stand
        alone, and those are rejected; the others are answered as if they had come by themselves.
Rule 3: nobody is rejected on the word of a broken model: it is asked for the warm-up ride, and
        where it cannot answer that one either, the fault is the model's and the batch fails.
Rule 4: an answer that is not finite or outside its range is a rejection, never a default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf, isfinite
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
    """What a model says of n rides, in the unit of its target."""

    values: NDArray[np.float64]
    """Shape (n,)."""
    intervals: NDArray[np.float64] | None = None
    """Shape (n, 2), low and high; None where the model has none."""


class Model(Protocol):
    """What scoring needs of a model, and no more."""

    @property
    def version(self) -> str: ...

    def predict(self, rides: RideColumns, /) -> Answers: ...


@dataclass(frozen=True, slots=True)
class Target:
    """What a model predicts: the name and field of its events, and the range of its answers."""

    model_name: str = "ride_duration_prediction_model"
    field: str = "ride_duration"
    minimum: float = 0.0
    maximum: float = 1440.0


class Answer(NamedTuple):
    """What a model says of one ride."""

    value: float
    interval: tuple[float, float] | None


Outcome = Answer | RideRejected | None
"""None: there was no time left to ask."""


def score(
    model: Model, target: Target, rides: RideColumns, *, time_left: TimeLeft = lambda: inf
) -> list[Outcome]:
    """One outcome a ride, in order.  *time_left* bounds the search for rides at fault.

    Raises `ModelError` where the fault is the model's.
    """
    if not len(rides):
        return []
    try:
        return _ask(model, target, rides)
    except Exception as exc:  # a model may raise anything
        warm_up(model, because=exc)
        outcomes = _halve(model, target, rides, time_left)
        warm_up(model, because=exc)
        return outcomes


def warm_up(model: Model, *, because: Exception | None = None) -> None:
    """Score the warm-up ride; raises `ModelError` where that is beyond the model."""
    try:
        values = model.predict(columns([WARM_UP])).values
    except ModelError:
        raise
    except Exception as exc:  # a model may raise anything
        raise ModelError(f"the model cannot score the warm-up ride: {_name(exc)}") from exc
    if values.shape != (1,) or not np.isfinite(values).all():
        raise ModelError("the model's answer to the warm-up ride is no number") from because


class _Miscounted(Exception):
    """As good as a raise: the rides at fault are searched for in the same way."""


def _ask(model: Model, target: Target, rides: RideColumns) -> list[Outcome]:
    values, intervals = model.predict(rides)
    if values.shape != (len(rides),):
        raise _Miscounted
    pairs = [None] * len(rides) if intervals is None else intervals.tolist()
    return [
        _answer(value, pair, target) for value, pair in zip(values.tolist(), pairs, strict=True)
    ]


def _answer(value: float, pair: Sequence[float] | None, target: Target) -> Outcome:
    low, high = (value, value) if pair is None else pair
    inside = isfinite(value) and target.minimum <= value <= target.maximum
    if not (inside and isfinite(low) and isfinite(high) and low <= value <= high):
        return RideRejected(OUTSIDE)
    return Answer(value, None if pair is None else (low, high))


def _halve(model: Model, target: Target, rides: RideColumns, time_left: TimeLeft) -> list[Outcome]:
    if time_left() <= 0:
        return [None] * len(rides)
    try:
        return _ask(model, target, rides)
    except Exception as exc:  # a model may raise anything
        if len(rides) == 1:
            return [RideRejected(f"the model cannot score this ride: {_name(exc)}")]
    middle = len(rides) // 2
    first = _halve(model, target, rides[:middle], time_left)
    return first + _halve(model, target, rides[middle:], time_left)


def _name(exc: Exception) -> str:
    return type(exc).__name__.lstrip("_")  # its message may quote a customer's data
