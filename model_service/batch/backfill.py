"""Many months at once: which inputs they are, and what became of each, in a table and a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import NamedTuple

from ..datasets import files
from ..datasets.files import Input
from ..datasets.manifest import Done, Failed, Outcome
from ..errors import FileError, SettingsError
from . import evaluation
from .evaluation import Errors

MONTH = "{month}"
WIDE = 120  # columns; in fewer, a table would cut off what it has to say


@dataclass(frozen=True, slots=True)
class Asked:
    """The inputs of some months; a month has inputs, or is missing."""

    months: list[str]
    inputs: list[Input]
    of: Mapping[str, str]
    """The month of an input, by its location."""
    missing: Mapping[str, Failed]


class Month(NamedTuple):
    """What became of a month's inputs."""

    name: str
    rows: int
    scored: int
    rejected: int
    errors: dict[str, Errors]
    """By the field of the answer, over all its rides, whenever they were picked up."""
    failed: bool
    """It is missing, or one of its inputs cannot be read."""


def inputs(pattern: str, months: list[str]) -> Asked:
    """What *pattern*, with ``{month}`` in it, names for each of *months*.

    Raises `SettingsError` where a file is of two of them.
    """
    found: list[Input] = []
    of: dict[str, str] = {}
    missing: dict[str, Failed] = {}
    for month in months:
        location = pattern.replace(MONTH, month)
        try:
            some = files.inputs([location])
        except FileError as exc:
            missing[month] = Failed(location, str(exc))
            continue
        if twice := next((of[one.location] for one in some if one.location in of), None):
            raise SettingsError(f"a file is named for {twice} and for {month}: {location}")
        found += some
        of |= {one.location: month for one in some}
    return Asked(months, found, of, missing)


def by_month(asked: Asked, outcomes: Sequence[Outcome]) -> list[Month]:
    """What became of each month."""
    found: dict[str, list[Outcome]] = {name: [] for name in asked.months}
    for outcome in [*outcomes, *asked.missing.values()]:
        if outcome.input in asked.of:
            found[asked.of[outcome.input]].append(outcome)
    return [_month(name, some) for name, some in found.items()]


def show(months: Sequence[Month], fields: Sequence[str]) -> None:
    """A table with a line a month, to standard output, however narrow that is."""
    from rich.console import Console
    from rich.table import Table

    table = Table("month", box=None, title="Errors: means over rides of a usual length and price")
    heads = ["rows", "scored", "rejected"]
    for field in fields:
        heads += [f"{evaluation.UNITS.get(field, field)}\noff", "bias", "in its\ninterval"]
    for head in heads:
        table.add_column(head, justify="right")
    for one in months:
        counts = [f"{count:,}" for count in (one.rows, one.scored, one.rejected)]
        cells = [cell for field in fields for cell in _cells(one.errors.get(field))]
        table.add_row(f"{one.name}{' failed' if one.failed else ''}", *counts, *cells)
    Console(soft_wrap=True, width=WIDE).print(table)


def picture(months: Sequence[Month], fields: Sequence[str]) -> bytes:
    """The mean absolute error over time, a panel a model, as SVG; the same for the same months."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "months"}):
        figure = Figure(figsize=(max(6.0, 0.35 * len(months)), 2.8 * len(fields)), layout="tight")
        FigureCanvasSVG(figure)
        for place, field in enumerate(fields, start=1):
            axes = figure.add_subplot(len(fields), 1, place)
            errors = [_mae(one.errors.get(field)) for one in months]
            axes.plot(range(len(months)), errors, marker="o")
            name = field.removeprefix("ride_")
            axes.set_ylabel(f"{name}: mean\nabsolute error, {evaluation.UNITS.get(field, '')}")
            axes.set_xticks(range(len(months)), [one.name for one in months], rotation=90)
            axes.set_ylim(0, max([error for error in errors if not isnan(error)], default=1) * 1.15)
            axes.grid(alpha=0.3)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _month(name: str, outcomes: Sequence[Outcome]) -> Month:
    done = [one for one in outcomes if isinstance(one, Done)]
    total = evaluation.merged(tally for one in done for tally in one.months.values())
    return Month(
        name,
        sum(one.rows for one in done),
        sum(one.scored for one in done),
        sum(one.rejected for one in done),
        {field: evaluation.errors(sums) for field, sums in total.items() if sums.compared},
        failed=not done or len(done) < len(outcomes),
    )


def _mae(errors: Errors | None) -> float:
    return nan if errors is None or errors.mae is None else errors.mae


def _cells(errors: Errors | None) -> list[str]:
    if errors is None:
        return ["", "", ""]
    share = errors.inside_interval
    return [
        f"{errors.mae:.2f}",
        f"{errors.bias:+.2f}",
        "" if share is None else f"{share:.0%}",
    ]
