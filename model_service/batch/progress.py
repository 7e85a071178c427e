"""Shows the progress of a job on standard error: a bar on a terminal, or one line per input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..datasets.files import Input
from .job import ProgressCallbacks
from .manifest import CompletedInput, InputResult


@contextmanager
def progress_shown(inputs: Sequence[Input]) -> Iterator[ProgressCallbacks]:
    """Show the progress of a job over *inputs* until the block ends; yield the job's callbacks."""
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
        yield _callbacks(bar, task)


def _callbacks(bar: Progress, task: TaskID) -> ProgressCallbacks:
    lock, shares = Lock(), dict[str, float]()
    rows = 0

    def advance(source: Input, share: float) -> None:
        increase = max(0.0, share - shares.get(source.location, 0.0))
        shares[source.location] = shares.get(source.location, 0.0) + increase
        elapsed = bar.tasks[0].elapsed or 0.0
        rate = rows / elapsed if elapsed else 0.0
        bar.update(task, advance=increase * source.size, rows=rows, rate=rate)

    def read(source: Input, number: int, share: float) -> None:
        nonlocal rows
        with lock:
            rows += number
            advance(source, share)

    def finished(source: Input, result: InputResult, scored_before: bool) -> None:
        with lock:
            advance(source, 1.0)
        if bar.disable and isinstance(result, CompletedInput):
            counts = f"{result.scored:,} of {result.rows:,} rows scored"
            text = "scored by an earlier job" if scored_before else counts
            print(f"{result.input}: {text}", file=sys.stderr, flush=True)

    return ProgressCallbacks(read, finished)
