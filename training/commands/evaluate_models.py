"""The commands that evaluate models and search for better ones: drift, backtest, compare, tune."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from model_service.models import loader

from .. import drift, metrics
from ..data import dataset
from ..data.dataset import UNITS
from ..drift import Baseline, MonthErrors, Shift
from ..experiments import backtest, comparison, comparison_tables, tuning
from ..experiments.backtest import BacktestPlan
from ..experiments.comparison import ComparisonPlan
from ..experiments.tuning import TuningPlan
from ..model import parameters
from .arguments import expand_months
from .console import say, steps

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

DRIFTED = 1


def run_drift(options: argparse.Namespace, console: Console) -> int:
    """Compare rides, and a model's predictions and errors for them, with the model's baseline.

    Return 1 if a feature or the predictions drifted, or if an error, the bias or the coverage is
    outside its limit (see `drift.slipped`).
    """
    trained = drift.read_baseline(options.model)
    loaded = loader.load(options.model)
    if options.events:
        month = drift.FILES
        rides, rejected = drift.read_rides(options.events, trained.target)
        if rejected:
            say(console, f"{rejected:,} ride events were rejected.")
    else:
        month = options.month or dataset.newest_month(options.data, options.kind)
        rides = dataset.read(options.data, month, trained.target, options.kind)
    evaluation = metrics.evaluate_month(loaded.predict, month, rides)
    predicted = evaluation.answers.values
    finished = drift.finished(evaluation)
    errors = drift.month_errors(month, finished) if len(finished.rides) else None
    shifts = drift.compare(trained, rides.columns, predicted)
    slipped = [] if errors is None else drift.slipped(trained, errors)
    low, high = trained.plausible.mean
    result = {
        "rides": len(predicted),
        "mean": float(predicted.mean()),
        "mean_of_an_hour": [low, high],
        "implausible": drift.implausible_share(trained, predicted),
        "shifts": [{**asdict(shift), "level": shift.level} for shift in shifts],
        "errors": None if errors is None else to_builtins(errors),
        "errors_when_trained": None if trained.test is None else to_builtins(trained.test),
        "slipped": slipped,
    }
    print(json.dumps(result, indent=2))
    console.print(_shift_table(shifts))
    say(
        console,
        f"{len(predicted):,} rides; the mean prediction is {predicted.mean():.1f} {trained.unit}. "
        f"Hourly means of the training data were {low:.1f} to {high:.1f} {trained.unit}.",
    )
    if errors is None:
        say(console, "No ride has its true value, so the model's errors are not known.")
    else:
        _print_errors(errors, trained, console)
    for reason in slipped:
        say(console, f"* {reason}")
    return DRIFTED if slipped or any(shift.level == "drifted" for shift in shifts) else 0


def run_backtest(options: argparse.Namespace, console: Console) -> int:
    """Compare a model that is retrained each month with a model that is trained once."""
    plan = BacktestPlan(
        options.data, options.first, options.last, options.target, options.window, options.seed,
        options.kind,
    )  # fmt: skip
    available = len(backtest.available_months(plan))
    with steps(console, total=2 * available - plan.window) as on_step:
        points = list(backtest.run(plan, on_step=on_step))
    for path in backtest.write(points, plan.target, options.output):
        say(console, str(path))
    print(backtest.table(points, plan.target), end="")
    return 0


def run_compare(options: argparse.Namespace, console: Console) -> int:
    """Compare the champion and all baselines on all pairs of consecutive months."""
    plan = ComparisonPlan(
        options.data, comparison.pairs(options.data, options.kind),
        list(dict.fromkeys(options.target)), options.seed, options.kind,
        parameters.read(options.parameters),
    )  # fmt: skip
    with steps(console, total=plan.steps) as on_step:
        results = comparison.run(plan, on_step=on_step)
    text = comparison_tables.markdown(results)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "comparison.json").write_text(json.dumps(asdict(results), indent=2) + "\n")
    (options.output / "comparison.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


def run_tune(options: argparse.Namespace, console: Console) -> int:
    """Search for better hyper-parameters of the champion."""
    plan = TuningPlan(
        options.data, expand_months(options.train), options.validate, options.target,
        options.trials, options.seed, options.tracking_uri, options.kind,
    )  # fmt: skip
    unit = UNITS[plan.target]
    with steps(console, total=plan.trials) as on_step:

        def on_trial(trial: FrozenTrial, best: float) -> None:
            on_step(f"trial {trial.number + 1} of {plan.trials}: lowest RMSE {best:.3f} {unit}")

        result = tuning.run(plan, on_trial=on_trial)
    text = json.dumps(asdict(result), indent=2)
    print(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n")
    say(
        console,
        f"RMSE on {plan.validate}: {result.rmse:.3f} {unit}, and {result.before:.3f} {unit} with "
        f"the champion's parameters; {result.pruned} of {result.trials} trials were pruned.",
    )
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "drift": run_drift,
    "backtest": run_backtest,
    "compare": run_compare,
    "tune": run_tune,
}


def _print_errors(errors: MonthErrors, trained: Baseline, console: Console) -> None:
    table = Table("", "RMSE", "MAE", "bias", "coverage", box=None)
    for use, found in (("now", errors), ("test month", trained.test)):
        if found is not None:
            coverage = "" if found.coverage is None else f"{found.coverage:.1%}"
            name = f"{use}, {found.month}"
            table.add_row(
                name, f"{found.rmse:.2f}", f"{found.mae:.2f}", f"{found.bias:+.2f}", coverage
            )
    console.print(table)
    if errors.rides < drift.MIN_FINISHED_RIDES:
        say(
            console,
            f"Only {errors.rides:,} rides have their true value: errors are judged from "
            f"{drift.MIN_FINISHED_RIDES:,} rides on.",
        )
    if trained.test is None:
        say(
            console,
            "The model's baseline.json has no errors of a test month, because an older version of "
            "this code made it: whether its error has grown is not known. Train the model again.",
        )


def _shift_table(shifts: Sequence[Shift]) -> Table:
    table = Table(box=None)
    table.add_column("")
    table.add_column("index", justify="right")
    table.add_column("by chance", justify="right")
    table.add_column("")
    for shift in shifts:
        table.add_row(shift.name, f"{shift.index:.3f}", f"{shift.chance:.3f}", shift.level)
    return table
