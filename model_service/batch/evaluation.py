"""Computes the errors of predictions by month and model, from rides whose true values are known.

Errors are first computed as sums for each batch of rides, so that the sums of batches can be added.
As in training, the sums include only rides whose true value is within the limits of `truth`.  All
other rides are scored, too, and the output has their errors, but the sums do not include them.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from .. import truth
from ..datasets.arrow import numpy


class Sums(Struct, frozen=True):
    """Sums of one model's errors over rides.

    *absolute* and *signed* are in the unit of the prediction, and *squared* is in its square.
    """

    compared: int = 0
    """Number of rides."""
    absolute: float = 0.0
    squared: float = 0.0
    signed: float = 0.0
    with_interval: int = 0
    """Number of rides whose prediction has an interval."""
    inside: int = 0
    """Number of rides whose true value is within the interval."""

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            compared=self.compared + other.compared,
            absolute=self.absolute + other.absolute,
            squared=self.squared + other.squared,
            signed=self.signed + other.signed,
            with_interval=self.with_interval + other.with_interval,
            inside=self.inside + other.inside,
        )


ErrorSums = dict[str, Sums]
"""Field of a prediction -> the sums of its errors."""


class Errors(Struct, frozen=True):
    """Mean errors in the unit of the prediction; None if there is no ride to compare."""

    compared: int
    mae: float | None
    rmse: float | None
    bias: float | None
    """The mean of the differences: prediction minus true value."""
    inside_interval: float | None
    """The share of true values within the prediction's interval, from 0 to 1."""


def error_sums(scored: pa.RecordBatch, fields: Iterable[str]) -> ErrorSums:
    """Return the sums of the errors for each prediction in *fields*, such as ``ride_duration``.

    *scored* are scored rides, in the schema that `scoring.schema` returns.
    """
    return {field: _sums(scored, field) for field in fields}


def total(parts: Iterable[ErrorSums]) -> ErrorSums:
    """Return for each field the total of the sums in *parts*, which are added in their order."""
    found: ErrorSums = {}
    for part in parts:
        for field, sums in part.items():
            found[field] = found.get(field, Sums()) + sums
    return found


def total_errors(parts: Iterable[ErrorSums]) -> dict[str, Errors]:
    """Return the mean errors over all *parts* by field; a field without true values is left out."""
    return {field: errors(sums) for field, sums in total(parts).items() if sums.compared}


def errors(sums: Sums) -> Errors:
    """Return the mean errors that follow from *sums*.

    >>> errors(Sums(compared=2, absolute=6.0, squared=20.0, signed=-2.0))
    Errors(compared=2, mae=3.0, rmse=3.1622776601683795, bias=-1.0, inside_interval=None)
    """
    number = sums.compared
    return Errors(
        number,
        mae=sums.absolute / number if number else None,
        rmse=sqrt(sums.squared / number) if number else None,
        bias=sums.signed / number if number else None,
        inside_interval=sums.inside / sums.with_interval if sums.with_interval else None,
    )


def _sums(scored: pa.RecordBatch, field: str) -> Sums:
    actual, low, high = (_numbers(scored, f"{field}_{name}") for name in ("actual", "low", "high"))
    counts = truth.for_field(field).valid(actual)
    error = _numbers(scored, field)[counts] - actual[counts]
    actual, low, high = actual[counts], low[counts], high[counts]
    return Sums(
        compared=len(error),
        absolute=float(np.abs(error).sum()),
        squared=float((error**2).sum()),
        signed=float(error.sum()),
        with_interval=int((~np.isnan(low)).sum()),
        inside=int(((low <= actual) & (actual <= high)).sum()),
    )


def _numbers(scored: pa.RecordBatch, name: str) -> NDArray[np.float64]:
    return numpy(scored[name])
