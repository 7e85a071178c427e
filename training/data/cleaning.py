"""The gate: which rows of a month are rides to learn from, and why the others are not.

The rule: a row is kept if it is a ride of 1 to 60 minutes that would be accepted as a ride event,
and, where costs are learnt, one of a plausible cost.  Nothing else is filtered, not even stray
dates, so that a test month is what the service gets.  A month that loses most of its rows is
another kind of file, and is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from model_service.errors import ServiceError

MINUTES = (1, 60)
DOLLARS = (2.5, 200)
ZONES = (1, 265)
MILES = (0, 1000)  # less than the latter
MOST_DROPPED = 0.5
"""The share of a month's rows; the TLC's months lose a twentieth at most."""
MISSING = {
    "duration": "no time of pick-up or drop-off",
    "PULocationID": "no pick-up zone",
    "DOLocationID": "no drop-off zone",
    "trip_distance": "no distance",
    "cost": "no amount",
}
NULL = "not_nullable"  # pandera's name for that check


class DataError(ServiceError):
    """The rides to train on are not there, or are not the TLC's."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the rows of a month."""

    read: int
    """How many there were."""
    dropped: Mapping[str, int]
    """By reason; a row that has several faults is counted once, for the first."""

    @property
    def used(self) -> int:
        return self.read - sum(self.dropped.values())

    def __str__(self) -> str:
        """
        >>> print(Tally(100, {"no distance": 2, "over 60 minutes": 1}))
        97 of 100 rows (no distance: 2; over 60 minutes: 1)
        """
        reasons = "; ".join(f"{reason}: {rows:,}" for reason, rows in self.dropped.items())
        return f"{self.used:,} of {self.read:,} rows" + (f" ({reasons})" if reasons else "")


def gate(table: pl.DataFrame, name: str) -> tuple[pl.DataFrame, Tally]:
    """The rows of *table* to learn from, in order; it has the columns of `MISSING`, `cost` or not.

    Raises `DataError`, which calls the table by its *name*, where too few are left.
    """
    faults = _faults(table)
    counts = dict(faults.group_by("reason", maintain_order=True).len().iter_rows())
    tally = Tally(table.height, counts)
    if not tally.used:
        raise DataError(f"{name} has no valid ride of 1 to 60 minutes: {tally}.")
    if tally.used < (1 - MOST_DROPPED) * tally.read:
        raise DataError(f"{name} is not as the TLC writes it: only {tally} can be learnt from.")
    kept = table.with_row_index("row").join(faults, on="row", how="anti", maintain_order="left")
    return kept.drop("row"), tally


def _faults(table: pl.DataFrame) -> pl.DataFrame:
    """The rows at fault, by number, and the first reason for each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other kinds of table that pandera can check
        import pandera.polars as checks
        from pandera.errors import SchemaErrors

    try:
        _rules(checks).validate(table, lazy=True)
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


def _rules(schema: Any) -> Any:
    """What pandera is to check, column by column; a check's error is the reason that is given."""
    check, column = schema.Check, schema.Column
    zone = {"PULocationID": "pick-up", "DOLocationID": "drop-off"}
    return schema.DataFrameSchema(
        {
            "duration": column(
                None,
                [
                    check.ge(MINUTES[0], error="under 1 minute"),
                    check.le(MINUTES[1], error="over 60 minutes"),
                ],
            ),
            **{
                name: column(None, check.in_range(*ZONES, error=f"a {end} zone that is none"))
                for name, end in zone.items()
            },
            "trip_distance": column(
                None,
                check.in_range(
                    *MILES, include_max=False, error="a distance not of 0 to 1,000 miles"
                ),
            ),
            "cost": column(
                None,
                [
                    check.ge(DOLLARS[0], error="under 2.50 dollars"),
                    check.le(DOLLARS[1], error="over 200 dollars"),
                ],
                required=False,
            ),
        }
    )
