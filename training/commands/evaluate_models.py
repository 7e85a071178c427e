"""The commands that look for a better model: compare and tune.

What they find is JSON or a table on standard output.  Standard error says it for people.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .. import span
from ..data.dataset import UNITS
from ..experiments import comparison, comparison_tables, tuning

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def compare(options: argparse.Namespace, console: Console) -> int:
    """Every model on every two months that follow each other."""
    plan = comparison.Plan(
        options.data, comparison.pairs(options.data, options.kind),
        list(dict.fromkeys(options.target)), options.seed, options.kind,
        tuning.parameters(options.parameters),
    )  # fmt: skip
    with _bar(console) as bar:
        task = bar.add_task("", total=plan.steps)

        def step(text: str) -> None:
            bar.update(task, advance=1, description=text)
            _say(console, text)

        found = comparison.run(plan, step=step)
    text = comparison_tables.markdown(found)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "comparison.json").write_text(json.dumps(asdict(found), indent=2) + "\n")
    (options.output / "comparison.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


def tune(options: argparse.Namespace, console: Console) -> int:
    """Search for hyper-parameters, and say what was found."""
    plan = tuning.Plan(
        options.data, tuple(span.named(options.train)), options.validate, options.target,
        options.trials, options.seed, options.tracking_uri, options.kind,
    )  # fmt: skip
    with _bar(console) as bar:
        task = bar.add_task("reading", total=plan.trials)

        def done(trial: FrozenTrial, best: float) -> None:
            text = f"RMSE {best:.3f} {UNITS[plan.target]}"
            bar.update(task, advance=1, description=text)
            _say(console, f"trial {trial.number + 1} of {plan.trials}: {text} at best")

        found = tuning.run(plan, done=done)
    text = json.dumps(asdict(found), indent=2)
    print(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n")
    console.print(
        f"RMSE on {plan.validate}: {found.rmse:.3f} {UNITS[plan.target]}, and {found.before:.3f} "
        f"with what the champion has now; {found.pruned} of {found.trials} trials were given up.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "compare": compare,
    "tune": tune,
}


def _say(console: Console, text: str) -> None:
    if not console.is_terminal:  # where a bar is not shown
        console.print(text, highlight=False)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)
