"""Finds the inputs of a backfill (a job over many months), and groups its results by month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..datasets import files
from ..datasets.files import Input
from ..errors import FileError, SettingsError
from . import evaluation
from .evaluation import Errors
from .manifest import CompletedInput, FailedInput, InputResult

MONTH = "{month}"


@dataclass(frozen=True, slots=True)
class BackfillInputs:
    """The inputs of several months; a month without inputs is in *missing*."""

    months: list[str]
    inputs: list[Input]
    month_of: Mapping[str, str]
    """Location of an input -> its month."""
    missing: Mapping[str, FailedInput]
    """Month without inputs -> the reason."""


class MonthResult(NamedTuple):
    """The combined results of a month's inputs."""

    name: str
    rows: int
    scored: int
    rejected: int
    errors: dict[str, Errors]
    """Field of a prediction -> errors over all rides in the month's inputs."""
    failed: bool
    """Whether the month is missing or one of its inputs cannot be read."""


def find_inputs(pattern: str, months: list[str]) -> BackfillInputs:
    """Return the inputs of *months*.

    In *pattern*, ``{month}`` is replaced by a month; the inputs of the month are the files that
    match the resulting pattern.  Raises `SettingsError` if a file is an input of two months.
    """
    found: list[Input] = []
    month_of: dict[str, str] = {}
    missing: dict[str, FailedInput] = {}
    for month in months:
        location = pattern.replace(MONTH, month)
        try:
            inputs = files.inputs([location])
        except FileError as exc:
            missing[month] = FailedInput(location, str(exc))
            continue
        if other := next((month_of[i.location] for i in inputs if i.location in month_of), None):
            raise SettingsError(f"a file matches both {other} and {month}: {location}")
        found += inputs
        month_of |= {one.location: month for one in inputs}
    return BackfillInputs(months, found, month_of, missing)


def by_month(inputs: BackfillInputs, results: Sequence[InputResult]) -> list[MonthResult]:
    """Return the combined results of each month, in the order of the months."""
    found: dict[str, list[InputResult]] = {month: [] for month in inputs.months}
    for result in results:
        if result.input in inputs.month_of:
            found[inputs.month_of[result.input]].append(result)
    return [_month_result(month, some) for month, some in found.items()]


def _month_result(name: str, results: Sequence[InputResult]) -> MonthResult:
    completed = [one for one in results if isinstance(one, CompletedInput)]
    return MonthResult(
        name,
        sum(one.rows for one in completed),
        sum(one.scored for one in completed),
        sum(one.rejected for one in completed),
        evaluation.total_errors(sums for one in completed for sums in one.months.values()),
        failed=not completed or len(completed) < len(results),
    )
