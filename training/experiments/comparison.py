"""Compares the champion with the baselines on every pair of consecutive months.

The models are trained on the first month of a pair and tested on the second.  All models are
trained and tested on the same rides.  The comparison also measures intervals that are equally wide
for all rides, and the errors if an input of the ride is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np

from model_service.datasets.months import months
from model_service.scoring import Answers

from .. import metrics
from ..data import dataset
from ..data.dataset import DataError, Rides, Target
from ..data.tlc import Kind
from ..inputs import OnStep
from ..metrics import PartMetrics
from ..model import baselines, champion
from ..model.champion import FittedChampion
from ..model.parameters import DEFAULTS, Parameters

CHAMPION = "champion"
UNKNOWN_ZONE = 264
"""The TLC's number for an unknown zone."""


@dataclass(frozen=True, slots=True)
class MonthPair:
    """Two consecutive months: models are trained on the first and tested on the second."""

    train: str
    test: str

    def __str__(self) -> str:
        """
        >>> print(MonthPair("2023-01", "2023-02"))
        2023-01 → 02
        """
        same_year = self.train[:4] == self.test[:4]
        return f"{self.train} → {self.test[5:] if same_year else self.test}"


@dataclass(frozen=True, slots=True)
class ModelResult:
    """The errors of one model on one pair of months."""

    target: Target
    pair: MonthPair
    model: str
    trained: int
    """The number of training rides."""
    seconds: float
    """The seconds that the fit of the model took."""
    parts: tuple[PartMetrics, ...]
    """The metrics of all test rides first, then of every month, borough and hour."""

    @property
    def whole(self) -> PartMetrics:
        return self.parts[0]


@dataclass(frozen=True, slots=True)
class UnknownInputResult:
    """The errors of the champion and of the linear baseline if an input is unknown."""

    target: Target
    pair: MonthPair
    what: str
    """The name of the unknown input."""
    rides: int
    champion: float
    """The RMSE of the champion, in minutes or dollars."""
    linear: float


@dataclass(frozen=True, slots=True)
class ConstantIntervals:
    """The width and coverage of intervals that are equally wide for all rides.

    They are calibrated on the same errors as the champion's intervals.
    """

    target: Target
    pair: MonthPair
    width: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The results of all pairs and targets."""

    lines: tuple[ModelResult, ...]
    unknown: tuple[UnknownInputResult, ...]
    constant: tuple[ConstantIntervals, ...]


def pairs(directory: Path, kind: Kind = "green") -> list[MonthPair]:
    """Return the pairs of consecutive months in *directory*.

    Raises `DataError` if there are no consecutive months.
    """
    found = [
        MonthPair(train, test)
        for train, test in pairwise(dataset.months(directory, kind))
        if months(train, test) == [train, test]
    ]
    if not found:
        raise DataError(f"{directory} has no two consecutive months.")
    return found


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """The months, targets and settings of a comparison."""

    data: Path
    pairs: Sequence[MonthPair]
    targets: Sequence[Target]
    seed: int = 0
    kind: Kind = "green"
    parameters: Parameters = DEFAULTS
    """The champion's hyper-parameters."""

    @property
    def steps(self) -> int:
        """Return the number of times that `run` calls its argument *on_step*."""
        return len(self.pairs) * len(self.targets) * (len(baselines.BASELINES) + 1)


def run(plan: ComparisonPlan, *, on_step: OnStep) -> Comparison:
    """Fit and test every model on every pair of months, and return the results.

    Only one pair of months is in memory at a time.
    """
    found = [
        _compare(plan, pair, target, on_step) for target in plan.targets for pair in plan.pairs
    ]
    return Comparison(
        tuple(line for one in found for line in one.lines),
        tuple(unknown for one in found for unknown in one.unknown),
        tuple(constant for one in found for constant in one.constant),
    )


def _compare(plan: ComparisonPlan, pair: MonthPair, target: Target, on_step: OnStep) -> Comparison:
    trained, tested = (
        dataset.read(plan.data, month, target, plan.kind) for month in (pair.train, pair.test)
    )
    predictors: dict[str, baselines.PredictValues] = {}
    seconds = {}
    for name, baseline in baselines.BASELINES.items():
        on_step(f"{target}, {pair}: {name}")
        started = perf_counter()
        predictors[name] = baseline(trained, plan.seed)
        seconds[name] = perf_counter() - started
    on_step(f"{target}, {pair}: {CHAMPION}")
    started = perf_counter()
    fitted = champion.fit(trained, seed=plan.seed, parameters=plan.parameters)
    seconds[CHAMPION] = perf_counter() - started

    served = {name: _without_intervals(predict) for name, predict in predictors.items()}
    served[CHAMPION] = lambda columns: Answers(*champion.predict_with_intervals(fitted, columns))
    lines = tuple(
        ModelResult(target, pair, name, len(trained), seconds[name],
                    metrics.by_part(metrics.evaluate_month(predict, pair.test, tested)))
        for name, predict in served.items()
    )  # fmt: skip
    predictors[CHAMPION] = lambda columns: champion.predict(fitted, columns)
    unknown = _unknown_inputs(predictors, pair, target, trained, tested)
    return Comparison(lines, unknown, (_constant(fitted, pair, target, tested),))


def _unknown_inputs(
    predictors: Mapping[str, baselines.PredictValues],
    pair: MonthPair,
    target: Target,
    trained: Rides,
    tested: Rides,
) -> tuple[UnknownInputResult, ...]:
    return tuple(
        UnknownInputResult(
            target,
            pair,
            what,
            len(rides),
            champion=_rmse(predictors[CHAMPION], rides),
            linear=_rmse(predictors["linear"], rides),
        )
        for what, rides in _with_unknown_inputs(trained, tested)
    )


def _constant(
    fitted: FittedChampion, pair: MonthPair, target: Target, tested: Rides
) -> ConstantIntervals:
    error = tested.target - champion.predict(fitted, tested.columns)
    below, above = fitted.constant
    inside = float(np.mean((-below <= error) & (error <= above)))
    return ConstantIntervals(target, pair, below + above, inside)


def _with_unknown_inputs(trained: Rides, tested: Rides) -> Iterator[tuple[str, Rides]]:
    columns = tested.columns
    nowhere = np.full(len(tested), UNKNOWN_ZONE)
    new_route = ~np.isin(baselines.routes(columns), baselines.routes(trained.columns))
    yield "nothing", tested
    yield "pick-up time", replace(tested, columns=metrics.without_time(columns))
    yield "pick-up zone", replace(tested, columns=replace(columns, pickup=nowhere))
    yield "drop-off zone", replace(tested, columns=replace(columns, dropoff=nowhere))
    yield (
        "both zones",
        replace(tested, columns=replace(columns, pickup=nowhere, dropoff=nowhere)),
    )
    if new_route.any():
        yield "(only routes in the training month)", dataset.take(tested, ~new_route)
        yield "(only routes not in the training month)", dataset.take(tested, new_route)


def _without_intervals(predict: baselines.PredictValues) -> metrics.Predict:
    return lambda columns: Answers(predict(columns))


def _rmse(predict: baselines.PredictValues, rides: Rides) -> float:
    return metrics.rmse(predict(rides.columns) - rides.target)
