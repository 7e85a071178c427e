"""The same scoring over files: ``python -m model_service.batch score INPUT… --output DIR``.

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

from . import places, reports, runs, served
from .errors import FileError, ModelError, OutputError, SettingsError
from .quotes import Models
from .runs import Done, Failed, Outcome
from .settings import BatchSettings
from .watch import watched

OK, FAILED, WRONG, MOSTLY_REJECTED, INTERRUPTED = 0, 1, 2, 3, 130


def score(
    patterns: Sequence[str],
    output: str,
    models: Models,
    *,
    side_by_side: int = 1,
    force: bool = False,
) -> list[Outcome]:
    """Score the files that *patterns* name into the directory *output*; shows how far it is.

    Raises `FileError` where there is none, `OutputError` and `ModelError` where the run ends.
    """
    inputs = places.inputs(patterns)
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


def run(options: argparse.Namespace) -> int:
    """One command, by its options."""
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps what it no longer needs
    started = time.monotonic()
    settings = BatchSettings.from_env(os.environ)
    models = served.load(settings)
    loaded = time.monotonic()
    if options.engine == "spark":
        from . import spark  # which not everybody has

        inputs = places.inputs(options.inputs)
        outcomes = spark.score(inputs, settings, options.output, force=options.force)
    else:
        outcomes = score(
            options.inputs,
            options.output,
            models,
            side_by_side=options.parallel,
            force=options.force,
        )
    seconds = {"models": loaded - started, "scoring": time.monotonic() - loaded}
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            print(outcome.why, file=sys.stderr)
    report = reports.report(outcomes, models, seconds)
    print(reports.summary(report))
    if options.json:
        with places.output_errors(str(options.json)):
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_bytes(reports.encode(report))
    return exit_code(outcomes)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    parser = argparse.ArgumentParser(prog="python -m model_service.batch")
    commands = parser.add_subparsers(required=True, metavar="score")
    scoring = commands.add_parser("score", help="score files of rides")
    scoring.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="file, directory or glob, local or s3://…"
    )
    scoring.add_argument("--output", required=True, metavar="DIR", help="local or s3://…")
    scoring.add_argument("--json", type=Path, metavar="FILE", help="where to write the report")
    scoring.add_argument("--force", action="store_true", help="redo what is done")
    scoring.add_argument("--parallel", type=_some, default=1, metavar="N", help="files at a time")
    scoring.add_argument(
        "--engine", choices=("local", "spark"), default="local", help="this machine, or Spark"
    )
    return parser


def _some(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError("must be from 1 to 64")
    return int(text)


def main(arguments: Sequence[str]) -> int:
    """Runs a command; the exit code says what happened."""
    try:
        return run(parser().parse_args(arguments))
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
