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
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ..datasets import files
from ..datasets.files import Input
from ..datasets.manifest import Done, Failed, Outcome
from ..datasets.months import months
from ..errors import FileError, ModelError, OutputError, SettingsError
from ..models import served
from ..models.served import Models
from ..settings import BatchSettings
from . import backfill, cli, job
from . import report as reports
from .progress import watched

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
    with files.output(output) as there, watched(inputs) as progress:
        return job.score(
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


def run(options: argparse.Namespace) -> int:
    """One command, by its options."""
    started = time.monotonic()
    settings = BatchSettings.from_env(os.environ)
    models = served.load(settings)
    loaded, cpu = time.monotonic(), time.process_time()
    if options.command == "backfill":
        outcomes = _backfilled(options, settings, models)
    else:
        outcomes = _scored(files.inputs(options.inputs), options, settings, models)
    seconds = {
        "models": loaded - started,
        "scoring": time.monotonic() - loaded,
        "scoring_cpu": time.process_time() - cpu,
    }
    report = reports.report(outcomes, models, seconds)
    print(reports.summary(report))
    if options.json:
        _write(options.json, reports.encode(report))
    return exit_code(outcomes)


def _scored(
    inputs: Sequence[Input], options: argparse.Namespace, settings: BatchSettings, models: Models
) -> list[Outcome]:
    inputs = files.outside(inputs, options.output) if inputs else []
    if options.engine == "spark":
        from . import spark  # which not everybody has

        outcomes = spark.score(inputs, settings, options.output, force=options.force)
    else:
        outcomes = score(
            inputs, options.output, models, side_by_side=options.parallel, force=options.force
        )
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            print(outcome.why, file=sys.stderr)
    return outcomes


def _backfilled(
    options: argparse.Namespace, settings: BatchSettings, models: Models
) -> list[Outcome]:
    """What became of all inputs; leaves a picture beside the answers, and prints a table."""
    asked = backfill.inputs(options.input, months(options.first, options.last))
    for missing in asked.missing.values():
        print(missing.why, file=sys.stderr)
    outcomes = _scored(asked.inputs, options, settings, models)
    by_month = backfill.by_month(asked, outcomes)
    fields = [one.target.field for one in models]
    with files.output(options.output) as there:
        files.write(there, "errors.svg", backfill.picture(by_month, fields))
    backfill.show(by_month, fields)
    return [*outcomes, *asked.missing.values()]


def _write(path: Path, data: bytes) -> None:
    with files.output_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def main(given: Sequence[str]) -> int:
    """Runs a command; the exit code says what happened."""
    options = cli.read(given)
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps what it no longer needs
    try:
        return run(options)
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
