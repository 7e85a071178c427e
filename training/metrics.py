"""How far off a model is: on the whole, and for every month, borough and hour.

Everything here asks the model in the form that is served, and knows nothing of how it was made.
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

Ask = Callable[[RideColumns], Answers]
Floats = NDArray[np.float64]

UNKNOWN = "unknown"
"""The borough of a zone that lies nowhere."""
FEWEST = 30
"""Rides; figures of a part with less say nothing."""
IMPORTANCE_SAMPLE = 10_000
SAID = {
    "pick-up zone": "pickup",
    "drop-off zone": "dropoff",
    "distance": "distance",
    "time": "picked_up",
}
"""The properties of a ride and the columns that hold them."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Rides that a model has not seen, and what it says of them."""

    month: NDArray[np.str_]
    """The TLC's file that each is from; shape (n,), as everything else."""
    rides: Rides
    answers: Answers

    @property
    def error(self) -> Floats:
        """Above 0 where too much was predicted."""
        return self.answers.values - self.rides.target

    @property
    def covered(self) -> NDArray[np.bool_] | None:
        """Whether the truth lies inside the interval; None where the model has none."""
        if self.answers.intervals is None:
            return None
        low, high = self.answers.intervals.T
        inside: NDArray[np.bool_] = (low <= self.rides.target) & (self.rides.target <= high)
        return inside


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the rides of a test, and how far off the model is on them."""

    kind: str
    """``all``, ``month``, ``borough`` or ``hour``."""
    name: str
    rides: int
    rmse: float
    mae: float
    p90: float
    """Nine of ten errors are smaller."""
    bias: float
    coverage: float | None
    width: float | None
    """Of the intervals, on the mean."""


def ask_month(ask: Ask, month: str, rides: Rides) -> Trial:
    """A model's answers for a whole month."""
    return Trial(np.full(len(rides), month), rides, ask(rides.columns))


def parts(test: Trial) -> tuple[Part, ...]:
    """The whole, and every month, borough and hour that has at least `FEWEST` rides."""
    hour = test.rides.columns.hour
    kinds: dict[str, NDArray[np.str_]] = {
        "month": test.month,
        "borough": boroughs(test.rides.columns.pickup),
        "hour": np.where(np.isnan(hour), UNKNOWN, np.char.mod("%02.0f", hour)),
    }
    everything = np.full(len(test.rides), True)
    return (
        _part("all", "all", test, everything),
        *(
            _part(kind, str(name), test, of == name)
            for kind, of in kinds.items()
            for name, rides in zip(*np.unique(of, return_counts=True), strict=True)
            if rides >= FEWEST
        ),
    )


def of_kind(found: Sequence[Part], kind: str) -> list[Part]:
    return [part for part in found if part.kind == kind]


def boroughs(zones: NDArray[np.int64]) -> NDArray[np.str_]:
    """The borough of each zone.

    >>> boroughs(np.array([130, 264])).tolist()
    ['Queens', 'unknown']
    """
    names = _borough_by_zone()
    inside = (zones >= 0) & (zones < len(names))
    return names[np.where(inside, zones, 0)]


def rmse(error: Floats) -> float:
    """The root mean square error, in the unit of *error*."""
    return float(np.sqrt(np.mean(error**2)))


def without_time(columns: RideColumns) -> RideColumns:
    """The same rides, of which nobody knows when they begin."""
    return replace(columns, picked_up=np.full(len(columns), NO_TIME))


def importance(ask: Ask, rides: Rides, *, seed: int) -> dict[str, float]:
    """By how much RMSE grows where what a ride says is another ride's: for each of `SAID`."""
    rng = np.random.default_rng(seed)
    sample = rng.permutation(len(rides))[:IMPORTANCE_SAMPLE]
    some = take(rides, sample)
    columns, target = some.columns, some.target
    before = rmse(ask(columns).values - target)
    found = {}
    for name, column in SAID.items():
        other = rng.permutation(len(sample))
        shuffled = replace(columns, **{column: getattr(columns, column)[other]})
        found[name] = rmse(ask(shuffled).values - target) - before
    return found


def milliseconds(asks: Sequence[Ask], rides: RideColumns, *, calls: int) -> list[float]:
    """What one call takes each of *asks*, asked in turn: the median of the best of five rounds."""
    best = [inf] * len(asks)
    for _ in range(5):
        taken: list[list[float]] = [[] for _ in asks]
        for _ in range(calls):
            for i, ask in enumerate(asks):
                before = perf_counter()
                ask(rides)
                taken[i].append(1000 * (perf_counter() - before))
        best = [min(known, median(times)) for known, times in zip(best, taken, strict=True)]
    return best


def subsets(rides: Rides, shares: tuple[float, ...], *, seed: int) -> Iterator[Rides]:
    """Growing parts of *rides*, each inside the next."""
    order = np.random.default_rng(seed).permutation(len(rides))
    for share in shares:
        yield take(rides, np.sort(order[: round(share * len(rides))]))


def _part(kind: str, name: str, test: Trial, some: NDArray[np.bool_]) -> Part:
    error = test.error[some]
    covered, intervals = test.covered, test.answers.intervals
    return Part(
        kind=kind,
        name=name,
        rides=len(error),
        rmse=rmse(error),
        mae=float(np.mean(np.abs(error))),
        p90=float(np.quantile(np.abs(error), 0.9)),
        bias=float(np.mean(error)),
        coverage=None if covered is None else float(np.mean(covered[some])),
        width=None if intervals is None else float(np.mean(np.diff(intervals[some], axis=1))),
    )


@cache
def _borough_by_zone() -> NDArray[np.str_]:
    names = dict.fromkeys(range(max(zone.id for zone in taxi_zones()) + 1), UNKNOWN)
    names |= {zone.id: zone.borough for zone in taxi_zones()}
    return np.array(list(names.values()))
