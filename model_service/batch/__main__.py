"""The command ``python -m model_service.batch``: ``score`` for files, ``backfill`` for months.

Exit codes: 0 if all inputs are scored, by this job or an earlier one; 1 if an input cannot be read
or the output cannot be written; 2 if the command line, a setting or a model is wrong; 3 if all
inputs are scored, but more rows are rejected than scored; 130 if the job is interrupted.  Each
error is one line on standard error.
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
from ..datasets.months import months
from ..errors import FileError, ModelError, OutputError, SettingsError
from ..models import served
from ..models.served import Models
from ..settings import BatchSettings
from ..storage import disk_errors
from . import backfill, cli, job, report
from .manifest import CompletedInput, FailedInput, InputResult
from .progress import progress_shown

OK, FAILED, WRONG, MOSTLY_REJECTED, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str]) -> int:
    """Run the command with *arguments*, those of the command line, and return its exit code."""
    options = cli.parse(arguments)
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's default pool keeps freed memory
    try:
        return run(options)
    except (SettingsError, ModelError) as exc:
        print(f"cannot start: {exc}", file=sys.stderr)
        return WRONG
    except (FileError, OutputError) as exc:
        print(exc, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return INTERRUPTED


def run(options: argparse.Namespace) -> int:
    """Run the command that *options* select and return its exit code.

    Raises `SettingsError`, `ModelError`, `FileError` or `OutputError` if the command has to stop.
    """
    started = time.monotonic()
    settings = BatchSettings.from_env(os.environ)
    models = served.load(settings)
    loaded, cpu = time.monotonic(), time.process_time()
    if options.command == "backfill":
        results = _backfill(options, settings, models)
    else:
        results = _score(files.inputs(options.inputs), options, settings, models)
    seconds = {
        "models": loaded - started,
        "scoring": time.monotonic() - loaded,
        "scoring_cpu": time.process_time() - cpu,
    }
    made = report.job_report(results, models, seconds)
    print(report.summary(made))
    if options.json:
        _write(options.json, report.encode(made))
    return exit_code(results)


def _backfill(
    options: argparse.Namespace, settings: BatchSettings, models: Models
) -> list[InputResult]:
    """Score several months, print a table of the months, and write a plot of their errors."""
    found = backfill.find_inputs(options.input, months(options.first, options.last))
    for missing in found.missing.values():
        print(missing.reason, file=sys.stderr)
    results = _score(found.inputs, options, settings, models)
    by_month = backfill.by_month(found, results)
    fields = [one.target.field for one in models]
    with files.output(options.output) as output:
        output.write("errors.svg", report.plot_errors(by_month, fields))
    report.print_months(by_month, fields)
    return [*results, *found.missing.values()]


def _score(
    inputs: Sequence[Input], options: argparse.Namespace, settings: BatchSettings, models: Models
) -> list[InputResult]:
    inputs = files.outside(inputs, options.output) if inputs else []
    if options.engine == "spark":
        from . import spark  # an optional package

        results = spark.score_files_on_spark(inputs, settings, options.output, force=options.force)
    else:
        with files.output(options.output) as output, progress_shown(inputs) as progress:
            results = job.score_files(
                inputs,
                models,
                output,
                workers=os.process_cpu_count() or 1,
                parallel=options.parallel,
                progress=progress,
                force=options.force,
            )
    for result in results:
        if isinstance(result, FailedInput):
            print(result.reason, file=sys.stderr)
    return results


def exit_code(results: Sequence[InputResult]) -> int:
    """Return the exit code for the results of all inputs.

    It is 1 if an input failed, 3 if more rows are rejected than scored, and otherwise 0.
    """
    if any(isinstance(one, FailedInput) for one in results):
        return FAILED
    completed = [one for one in results if isinstance(one, CompletedInput)]
    mostly = sum(one.rejected for one in completed) > sum(one.scored for one in completed)
    return MOSTLY_REJECTED if mostly else OK


def _write(path: Path, data: bytes) -> None:
    with disk_errors(f"write {path}", OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
