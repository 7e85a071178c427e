"""What a person sees: a table and a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .inventory import Survey
from .redelivery import Advance

QUARTERS = 4  # lines that a replay leaves where there is no terminal


class Screen:
    """A class because it holds the console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def survey(self, survey: Survey) -> None:
        """What lies there."""
        if survey.reasons and self._console.is_terminal:
            self._console.print(_table(survey))
        elif survey.reasons:
            for (reason, by), span in survey.reasons.items():
                self.say(
                    f"{span.rides} rides in {span.objects} objects,"
                    f" {_moment(span.first)} to {_moment(span.last)}, {by}: {reason}"
                )
        for key, why in survey.unreadable:
            self.say(f"left alone: {key}: {why}")
        self.say(
            f"{len(survey.lots)} objects with {survey.records} records wait to be replayed;"
            f" {survey.replayed} were replayed"
        )

    @contextmanager
    def replaying(self, records: int) -> Iterator[Advance]:
        """A bar over so many records."""
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


def _table(survey: Survey) -> Table:
    table = Table("reason", header_style="dim")
    for name in ("rides", "objects"):
        table.add_column(name, justify="right")
    for name in ("first arrival", "last arrival", "rejected by"):
        table.add_column(name)
    for (reason, by), span in survey.reasons.items():
        rides, objects = f"{span.rides:,}", f"{span.objects:,}"
        times = _moment(span.first), _moment(span.last)
        table.add_row(*map(Text, (reason, rides, objects, *times, by)))
    return table


def _moment(moment: datetime) -> str:
    """
    >>> _moment(datetime(2022, 6, 2, 8, 5, 14, 132000, tzinfo=UTC))
    '2022-06-02T08:05:14Z'
    """
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
