"""Many months at once: which inputs they are, and what became of each, in a table and a picture."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from . import accuracy, places
from .accuracy import Errors
from .errors import FileError
from .places import Input
from .runs import Done, Failed, Outcome

if TYPE_CHECKING:
    from rich.table import Table

MONTH = "{month}"
NOTHING = "-"
UNITS: Mapping[str, str] = {"ride_duration": "minutes", "ride_cost": "dollars"}


class Month(NamedTuple):
    """What became of a month's inputs."""

    name: str
    rows: int
    scored: int
    rejected: int
    errors: dict[str, Errors]
    """By the field of the answer, over all its rides, whenever they were picked up."""
    failed: int
    """Inputs that cannot be read."""


def months(first: str, last: str) -> list[str]:
    """From *first* to *last*.

    >>> months("2022-11", "2023-02")
    ['2022-11', '2022-12', '2023-01', '2023-02']

    Raises `ValueError`.
    """
    for month in (first, last):
        if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", month):
            raise ValueError("a month is YYYY-MM")
    if first > last:
        raise ValueError("the first month is after the last")
    return list(takewhile(lambda month: month <= last, _from(first)))


def inputs(pattern: str, month: str) -> list[Input] | Failed:
    """The files that *pattern*, with ``{month}`` in it, names for *month*."""
    location = pattern.replace(MONTH, month)
    try:
        return places.inputs([location])
    except FileError as exc:
        return Failed(location, str(exc))


def month(name: str, outcomes: Sequence[Outcome]) -> Month:
    """What became of one month."""
    done = [one for one in outcomes if isinstance(one, Done)]
    total = accuracy.merged(tally for one in done for tally in one.months.values())
    return Month(
        name,
        sum(one.rows for one in done),
        sum(one.scored for one in done),
        sum(one.rejected for one in done),
        {field: accuracy.errors(sums) for field, sums in total.items() if sums.compared},
        len(outcomes) - len(done),
    )


def table(months: Sequence[Month], fields: Sequence[str]) -> Table:
    """A line a month."""
    from rich.table import Table

    found = Table("month", title="Errors are means over rides of a usual length and price")
    for name in ("rows", "scored", "rejected"):
        found.add_column(name, justify="right")
    for field in fields:
        for name in ("mean error", "bias", "in interval"):
            found.add_column(f"{field}\n{name}", justify="right")
    for one in months:
        cells = [cell for field in fields for cell in _cells(one.errors.get(field))]
        counts = [f"{count:,}" for count in (one.rows, one.scored, one.rejected)]
        note = f"{one.name} ({one.failed} failed)" if one.failed else one.name
        found.add_row(note, *counts, *cells, style="red" if one.failed else "")
    return found


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
            errors = [one.errors.get(field) for one in months]
            axes.plot(range(len(months)), [_mae(one) for one in errors], marker="o")
            axes.set_ylabel(f"{field.removeprefix('ride_')}: mean\nabsolute error, {_unit(field)}")
            axes.set_xticks(range(len(months)), [one.name for one in months], rotation=90)
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _from(first: str) -> Iterator[str]:
    year, number = map(int, first.split("-"))
    while True:
        yield f"{year:04d}-{number:02d}"
        year, number = (year, number + 1) if number < 12 else (year + 1, 1)


def _mae(errors: Errors | None) -> float:
    return float("nan") if errors is None or errors.mae is None else errors.mae


def _unit(field: str) -> str:
    return UNITS.get(field, "")


def _cells(errors: Errors | None) -> list[str]:
    if errors is None or errors.mae is None or errors.bias is None:
        return [NOTHING, NOTHING, NOTHING]
    inside = errors.inside_interval
    return [
        f"{errors.mae:.2f}",
        f"{errors.bias:+.2f}",
        NOTHING if inside is None else f"{inside:.0%}",
    ]
