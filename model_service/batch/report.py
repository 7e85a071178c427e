"""Makes the report of a job, as JSON and as text; for a backfill, also as a table and a plot."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from math import isnan, nan

import msgspec
from msgspec import Struct

from ..datasets import writer
from ..models.served import Models
from ..truth import for_field
from . import evaluation
from .backfill import MonthResult
from .evaluation import Errors
from .manifest import CompletedInput, FailedInput, InputResult

TABLE_WIDTH = 120  # characters; in a narrower table, some text would be cut off


class MonthReport(Struct, frozen=True):
    """The number and the errors of the scored rides that were picked up in one month."""

    scored: int
    errors: dict[str, Errors]
    """Field of a prediction -> errors, if the inputs have the true values."""


class JobReport(Struct, frozen=True):
    """The JSON report of a job.  It includes the inputs that an earlier job scored."""

    rows: int
    scored: int
    without_time: int
    """Scored rides that have no pick-up time."""
    rejected: int
    reasons: dict[str, int]
    """Reason for rejection -> number of rows, the most frequent reason first."""
    errors: dict[str, Errors]
    """Field of a prediction -> errors over all months."""
    months: dict[str, MonthReport]
    models: dict[str, str]
    """Field of a prediction -> version of the model."""
    inputs: int
    failed: dict[str, str]
    """Input that cannot be read -> the reason."""
    seconds: dict[str, float]


def job_report(
    results: Sequence[InputResult], models: Models, seconds: Mapping[str, float]
) -> JobReport:
    """Return the report on all *results*.

    *seconds* has the duration of each part of the job, in seconds.
    """
    completed = [one for one in results if isinstance(one, CompletedInput)]
    reasons = sum((Counter(one.reasons) for one in completed), Counter[str]())
    months = sorted({month for one in completed for month in one.rides})
    return JobReport(
        rows=sum(one.rows for one in completed),
        scored=sum(one.scored for one in completed),
        without_time=sum(one.rides.get(writer.UNKNOWN, 0) for one in completed),
        rejected=sum(one.rejected for one in completed),
        reasons=dict(reasons.most_common()),
        errors=evaluation.total_errors(s for one in completed for s in one.months.values()),
        months={month: _month_report(completed, month) for month in months},
        models={one.target.field: one.model.version for one in models},
        inputs=len(results),
        failed={one.input: one.reason for one in results if isinstance(one, FailedInput)},
        seconds={name: round(duration, 3) for name, duration in seconds.items()},
    )


def _month_report(completed: Sequence[CompletedInput], month: str) -> MonthReport:
    errors = evaluation.total_errors(one.months.get(month, {}) for one in completed)
    return MonthReport(sum(one.rides.get(month, 0) for one in completed), errors)


def encode(report: JobReport) -> bytes:
    """Return *report* as JSON."""
    return msgspec.json.format(msgspec.json.encode(report)) + b"\n"


def summary(report: JobReport) -> str:
    """Return the counts, the reasons for rejection and the errors, as a few lines of text."""
    lines = [
        f"{report.rows:,} rows: {report.scored:,} scored, {report.rejected:,} rejected",
        *([_time_line(report)] if report.without_time else []),
        *(f"  {number:,} times: {reason}" for reason, number in report.reasons.items()),
        *(_error_line(field, errors) for field, errors in report.errors.items()),
    ]
    return "\n".join(lines)


def _time_line(report: JobReport) -> str:
    return f"  {report.without_time:,} of the scored rides have no pick-up time"


def _error_line(field: str, errors: Errors) -> str:
    return (
        f"  {field}: mean absolute error {errors.mae:.2f} {for_field(field).unit}"
        f" (bias {errors.bias:+.2f}) over {errors.compared:,} rides of usual length and price"
    )


def print_months(months: Sequence[MonthResult], fields: Sequence[str]) -> None:
    """Print a table with a row for each month to standard output, always with the same width.

    *fields* are the fields of the predictions; the table has three columns for each field.
    """
    from rich.console import Console
    from rich.table import Table

    title = "Mean errors over rides of usual length and price"
    table = Table("month", box=None, title=title)
    heads = ["rows", "scored", "rejected"]
    for field in fields:
        heads += [f"MAE,\n{for_field(field).unit or field}", "bias", "within\ninterval"]
    for head in heads:
        table.add_column(head, justify="right")
    for one in months:
        counts = [f"{count:,}" for count in (one.rows, one.scored, one.rejected)]
        cells = [cell for field in fields for cell in _error_cells(one.errors.get(field))]
        table.add_row(f"{one.name}{' failed' if one.failed else ''}", *counts, *cells)
    Console(soft_wrap=True, width=TABLE_WIDTH).print(table)


def _error_cells(errors: Errors | None) -> list[str]:
    if errors is None:
        return ["", "", ""]
    share = errors.inside_interval
    inside = "" if share is None else f"{share:.0%}"
    return [f"{errors.mae:.2f}", f"{errors.bias:+.2f}", inside]


def plot_errors(months: Sequence[MonthResult], fields: Sequence[str]) -> bytes:
    """Return an SVG document that plots the mean absolute error by month, with a panel per field.

    *fields* are the fields of the predictions.  The same results give the same bytes.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "months"}):
        figure = Figure(figsize=(max(6.0, 0.35 * len(months)), 2.8 * len(fields)), layout="tight")
        FigureCanvasSVG(figure)
        for position, field in enumerate(fields, start=1):
            axes = figure.add_subplot(len(fields), 1, position)
            errors = [_mean_absolute(one.errors.get(field)) for one in months]
            axes.plot(range(len(months)), errors, marker="o")
            name = field.removeprefix("ride_")
            axes.set_ylabel(f"{name}: mean\nabsolute error, {for_field(field).unit}")
            axes.set_xticks(range(len(months)), [one.name for one in months], rotation=90)
            axes.set_ylim(0, max([error for error in errors if not isnan(error)], default=1) * 1.15)
            axes.grid(alpha=0.3)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _mean_absolute(errors: Errors | None) -> float:
    return nan if errors is None or errors.mae is None else errors.mae
