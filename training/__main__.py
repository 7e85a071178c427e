"""The command line: ``python -m training train``, and what comes before and after it.

What it makes goes to files and standard output; progress and faults go to standard error.  A
fault of the caller's is one sentence and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from model_service.errors import ServiceError

from . import span
from .commands import arguments as others
from .data import simulation

if TYPE_CHECKING:
    from .pipeline import Result
    from .plan import Plan

DOWNLOADED = Path("build/tlc")
SIMULATED = Path("build/simulated")
INTERRUPTED = 130  # as shells say it
MANY = others.whole(1, 10_000_000)
TRACKING = "sqlite:///build/mlflow.db"
ARTIFACTS = "build/mlflow"
SUMMARY = ("run_id", "model_location", "model_sha256", "metrics")


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        if options.command == "simulate":
            simulation.write(options.output, options.months, options.rides, options.seed)
            print(options.output)
        elif options.command == "train":
            _train(options, console)
        elif options.command == "download":
            from .data.download import download

            return download(options, console)
        else:
            from .commands import evaluate_models, release_models  # heavy, as everything below

            run = (release_models.COMMANDS | evaluate_models.COMMANDS)[options.command]
            return run(options, console)
        return 0
    except ServiceError as exc:
        code, fault = 2, str(exc)
    except OSError as exc:  # a place to write to that is none
        place = f"{exc.filename}: " if exc.filename else ""
        code, fault = 2, f"{place}{exc.strerror}."
    except KeyboardInterrupt:
        code, fault = INTERRUPTED, "Interrupted."
    console.print(fault, style="red", markup=False, highlight=False, soft_wrap=True)
    return code


def _train(options: argparse.Namespace, console: Console) -> None:
    from .pipeline import train  # heavy: not for --help

    plan = _plan(options)
    with console.status("starting") as status:

        def step(text: str) -> None:
            status.update(text)
            if not console.is_terminal:  # where a spinner is not shown
                console.print(text, highlight=False)

        if options.data is None:
            step(f"simulating {options.rides:,} rides a month")
            months = [*plan.train, *filter(None, [plan.calibrate]), plan.test]
            simulation.write(SIMULATED, months, options.rides, options.seed)
        result = train(plan, step=step)
    _leave(result, options)


def _plan(options: argparse.Namespace) -> Plan:
    """Raises `DataError` where there are no such rides, or months, or parameters."""
    from .data import dataset
    from .experiments import tuning  # heavy, as this is
    from .plan import Plan

    if options.data is None and options.kind != "green":
        raise dataset.DataError(
            f"Only green rides are simulated: name the --data of {options.kind} ones."
        )
    return Plan(
        data=options.data or SIMULATED,
        train=tuple(span.named(options.train)),
        test=options.test,
        target=options.target,
        kind=options.kind,
        tracking_uri=options.tracking_uri or TRACKING,
        artifacts=options.artifacts or (None if options.tracking_uri else ARTIFACTS),
        experiment=options.experiment,
        calibrate=options.calibrate,
        most=options.most,
        seed=options.seed,
        card=options.card,
        parameters=tuning.parameters(options.parameters),
    )


def _leave(result: Result, options: argparse.Namespace) -> None:
    """The summary, and a copy of the model where one is wanted."""
    from .registry import tracking

    text = json.dumps({name: getattr(result, name) for name in SUMMARY}, indent=2)
    print(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n")
    if options.output:
        tracking.copy(result.model_location, options.output)


class _OneSentence(argparse.ArgumentParser):
    """Says what is wrong without repeating how everything is called; a class to override that."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; --help says more\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneSentence(prog="python -m training", description="Rides to a model.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_train(commands)
    simulate = commands.add_parser("simulate", help="write months of simulated rides")
    simulate.add_argument("--output", type=Path, required=True, metavar="DIR")
    simulate.add_argument("--months", nargs="+", required=True, metavar="YYYY-MM")
    _add_simulated(simulate)
    others.add_download(commands, DOWNLOADED)
    others.add_to(commands, TRACKING, SIMULATED)
    return parser


def _add_train(commands: Any) -> None:
    train = commands.add_parser("train", help="train a model, log it to MLflow, and try it")
    train.add_argument("--data", type=Path, help="a directory of the TLC's months")
    train.add_argument(
        "--train", nargs="+", default=["2021-01"], metavar="YYYY-MM", help="or YYYY-MM..YYYY-MM"
    )
    train.add_argument("--test", default="2021-02", metavar="YYYY-MM")
    train.add_argument("--calibrate", metavar="YYYY-MM", help="a month between, for the intervals")
    train.add_argument(
        "--most", type=others.whole(1, 1_000_000_000), default=1_000_000, metavar="RIDES",
        help="of more rides train on a random share (%(default)s)",
    )  # fmt: skip
    train.add_argument("--target", choices=others.TARGETS, default="duration")
    train.add_argument("--kind", choices=others.KINDS, default="green", help="of taxis")
    train.add_argument("--parameters", type=Path, metavar="FILE", help="what tune --json found")
    train.add_argument("--tracking-uri", help=f"MLflow's (default: {TRACKING})")
    train.add_argument("--artifacts", help="s3://bucket/prefix or a directory")
    train.add_argument("--experiment", default="ride-predictions")
    train.add_argument("--json", type=Path, metavar="FILE", help="write the summary there as well")
    train.add_argument("--output", type=Path, metavar="DIR", help="copy the model's files there")
    train.add_argument(
        "--no-card", dest="card", action="store_false",
        help="make no pictures and no model card; such a model is not promoted",
    )  # fmt: skip
    _add_simulated(train)


def _add_simulated(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rides", type=MANY, default=20_000, help="simulated, a month")
    command.add_argument("--seed", type=others.SEED, default=0)


if __name__ == "__main__":
    sys.exit(main())
