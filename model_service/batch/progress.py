"""How far a run is, on standard error: a bar on a terminal, else a line for each input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..datasets.files import Input
from . import job
from .manifest import Done, Outcome


@contextmanager
def watched(inputs: Sequence[Input]) -> Iterator[job.Progress]:
    """What shows the progress over *inputs* for the length of the block."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("{task.fields[rows]:,} rows"),
        TextColumn("{task.fields[rate]:,.0f} rows/s"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        total = sum(one.size for one in inputs)
        task = bar.add_task("scoring", total=total or 1, rows=0, rate=0.0)
        yield _progress(bar, task)


def _progress(bar: Progress, task: TaskID) -> job.Progress:
    lock, shares = Lock(), dict[str, float]()
    rows = 0

    def advance(source: Input, share: float) -> None:
        ahead = max(0.0, share - shares.get(source.location, 0.0))
        shares[source.location] = shares.get(source.location, 0.0) + ahead
        elapsed = bar.tasks[0].elapsed or 0.0
        rate = rows / elapsed if elapsed else 0.0
        bar.update(task, advance=ahead * source.size, rows=rows, rate=rate)

    def read(source: Input, number: int, share: float) -> None:
        nonlocal rows
        with lock:
            rows += number
            advance(source, share)

    def finished(source: Input, outcome: Outcome, before: bool) -> None:
        with lock:
            advance(source, 1.0)
        if bar.disable and isinstance(outcome, Done):
            how = "done before" if before else f"{outcome.scored:,} of {outcome.rows:,} rows scored"
            print(f"{outcome.input}: {how}", file=sys.stderr, flush=True)

    return job.Progress(read, finished)
