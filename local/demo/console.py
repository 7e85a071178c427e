"""Prints the output of the demo: live tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..formatting import many, rounded
from ..rides import Trip
from ..run_stream import Published, StreamProgress

ROWS = 12  # the maximum for the live table
OTHER_LINES = 18  # for steps, bars, the head and the frame of the table, and the cursor
QUARTERS = 4  # without a terminal, a run prints a line for each quarter of its rides
SILENCE_SECONDS = 10.0  # a run also prints a line after this time
DIGITS = {
    "rides_per_second": 0, "p50": 0, "p99": 0, "rmse_minutes": 2, "rmse_minutes_streamed": 2,
}  # fmt: skip
"""Name of a figure -> its number of decimal places, the same as in the report."""
GOOD_MINUTES, BAD_MINUTES = 3.0, 8.0  # a smaller error is shown as good, a larger one as bad

Step = Callable[[str], None]


class DemoConsole:
    """Shows the progress of a demo.  It is a class because it holds the console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def steps(self) -> Iterator[Step]:
        """Show a bar for each step.

        Yields a function.  Called with a step's name, it ends the current step and begins this one.
        """
        if not self._console.is_terminal:
            yield lambda text: self._console.print(f"- {text}", highlight=False)
            return
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            console=self._console,
            redirect_stdout=False,
        ) as bars:

            def done() -> None:
                for task in bars.tasks:
                    bars.update(task.id, total=1, completed=1)

            def step(text: str) -> None:
                done()
                bars.add_task(text, total=None)

            yield step
            done()

    @contextmanager
    def streaming(
        self, trips: Mapping[str, Trip], bad: int
    ) -> Iterator[Callable[[StreamProgress], None]]:
        """Show bars for records sent, predicted and rejected, and a table of the latest rides.

        *trips* are the streamed rides by ride id, and *bad* is the number of broken records.
        Yields the function that updates the bars and the table.
        """
        if not self._console.is_terminal:
            yield self._lines(len(trips))
            return
        bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        sent = bars.add_task("records sent", total=len(trips) + bad)
        predicted = bars.add_task("rides predicted", total=len(trips))
        rejected = bars.add_task("broken records rejected", total=bad)
        rows = max(1, min(ROWS, self._console.height - OTHER_LINES))
        with Live(bars, console=self._console, redirect_stdout=False) as live:

            def show(progress: StreamProgress) -> None:
                bars.update(sent, completed=len(progress.sent))
                bars.update(predicted, completed=progress.predicted)
                bars.update(rejected, completed=len(progress.rejected))
                live.update(Group(bars, latest(progress.published[-rows:], trips)))

            yield show

    def show_result(
        self, summary: Mapping[str, Any], faults: Sequence[str], files: Sequence[Path]
    ) -> None:
        """Print the results of the demo.

        *summary* has the figures of the run.  *faults* has a sentence for each count that is
        wrong.  *files* are the paths of the written files.
        """
        table = Table(show_header=False, title="Ride predictions", title_justify="left")
        table.add_column()
        table.add_column(justify="right")
        for name, value in flat(summary):
            table.add_row(name, value)
        self._console.print(table)
        for fault in faults:
            self._console.print(fault, style="bold red")
        for file in files:
            self._console.print(str(file), soft_wrap=True, highlight=False)

    def _lines(self, rides: int) -> Callable[[StreamProgress], None]:
        reached, last = 0, time.monotonic()

        def show(progress: StreamProgress) -> None:
            nonlocal reached, last
            quarter = QUARTERS * progress.predicted // rides
            if quarter > reached or time.monotonic() - last >= SILENCE_SECONDS:
                reached, last = quarter, time.monotonic()
                self._console.print(
                    f"- {progress.predicted:,} of {many(rides, 'ride')} predicted,"
                    f" {many(len(progress.rejected), 'record')} rejected",
                    highlight=False,
                )

        return show


def latest(published: Sequence[Published], trips: Mapping[str, Trip]) -> Table:
    """Return a table of the rides in *published*, with the last one at the bottom.

    *trips* are the streamed rides by ride id.
    """
    table = Table(header_style="dim")
    for name in ("ride", "pick-up", "zones"):
        table.add_column(name, no_wrap=True)
    for name in ("miles", "took", "predicted", "off by"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in published:
        trip = trips.get(each.ride_id)
        if trip is not None:
            off = each.minutes - trip.minutes
            table.add_row(
                each.ride_id,
                trip.pickup_datetime[5:16].replace("T", " "),
                f"{trip.pickup} → {trip.dropoff}",
                f"{trip.distance:.1f}",
                f"{trip.minutes:.1f} min",
                f"{each.minutes:.1f} min",
                Text(f"{round(off, 1) + 0.0:+.1f}", style=colour(off)),
            )
    return table


def colour(off: float) -> str:
    """Return the colour of a prediction whose error is *off* minutes.

    >>> colour(-1.5), colour(12)
    ('green', 'red')
    """
    return "green" if abs(off) <= GOOD_MINUTES else "yellow" if abs(off) <= BAD_MINUTES else "red"


def flat(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return pairs of a name and a formatted value in *summary*; nested names are joined.

    >>> flat({"lost": 0, "latency_ms": {"p50": 81.5}, "rmse_minutes": 3.545})
    [('lost', '0'), ('latency_ms p50', '82'), ('rmse_minutes', '3.55')]
    """
    rows: list[tuple[str, str]] = []
    for name, value in summary.items():
        if isinstance(value, Mapping):
            rows += [(f"{name} {part}", text) for part, text in flat(value)]
        else:
            rows.append((name, _text(name, value)))
    return rows


def _text(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int | float):
        return rounded(value, DIGITS.get(name, 0))
    return str(value)
