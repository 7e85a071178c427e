"""Checks which rows of a month are valid training rides, and records why others are dropped.

A row is valid if the service would accept it as a ride event, and its true value is within the
limits of `model_service.truth`.  No other rows are dropped, not even those with dates outside the
month, so that a test month contains the rides that the service would receive.  If most rows of a
month are not valid, the file probably has another format, and the month is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from model_service.errors import ServiceError
from model_service.rides import MAX_MILES, MAX_ZONE, MIN_ZONE
from model_service.truth import COST, DURATION

MAX_DROPPED = 0.5
"""The largest share of a month's rows that may be dropped.  The TLC's months lose at most 5 %.
"""
MISSING = {
    "duration": "no pick-up or drop-off time",
    "PULocationID": "no pick-up zone",
    "DOLocationID": "no drop-off zone",
    "trip_distance": "no distance",
    "cost": "no amount",
}
"""Column -> the reason for dropping a row if the column is null."""
NULL = "not_nullable"  # pandera's name for the check that a value is not null


class DataError(ServiceError):
    """The rides to train on are missing, or are not in the TLC's format."""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """The number of a month's rows that were read, and the numbers that were dropped, by reason."""

    read: int
    dropped: Mapping[str, int]
    """Reason -> number of rows; a row with several faults is counted only for the first of them."""

    @property
    def used(self) -> int:
        return self.read - sum(self.dropped.values())

    def __str__(self) -> str:
        """
        >>> print(RowCounts(100, {"no distance": 2, "over 60 minutes": 1}))
        97 of 100 rows (no distance: 2; over 60 minutes: 1)
        """
        reasons = "; ".join(f"{reason}: {rows:,}" for reason, rows in self.dropped.items())
        return f"{self.used:,} of {self.read:,} rows" + (f" ({reasons})" if reasons else "")


def keep_valid(table: pl.DataFrame, name: str) -> tuple[pl.DataFrame, RowCounts]:
    """Return the valid rows of *table* in order, and the counts of all its rows.

    *table* has the columns that `MISSING` lists; ``cost`` is optional.  *name* is the name of the
    table in error messages.  Raises `DataError` if too few rows are valid.
    """
    faults = _faults(table)
    reasons = dict(faults.group_by("reason", maintain_order=True).len().iter_rows())
    counts = RowCounts(table.height, reasons)
    if not counts.used:
        raise DataError(
            f"{name} has no valid ride of {DURATION.low:g} to {DURATION.high:g} minutes: {counts}."
        )
    if counts.used < (1 - MAX_DROPPED) * counts.read:
        raise DataError(f"{name} is not in the TLC's format: only {counts} are valid.")
    kept = table.with_row_index("row").join(faults, on="row", how="anti", maintain_order="left")
    return kept.drop("row"), counts


def _faults(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table of the invalid rows: the row number, and the first reason against the row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about other table libraries
        import pandera.polars as pandera
        from pandera.errors import SchemaErrors

    try:
        _schema(pandera).validate(table, lazy=True)
    except SchemaErrors as found:
        reason = (
            pl.when(pl.col("check") == NULL)
            .then(pl.col("column").replace_strict(MISSING))
            .otherwise(pl.col("check"))
        )
        row = pl.col("index").cast(pl.UInt32)
        cases: pl.DataFrame = found.failure_cases.select(row.alias("row"), reason.alias("reason"))
        return cases.unique("row", keep="first", maintain_order=True)
    return pl.DataFrame(schema={"row": pl.UInt32, "reason": pl.String})


def _schema(pandera: Any) -> Any:
    """Return the checks of all columns; the error of a check is the reason for dropping a row."""
    check, column = pandera.Check, pandera.Column

    def limits(low: float, high: float, *, under: str, over: str) -> Any:
        return [check.ge(low, error=under), check.le(high, error=over)]

    def zone(end: str) -> Any:
        error = f"{end} zone outside {MIN_ZONE} to {MAX_ZONE}"
        return column(None, check.in_range(MIN_ZONE, MAX_ZONE, error=error))

    miles = f"distance outside 0 to {MAX_MILES:,} miles"
    minutes = limits(
        DURATION.low, DURATION.high,
        under=f"under {DURATION.low:g} minute", over=f"over {DURATION.high:g} minutes",
    )  # fmt: skip
    dollars = limits(
        COST.low, COST.high,
        under=f"under {COST.low:.2f} dollars", over=f"over {COST.high:g} dollars",
    )  # fmt: skip
    return pandera.DataFrameSchema(
        {
            "duration": column(None, minutes),
            "PULocationID": zone("pick-up"),
            "DOLocationID": zone("drop-off"),
            "trip_distance": column(
                None, check.in_range(0, MAX_MILES, include_max=False, error=miles)
            ),
            "cost": column(None, dollars, required=False),
        }
    )
