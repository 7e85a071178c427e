"""Prints messages and progress bars on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def say(console: Console, text: str) -> None:
    """Print *text* as it is: markup in it is not interpreted, and long lines are not wrapped."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def steps(console: Console, total: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar, and yield the function to call with each step's name before it begins.

    *total* is the number of steps.  If standard error is not a terminal, each step is printed as a
    line instead.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("", total=total)

        def on_step(text: str) -> None:
            bar.update(task, advance=1, description=text)
            if not console.is_terminal:
                say(console, text)

        yield on_step
