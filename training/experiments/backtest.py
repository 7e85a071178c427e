"""How errors grow with time: a model that is trained anew each month, beside one that never is.

A month is predicted by what was trained on the months before it that are there, and by what was
trained on the first ones; never by what has seen it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..data import dataset as data
from ..data.dataset import UNITS, DataError, Rides, Target
from ..data.tlc import Kind
from ..model import champion
from ..model.champion import Metrics
from ..reports import plots, svg_style
from ..reports.svg_style import ACCENT, RULE, WARM, draw
from ..span import first_day

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which months, and what is trained on them."""

    data: Path
    first: str
    last: str
    target: Target
    window: int = 1
    """Months that a model is trained on."""
    seed: int = 0
    kind: Kind = "green"


@dataclass(frozen=True, slots=True)
class Point:
    """A month, and how far off both models are on it."""

    month: str
    rides: int
    trained_on: tuple[str, ...]
    """The one that is trained anew."""
    anew: Metrics
    once: Metrics


def run(plan: Plan, *, step: Step) -> Iterator[Point]:
    """The months after the first *window* ones, in order."""
    months = between(plan)
    kept = {month: _read(plan, month, step) for month in months[: plan.window]}
    step(f"training once, on {', '.join(kept)}")
    once = champion.alone(data.join(list(kept.values())), seed=plan.seed)
    anew = once
    for month in months[plan.window :]:
        trained_on = tuple(kept)
        rides = _read(plan, month, step)
        yield Point(
            month,
            len(rides),
            trained_on,
            *(
                champion.metrics(rides.target, champion.ask(model, rides.columns), plan.target)
                for model in (anew, once)
            ),
        )
        kept[month] = rides
        del kept[next(iter(kept))]  # no more than a window of months is ever held
        if month != months[-1]:
            step(f"training anew, on {', '.join(kept)}")
            anew = champion.alone(data.join(list(kept.values())), seed=plan.seed)


def between(plan: Plan) -> list[str]:
    """The months from first to last that are there."""
    for month in (plan.first, plan.last):
        first_day(month)  # raises where it is none
    found = [m for m in data.months(plan.data, plan.kind) if plan.first <= m <= plan.last]
    if len(found) <= plan.window:
        raise DataError(
            f"From {plan.first} to {plan.last}, {plan.data} has {len(found)} months; "
            f"it takes {plan.window + 1}."
        )
    return found


def table(points: Sequence[Point], target: Target) -> str:
    """As Markdown."""
    unit = UNITS[target]
    rows = [
        f"| {p.month} | {p.rides:,} | {', '.join(p.trained_on)} | "
        f"{p.anew[f'rmse_{unit}']:.2f} ({p.anew[f'mae_{unit}']:.2f}) | "
        f"{p.once[f'rmse_{unit}']:.2f} ({p.once[f'mae_{unit}']:.2f}) |"
        for p in points
    ]
    first = ", ".join(points[0].trained_on)
    head = f"| month | rides | trained anew on | trained anew | trained once, on {first} |"
    return "\n".join([head, "|---|---:|---|---:|---:|", *rows]) + "\n"


def picture(points: Sequence[Point], target: Target) -> str:
    """Both errors over the months, as SVG."""
    key = f"rmse_{UNITS[target]}"
    months = [point.month for point in points]

    def paint(axes: Axes) -> None:
        for errors, colour, name in (
            ([p.once[key] for p in points], WARM, "trained once"),
            ([p.anew[key] for p in points], ACCENT, "trained anew each month"),
        ):
            axes.plot(range(len(months)), errors, color=colour, linewidth=2, marker="o", label=name)
        for place in _gaps(months):
            axes.axvline(place - 0.5, color=RULE, linewidth=1.6, dashes=plots.DASHES)
        axes.set_xticks(range(len(months)), [month.replace("-", "\n") for month in months])
        top = max(max(p.once[key], p.anew[key]) for p in points)
        axes.set(ylabel=f"RMSE, {UNITS[target]}", ylim=(0, top * 1.2))
        axes.legend(loc="lower left")
        axes.grid(visible=False, axis="x")

    return svg_style.standalone(draw("backtest", paint, size=plots.WIDE))


def write(points: Sequence[Point], target: Target, directory: Path) -> list[Path]:
    """``backtest.json``, ``backtest.md`` and ``backtest.svg``."""
    texts = {
        "backtest.json": json.dumps([asdict(point) for point in points], indent=2) + "\n",
        "backtest.md": table(points, target),
        "backtest.svg": picture(points, target),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in texts]


def _gaps(months: Sequence[str]) -> list[int]:
    """The places of months before which others are missing.

    >>> _gaps(["2021-12", "2022-01", "2022-03"])
    [2]
    """
    numbers = [12 * int(month[:4]) + int(month[5:]) for month in months]
    return [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]


def _read(plan: Plan, month: str, step: Step) -> Rides:
    step(f"reading {month}")
    return data.read(plan.data, month, plan.target, plan.kind)
