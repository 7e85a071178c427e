"""The same scoring over files: ``python -m model_service.batch score INPUT… --output DIR``, and
``… backfill --from YYYY-MM --to YYYY-MM --input '…{month}…' --output DIR`` for many months.

Exit codes: 0 all inputs are scored, now or before; 1 an input cannot be read, or the answers
cannot be written; 2 the command line, the settings or a model are wrong; 3 all are scored, but
more rows were rejected than not; 130 interrupted.  What is wrong is said in one sentence each.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from . import backfill, columnar, places, reports, runs, served
from .errors import FileError, ModelError, OutputError, SettingsError
from .places import Input
from .quotes import Models
from .runs import Done, Failed, Outcome
from .settings import BatchSettings
from .watch import watched

OK, FAILED, WRONG, MOSTLY_REJECTED, INTERRUPTED = 0, 1, 2, 3, 130


def score(
    inputs: Sequence[Input],
    output: str,
    models: Models,
    *,
    side_by_side: int = 1,
    force: bool = False,
) -> list[Outcome]:
    """Score *inputs* into the directory *output*, and show how far it is.

    Raises `OutputError` and `ModelError`, with which the run ends.
    """
    with places.output(output) as there, watched(inputs) as progress:
        return runs.score(
            inputs,
            models,
            there,
            workers=os.process_cpu_count() or 1,
            side_by_side=side_by_side,
            progress=progress,
            force=force,
        )


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """What a run came to."""
    if any(isinstance(outcome, Failed) for outcome in outcomes):
        return FAILED
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    mostly = sum(one.rejected for one in done) > sum(one.scored for one in done)
    return MOSTLY_REJECTED if mostly else OK


def run_score(options: argparse.Namespace) -> int:
    """``score``"""
    settings = BatchSettings.from_env(os.environ)
    models, loading = _timed(lambda: served.load(settings))
    inputs = places.inputs(options.inputs)
    if options.engine == "spark":
        from . import spark  # which not everybody has

        outcomes, scoring = _timed(
            lambda: spark.score(inputs, settings, options.output, force=options.force)
        )
    else:
        outcomes, scoring = _timed(lambda: _score(inputs, models, options))
    return _reported(outcomes, models, {"models": loading, "scoring": scoring}, options.json)


def run_backfill(options: argparse.Namespace) -> int:
    """``backfill``"""
    names = backfill.months(options.first, options.last)
    models, loading = _timed(lambda: served.load(BatchSettings.from_env(os.environ)))
    found = {name: backfill.inputs(options.input, name) for name in names}
    inputs = [one for some in found.values() if not isinstance(some, Failed) for one in some]
    outcomes, scoring = _timed(lambda: _score(inputs, models, options))
    left = iter(outcomes)
    by_month = {
        name: [some] if isinstance(some, Failed) else [next(left) for _ in some]
        for name, some in found.items()
    }
    months = [backfill.month(name, some) for name, some in by_month.items()]
    fields = [one.target.field for one in columnar.served(models)]
    with places.output(options.output) as there:
        places.write(there, "errors.svg", backfill.picture(months, fields))
    Console().print(backfill.table(months, fields))
    outcomes = [one for some in by_month.values() for one in some]
    return _reported(outcomes, models, {"models": loading, "scoring": scoring}, options.json)


def _score(inputs: Sequence[Input], models: Models, options: argparse.Namespace) -> list[Outcome]:
    return score(inputs, options.output, models, side_by_side=options.parallel, force=options.force)


def _timed[T](act: Callable[[], T]) -> tuple[T, float]:
    started = time.monotonic()
    return act(), time.monotonic() - started


def _reported(
    outcomes: Sequence[Outcome], models: Models, seconds: dict[str, float], file: Path | None
) -> int:
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            print(outcome.why, file=sys.stderr)
    report = reports.report(outcomes, models, seconds)
    print(reports.summary(report))
    if file:
        with places.output_errors(str(file)):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(reports.encode(report))
    return exit_code(outcomes)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    parser = argparse.ArgumentParser(prog="python -m model_service.batch")
    commands = parser.add_subparsers(required=True, metavar="score|backfill")
    scoring = commands.add_parser("score", help="score files of rides")
    scoring.set_defaults(run=run_score)
    scoring.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="file, directory or glob, local or s3://…"
    )
    scoring.add_argument(
        "--engine", choices=("local", "spark"), default="local", help="this machine, or Spark"
    )
    filling = commands.add_parser("backfill", help="score months of rides")
    filling.set_defaults(run=run_backfill)
    filling.add_argument("--from", dest="first", required=True, type=_month, metavar="YYYY-MM")
    filling.add_argument("--to", dest="last", required=True, type=_month, metavar="YYYY-MM")
    filling.add_argument("--input", required=True, type=_pattern, help="with {month} in it")
    for command, parallel in ((scoring, 1), (filling, 2)):
        command.add_argument("--output", required=True, metavar="DIR", help="local or s3://…")
        command.add_argument("--json", type=Path, metavar="FILE", help="where to write the report")
        command.add_argument("--force", action="store_true", help="redo what is done")
        command.add_argument(
            "--parallel", type=_some, default=parallel, metavar="N", help="files at a time"
        )
    return parser


def _month(text: str) -> str:
    try:
        return backfill.months(text, text)[0]
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def _pattern(text: str) -> str:
    if backfill.MONTH not in text:
        raise argparse.ArgumentTypeError(f"has no {backfill.MONTH} in it")
    return text


def _some(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError("must be from 1 to 64")
    return int(text)


def main(arguments: Sequence[str]) -> int:
    """Runs a command; the exit code says what happened."""
    options = parser().parse_args(arguments)
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps what it no longer needs
    try:
        return int(options.run(options))
    except ValueError as exc:  # of the months
        print(exc, file=sys.stderr)
        return WRONG
    except (SettingsError, ModelError) as exc:
        print(f"cannot start: {exc}", file=sys.stderr)
        return WRONG
    except (FileError, OutputError) as exc:
        print(exc, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
