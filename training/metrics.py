"""Computes the errors of a model on test rides: in total, and by month, borough and hour.

The functions call a model through the same function as the service, and do not depend on how the
model was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from model_service.features import NO_TIME, RideColumns
from model_service.scoring import Answers
from model_service.zones import taxi_zones

from .data.dataset import Rides, take

Predict = Callable[[RideColumns], Answers]
Floats = NDArray[np.float64]

UNKNOWN = "unknown"
"""The borough of zones without a position."""
MIN_RIDES = 30
"""The metrics of a part with fewer rides are left out."""
COVERAGE = (0.75, 0.85)
"""The range of the coverage of 80 % intervals that is accepted: the sampling error and the drift of
a month are smaller in all months of docs/models.md (77 to 82 %)."""
MAX_BIAS = 1.5
"""The largest accepted bias in minutes or dollars.  A healthy champion had a bias of at most
1.2 minutes on the month after its training month (February 2021, with snow)."""
CLOSE_ERROR, CLOSE_SHARE = 2.0, 0.2
"""A prediction is close if its error is at most 2 minutes (or dollars) or 20 % of the true value.

RMSE and p90 depend mainly on the longest rides; most riders want an estimate that is about right.
"""
IMPORTANCE_SAMPLE = 10_000
INPUTS = {
    "pick-up zone": "pickup",
    "drop-off zone": "dropoff",
    "distance": "distance",
    "time": "picked_up",
}
"""The name of an input of a ride event -> the column that contains it."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Rides that a model was not trained on, and its predictions for them."""

    month: NDArray[np.str_]
    """The month of the file of each ride; shape (n,), like all arrays of this class."""
    rides: Rides
    answers: Answers

    @property
    def error(self) -> Floats:
        """Return the prediction minus the true value of each ride, in minutes or dollars."""
        return self.answers.values - self.rides.target

    @property
    def covered(self) -> NDArray[np.bool_] | None:
        """Return for each ride whether its true value is within its interval, shape (n,).

        None if the model has no intervals.
        """
        if self.answers.intervals is None:
            return None
        low, high = self.answers.intervals.T
        inside: NDArray[np.bool_] = (low <= self.rides.target) & (self.rides.target <= high)
        return inside


@dataclass(frozen=True, slots=True)
class PartMetrics:
    """The errors of a model on one part of the test rides, in minutes or dollars."""

    kind: str
    """``all``, ``month``, ``borough`` or ``hour``."""
    name: str
    rides: int
    rmse: float
    mae: float
    median: float
    """The median of the absolute error."""
    p90: float
    """The 90th percentile of the absolute error."""
    close: float
    """The share of predictions that are close: see `CLOSE_ERROR`."""
    bias: float
    """The mean of the differences: prediction minus true value."""
    coverage: float | None
    """The share of true values within their intervals, from 0 to 1; None without intervals."""
    width: float | None
    """The mean width of the intervals; None without intervals."""


def evaluate_month(predict: Predict, month: str, rides: Rides) -> Evaluation:
    """Return a model's predictions for *rides*, which are from the file of *month*."""
    return Evaluation(np.full(len(rides), month), rides, predict(rides.columns))


def by_part(test: Evaluation) -> tuple[PartMetrics, ...]:
    """Return the metrics of all rides, then of each month, borough and hour.

    Parts with fewer than `MIN_RIDES` rides are left out.
    """
    hour = test.rides.columns.hour
    kinds: dict[str, NDArray[np.str_]] = {
        "month": test.month,
        "borough": boroughs(test.rides.columns.pickup),
        "hour": np.where(np.isnan(hour), UNKNOWN, np.char.mod("%02.0f", hour)),
    }
    return (
        whole(test),
        *(
            _part(kind, str(name), test, names == name)
            for kind, names in kinds.items()
            for name, rides in zip(*np.unique(names, return_counts=True), strict=True)
            if rides >= MIN_RIDES
        ),
    )


def whole(test: Evaluation) -> PartMetrics:
    """Return the metrics of all rides of *test* together."""
    return _part("all", "all", test, np.full(len(test.rides), True))


