"""Prints the output of the commands: on a terminal with tables and bars, elsewhere as lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .inventory import Inventory
from .redelivery import Advance

QUARTERS = 4  # without a terminal, a replay prints a line for each quarter of its records


class OperatorConsole:
    """Prints messages for the operator.  It is a class because it holds the console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show_inventory(self, inventory: Inventory) -> None:
        """Print the reasons for the failures, the unreadable objects and the totals."""
        if inventory.reasons and self._console.is_terminal:
            self._console.print(_table(inventory))
        elif inventory.reasons:
            for (reason, failed_by), totals in inventory.reasons.items():
                self.say(
                    f"{totals.rides} rides in {totals.objects} objects,"
                    f" {_time(totals.first)} to {_time(totals.last)}, {failed_by}: {reason}"
                )
        for key, why in inventory.unreadable:
            self.say(f"skipped: {key}: {why}")
        self.say(
            f"{len(inventory.pending)} objects with {inventory.records} records wait to be"
            f" replayed; {inventory.replayed} were replayed"
        )

    @contextmanager
    def replaying(self, records: int) -> Iterator[Advance]:
        """Show the progress of a replay of *records* records.

        Yields a function, which is called with the number of records replayed since its last call.
        """
        if not self._console.is_terminal:
            yield self._quarters(records)
            return
        with Progress(
            TextColumn("records replayed"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        ) as bar:
            task = bar.add_task("", total=records)
            yield lambda more: bar.advance(task, more)

    def _quarters(self, records: int) -> Advance:
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            before, done = done, done + more
            if QUARTERS * done // records > QUARTERS * before // records:
                self.say(f"- {done:,} of {records:,} records replayed")

        return advance


def _table(inventory: Inventory) -> Table:
    table = Table("reason", header_style="dim")
    for name in ("rides", "objects"):
        table.add_column(name, justify="right")
    for name in ("first arrival", "last arrival", "failed by"):
        table.add_column(name)
    for (reason, failed_by), totals in inventory.reasons.items():
        numbers = f"{totals.rides:,}", f"{totals.objects:,}"
        times = _time(totals.first), _time(totals.last)
        table.add_row(*map(Text, (reason, *numbers, *times, failed_by)))
    return table


def _time(moment: datetime) -> str:
    """Return *moment* in UTC.

    >>> _time(datetime(2022, 6, 2, 8, 5, 14, 132000, tzinfo=UTC))
    '2022-06-02T08:05:14Z'
    """
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
