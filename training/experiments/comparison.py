"""Every model on every pair of months, the champion's intervals, and what it costs not to know.

A pair is a month that trains and the next one, that tests.  All models are given the same rides
and asked for the same rides, so that a line can be compared with the one above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np

from model_service.scoring import Answers

from .. import metrics
from ..data import dataset as data
from ..data.dataset import DataError, Rides, Target
from ..data.tlc import Kind
from ..metrics import Part
from ..model import baselines
from ..model import champion as fit

Step = Callable[[str], None]

CHAMPION = "champion"
NOWHERE = 264
"""A zone that lies nowhere, which the TLC writes where it does not know."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A month that trains, and the next one."""

    train: str
    test: str

    def __str__(self) -> str:
        """
        >>> print(Pair("2023-01", "2023-02"))
        2023-01 → 02
        """
        same_year = self.train[:4] == self.test[:4]
        return f"{self.train} → {self.test[5:] if same_year else self.test}"


@dataclass(frozen=True, slots=True)
class Line:
    """How one model did on one pair."""

    target: Target
    pair: Pair
    model: str
    trained: int
    """Rides."""
    seconds: float
    """To fit it."""
    parts: tuple[Part, ...]
    """The whole first, then every month, borough and hour."""

    @property
    def whole(self) -> Part:
        return self.parts[0]


@dataclass(frozen=True, slots=True)
class Unknown:
    """What it costs the champion not to be told, beside the linear baseline."""

    target: Target
    pair: Pair
    what: str
    rides: int
    champion: float
    """RMSE."""
    linear: float


@dataclass(frozen=True, slots=True)
class Constant:
    """Intervals of one width for all rides, calibrated as the champion's are."""

    target: Target
    pair: Pair
    width: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of it."""

    lines: tuple[Line, ...]
    unknown: tuple[Unknown, ...]
    constant: tuple[Constant, ...]


def pairs(directory: Path, kind: Kind = "green") -> list[Pair]:
    """Months of *directory* that follow each other."""
    found = data.months(directory, kind)
    there = [Pair(a, b) for a, b in pairwise(found) if b == _next(a)]
    if not there:
        raise DataError(f"{directory} has no two months that follow each other.")
    return there


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compare."""

    data: Path
    pairs: Sequence[Pair]
    targets: Sequence[Target]
    seed: int = 0
    kind: Kind = "green"
    parameters: fit.Parameters = fit.PARAMETERS
    """The champion's."""

    @property
    def steps(self) -> int:
        """How often `run` says what it is about to do."""
        return len(self.pairs) * len(self.targets) * (len(baselines.BASELINES) + 1)


def run(plan: Plan, *, step: Step) -> Comparison:
    """Fit and ask every model; one pair of months is held at a time."""
    found = [_compare(plan, pair, target, step) for target in plan.targets for pair in plan.pairs]
    return Comparison(
        tuple(line for one in found for line in one.lines),
        tuple(unknown for one in found for unknown in one.unknown),
        tuple(constant for one in found for constant in one.constant),
    )


def _compare(plan: Plan, pair: Pair, target: Target, step: Step) -> Comparison:
    trained, tested = (
        data.read(plan.data, month, target, plan.kind) for month in (pair.train, pair.test)
    )
    asks: dict[str, baselines.Ask] = {}
    seconds = {}
    for name, baseline in baselines.BASELINES.items():
        step(f"{target}, {pair}: {name}")
        started = perf_counter()
        asks[name] = baseline(trained, plan.seed)
        seconds[name] = perf_counter() - started
    step(f"{target}, {pair}: {CHAMPION}")
    started = perf_counter()
    champion = fit.champion(trained, seed=plan.seed, parameters=plan.parameters)
    seconds[CHAMPION] = perf_counter() - started

    served = {name: _without_intervals(ask) for name, ask in asks.items()}
    served[CHAMPION] = lambda columns: Answers(*fit.says(champion, columns))
    lines = tuple(
        Line(target, pair, name, len(trained), seconds[name],
             metrics.parts(metrics.ask_month(ask, pair.test, tested)))
        for name, ask in served.items()
    )  # fmt: skip
    asks[CHAMPION] = lambda columns: fit.predict(champion, columns)
    unknown = _unknown(asks, pair, target, trained, tested)
    return Comparison(lines, unknown, (_constant(champion, pair, target, tested),))


def _unknown(
    asks: Mapping[str, baselines.Ask], pair: Pair, target: Target, trained: Rides, tested: Rides
) -> tuple[Unknown, ...]:
    return tuple(
        Unknown(
            target,
            pair,
            what,
            len(rides),
            _off(asks[CHAMPION], rides),
            _off(asks["linear"], rides),
        )
        for what, rides in _not_told(trained, tested)
    )


def _constant(champion: fit.Fitted, pair: Pair, target: Target, tested: Rides) -> Constant:
    error = tested.target - fit.predict(champion, tested.columns)
    below, above = champion.constant
    inside = float(np.mean((-below <= error) & (error <= above)))
    return Constant(target, pair, below + above, inside)


def _not_told(trained: Rides, tested: Rides) -> Iterator[tuple[str, Rides]]:
    columns = tested.columns
    nowhere = np.full(len(tested), NOWHERE)
    never = ~np.isin(baselines.routes(columns), baselines.routes(trained.columns))
    yield "nothing", tested
    yield "when it begins", replace(tested, columns=metrics.without_time(columns))
    yield "where it begins", replace(tested, columns=replace(columns, pickup=nowhere))
    yield "where it ends", replace(tested, columns=replace(columns, dropoff=nowhere))
    yield (
        "where it begins and ends",
        replace(tested, columns=replace(columns, pickup=nowhere, dropoff=nowhere)),
    )
    if never.any():
        yield "(routes that the month before had)", data.take(tested, ~never)
        yield "(routes that the month before had not)", data.take(tested, never)


def _without_intervals(ask: baselines.Ask) -> metrics.Ask:
    return lambda columns: Answers(ask(columns))


def _off(ask: baselines.Ask, rides: Rides) -> float:
    return metrics.rmse(ask(rides.columns) - rides.target)


def _next(month: str) -> str:
    """
    >>> _next("2022-12")
    '2023-01'
    """
    number = 12 * int(month[:4]) + int(month[5:])
    return f"{number // 12}-{number % 12 + 1:02}"
