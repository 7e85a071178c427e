"""What a run came to: as JSON, and in a few lines to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from ..datasets.manifest import Done, Failed, Outcome
from ..models.served import Models
from . import evaluation
from .evaluation import Errors, Tally


class Month(Struct, frozen=True):
    """Rides picked up in one month."""

    scored: int
    errors: dict[str, Errors]
    """By the field of the answer, where the truth is in the data."""


class Report(Struct, frozen=True):
    """The JSON report; its counts are of all inputs, also of those that were done before."""

    rows: int
    scored: int
    rejected: int
    reasons: dict[str, int]
    errors: dict[str, Errors]
    """Of all months together."""
    months: dict[str, Month]
    models: dict[str, str]
    """The version that answered, by field."""
    inputs: int
    failed: dict[str, str]
    """Inputs that cannot be read, and why."""
    seconds: dict[str, float]


def report(outcomes: Sequence[Outcome], models: Models, seconds: Mapping[str, float]) -> Report:
    """All *outcomes* together."""
    done = [one for one in outcomes if isinstance(one, Done)]
    reasons = sum((Counter(one.reasons) for one in done), Counter[str]())
    return Report(
        rows=sum(one.rows for one in done),
        scored=sum(one.scored for one in done),
        rejected=sum(one.rejected for one in done),
        reasons=dict(reasons.most_common()),
        errors=_errors(tally for one in done for tally in one.months.values()),
        months=months(done),
        models={one.target.field: one.model.version for one in models},
        inputs=len(outcomes),
        failed={one.input: one.why for one in outcomes if isinstance(one, Failed)},
        seconds={name: round(took, 3) for name, took in seconds.items()},
    )


def months(done: Sequence[Done]) -> dict[str, Month]:
    """What *done* says, by month of pick-up."""
    return {month: _month(done, month) for month in sorted({m for one in done for m in one.rides})}


def _month(done: Sequence[Done], month: str) -> Month:
    errors = _errors(one.months.get(month, {}) for one in done)
    return Month(sum(one.rides.get(month, 0) for one in done), errors)


def _errors(tallies: Iterable[Tally]) -> dict[str, Errors]:
    total = evaluation.merged(tallies)
    return {field: evaluation.errors(sums) for field, sums in total.items() if sums.compared}


def encode(report: Report) -> bytes:
    """As the file's bytes."""
    return msgspec.json.format(msgspec.json.encode(report)) + b"\n"


def summary(report: Report) -> str:
    """In a few lines."""
    lines = [
        f"{report.rows:,} rows: {report.scored:,} scored, {report.rejected:,} rejected",
        *(f"  {number:,} times: {reason}" for reason, number in report.reasons.items()),
        *(_words(field, errors) for field, errors in report.errors.items()),
    ]
    return "\n".join(lines)


def _words(field: str, errors: Errors) -> str:
    return (
        f"  {field} was {errors.mae:.2f} {evaluation.UNITS.get(field, '')} off on average"
        f" (bias {errors.bias:+.2f}), over {errors.compared:,} rides of a usual length and price"
    )