def of_kind(parts: Sequence[PartMetrics], kind: str) -> list[PartMetrics]:
    """Return those of *parts* whose ``kind`` is *kind*, in the same order."""
    return [part for part in parts if part.kind == kind]


def boroughs(zones: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return the name of the borough of each TLC zone id in *zones*, shape (n,).

    >>> boroughs(np.array([130, 264])).tolist()
    ['Queens', 'unknown']
    """
    names = _borough_by_zone()
    inside = (zones >= 0) & (zones < len(names))
    return names[np.where(inside, zones, 0)]


def rmse(error: Floats) -> float:
    """Return the root mean square error, in the unit of *error*."""
    return float(np.sqrt(np.mean(error**2)))


def close_share(error: Floats, true: Floats) -> float:
    """Return the share of predictions that are close to the true value, from 0 to 1.

    *error* are the predictions minus the true values, and *true* the true values, shape (n,).
    An error may be up to `CLOSE_ERROR`, or up to `CLOSE_SHARE` of its true value.

    >>> close_share(np.array([2.0, -2.1, 4.0]), np.array([5.0, 5.0, 20.0]))
    0.6666666666666666
    """
    return float(np.mean(np.abs(error) <= np.maximum(CLOSE_ERROR, CLOSE_SHARE * true)))


def without_time(columns: RideColumns) -> RideColumns:
    """Return the same rides with an unknown pick-up time."""
    return replace(columns, picked_up=np.full(len(columns), NO_TIME))


def importance(predict: Predict, rides: Rides, *, seed: int) -> dict[str, float]:
    """Return the permutation importance of each input, by the input's name.

    It is the increase of the RMSE if the values of this input are shuffled among the rides.
    """
    rng = np.random.default_rng(seed)
    some = take(rides, rng.permutation(len(rides))[:IMPORTANCE_SAMPLE])
    columns, target = some.columns, some.target
    before = rmse(predict(columns).values - target)
    growth = {}
    for name, column in INPUTS.items():
        order = rng.permutation(len(some))
        shuffled = replace(columns, **{column: getattr(columns, column)[order]})
        growth[name] = rmse(predict(shuffled).values - target) - before
    return growth


def milliseconds(predict: Predict, rides: RideColumns, *, calls: int) -> float:
    """Return the time in milliseconds that *predict* takes for *rides*.

    It is the smallest of five medians, each of *calls* calls.
    """
    best = inf
    for _ in range(5):
        times = []
        for _ in range(calls):
            before = perf_counter()
            predict(rides)
            times.append(1000 * (perf_counter() - before))
        best = min(best, median(times))
    return best


def nested_subsets(rides: Rides, shares: tuple[float, ...], *, seed: int) -> Iterator[Rides]:
    """Yield a random subset of *rides* for each of *shares*; each contains the subset before it.

    *shares* are the sizes of the subsets as shares of all rides, in increasing order.
    """
    order = np.random.default_rng(seed).permutation(len(rides))
    for share in shares:
        yield take(rides, np.sort(order[: round(share * len(rides))]))


def _part(kind: str, name: str, test: Evaluation, some: NDArray[np.bool_]) -> PartMetrics:
    error = test.error[some]
    covered, intervals = test.covered, test.answers.intervals
    return PartMetrics(
        kind=kind,
        name=name,
        rides=len(error),
        rmse=rmse(error),
        mae=float(np.mean(np.abs(error))),
        median=float(np.median(np.abs(error))),
        p90=float(np.quantile(np.abs(error), 0.9)),
        close=close_share(error, test.rides.target[some]),
        bias=float(np.mean(error)),
        coverage=None if covered is None else float(np.mean(covered[some])),
        width=None if intervals is None else float(np.mean(np.diff(intervals[some], axis=1))),
    )


@cache
def _borough_by_zone() -> NDArray[np.str_]:
    names = dict.fromkeys(range(max(zone.id for zone in taxi_zones()) + 1), UNKNOWN)
    names |= {zone.id: zone.borough for zone in taxi_zones()}
    return np.array(list(names.values()))
