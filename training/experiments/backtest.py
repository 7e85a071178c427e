"""Backtest: compares a model that is retrained each month with a model that is trained once.

Both models predict each month.  The first is trained on the months just before the predicted month;
the second is trained on the first months of the data.  So no model predicts a month that it was
trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from model_service.datasets.months import months

from ..data import dataset
from ..data.dataset import UNITS, DataError, Rides, Target
from ..data.tlc import Kind
from ..inputs import OnStep
from ..model import champion
from ..model.champion import ErrorMetrics
from ..reports import plots, svg_style
from ..reports.svg_style import ACCENT, RULE, WARM, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class BacktestPlan:
    """The months and settings of a backtest."""

    data: Path
    first: str
    last: str
    target: Target
    window: int = 1
    """The number of months on which a model is trained."""
    seed: int = 0
    kind: Kind = "green"


@dataclass(frozen=True, slots=True)
class BacktestPoint:
    """The errors of both models on one month."""

    month: str
    rides: int
    trained_on: tuple[str, ...]
    """The training months of the retrained model."""
    anew: ErrorMetrics
    """The errors of the retrained model."""
    once: ErrorMetrics
    """The errors of the model that was trained once."""


def run(plan: BacktestPlan, *, on_step: OnStep) -> Iterator[BacktestPoint]:
    """Yield the errors of both models for each month after the first ``plan.window`` months.

    Raises `DataError` if a month cannot be read.
    """
    found = available_months(plan)
    held = {month: _read(plan, month, on_step) for month in found[: plan.window]}
    on_step(f"training once, on {', '.join(held)}")
    once = champion.fit_value(dataset.concatenate(list(held.values())), seed=plan.seed)
    anew = once
    for month in found[plan.window :]:
        trained_on = tuple(held)
        rides = _read(plan, month, on_step)
        yield BacktestPoint(
            month,
            len(rides),
            trained_on,
            *(
                champion.error_metrics(
                    rides.target, champion.predict_trees(model, rides.columns), plan.target
                )
                for model in (anew, once)
            ),
        )
        held[month] = rides
        del held[next(iter(held))]  # so that at most one window of months is in memory
        if month != found[-1]:
            on_step(f"retraining, on {', '.join(held)}")
            anew = champion.fit_value(dataset.concatenate(list(held.values())), seed=plan.seed)


def available_months(plan: BacktestPlan) -> list[str]:
    """Return the months from ``plan.first`` to ``plan.last`` of which the data has a file.

    Raises `SettingsError` if a month is not valid, and `DataError` if there are too few months.
    """
    wanted = months(plan.first, plan.last)
    found = [month for month in dataset.months(plan.data, plan.kind) if month in wanted]
    if len(found) <= plan.window:
        raise DataError(
            f"From {plan.first} to {plan.last}, {plan.data} has {len(found)} months; "
            f"at least {plan.window + 1} are needed."
        )
    return found


def table(points: Sequence[BacktestPoint], target: Target) -> str:
    """Return the errors of all months as a Markdown table."""
    unit = UNITS[target]
    rows = [
        f"| {p.month} | {p.rides:,} | {', '.join(p.trained_on)} | "
        f"{_errors(p.anew, unit)} | {_errors(p.once, unit)} |"
        for p in points
    ]
    first = ", ".join(points[0].trained_on)
    head = f"| month | rides | retrained on | retrained | trained once, on {first} |"
    return "\n".join([head, "|---|---:|---|---:|---:|", *rows]) + "\n"


def _errors(errors: ErrorMetrics, unit: str) -> str:
    """Return the RMSE, and in brackets the MAE, the median error and the close predictions."""
    mae, median = errors[f"mae_{unit}"], errors[f"median_{unit}"]
    return f"{errors[f'rmse_{unit}']:.2f} ({mae:.2f}; {median:.2f}; {errors['close']:.0%})"


def plot(points: Sequence[BacktestPoint], target: Target) -> str:
    """Return a plot of the RMSE of both models by month, as SVG."""
    key = f"rmse_{UNITS[target]}"
    names = [point.month for point in points]

    def paint(axes: Axes) -> None:
        for errors, colour, name in (
            ([p.once[key] for p in points], WARM, "trained once"),
            ([p.anew[key] for p in points], ACCENT, "retrained each month"),
        ):
            axes.plot(range(len(names)), errors, color=colour, linewidth=2, marker="o", label=name)
        for place in _gaps(names):
            axes.axvline(place - 0.5, color=RULE, linewidth=1.6, dashes=plots.DASHES)
        axes.set_xticks(range(len(names)), [month.replace("-", "\n") for month in names])
        top = max(max(p.once[key], p.anew[key]) for p in points)
        axes.set(ylabel=f"RMSE, {UNITS[target]}", ylim=(0, top * 1.2))
        axes.legend(loc="lower left")
        axes.grid(visible=False, axis="x")

    return svg_style.standalone(draw("backtest", paint, size=plots.WIDE))


def write(points: Sequence[BacktestPoint], target: Target, directory: Path) -> list[Path]:
    """Write ``backtest.json``, ``backtest.md`` and ``backtest.svg`` to *directory*.

    Returns the paths of the three files.
    """
    texts = {
        "backtest.json": json.dumps([asdict(point) for point in points], indent=2) + "\n",
        "backtest.md": table(points, target),
        "backtest.svg": plot(points, target),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in texts]


def _gaps(found: Sequence[str]) -> list[int]:
    """Return the positions of the months whose previous month is missing.

    >>> _gaps(["2021-12", "2022-01", "2022-03"])
    [2]
    """
    return [
        position for position, pair in enumerate(pairwise(found), start=1) if len(months(*pair)) > 2
    ]


def _read(plan: BacktestPlan, month: str, on_step: OnStep) -> Rides:
    on_step(f"reading {month}")
    return dataset.read(plan.data, month, plan.target, plan.kind)
