"""The demo: trains a model, streams rides through the real function, and reports the results.

``python -m local.demo --rides 5000 --data DIR --output build/demo``

Kinesis and S3 are embedded, so no data leaves the machine.  As on Lambda, the function is imported
after the environment variables with its settings are set.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from model_service.errors import ServiceError
from model_service.settings import Settings

from .. import messages, run_stream
from ..aws.server import Embedded, embedded
from ..rides import RideMonths, RidesError, Trip, check_directory, simulated, tlc, trips
from . import counts, html_report
from .console import DemoConsole
from .counts import StreamCounts

if TYPE_CHECKING:
    from training.pipeline import TrainingResult

RIDES = 5000
OUTPUT = Path("build/demo")
METRICS, SUMMARY, REPORT = "metrics.jsonl", "summary.json", "report.html"
WRONG_COUNTS, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code.

    *arguments* are those of the command line; None for those of this process.
    """
    options = _options(arguments)
    console = Console(file=sys.stdout)  # sys.stdout is redirected later
    try:
        return demo(
            options.rides,
            options.data,
            options.output,
            DemoConsole(console),
            with_failures=options.faults,
        )
    except (RidesError, ServiceError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("demo: stopped", file=sys.stderr)
        return INTERRUPTED


def demo(
    rides: int,
    data: Path | None,
    output: Path,
    console: DemoConsole,
    *,
    with_failures: bool = False,
) -> int:
    """Run the demo, write its files to *output*, and return the exit code.

    *rides* is the number of rides to stream, and *data* is a directory with the TLC's files; with
    None, the rides are simulated.  *with_failures* makes invocations fail.
    """
    # TLC data is read first, so that errors in it are reported before anything starts.
    ready = None if data is None else _with_trips(tlc(data), rides)
    _empty_directory(output)
    with tempfile.TemporaryDirectory(prefix="ride-demo-") as scratch, embedded() as aws:
        _set_environment(aws)
        run_stream.create_resources(aws)
        with console.steps() as step:
            if ready is None:
                step("simulating two months of rides")
            months, streamed = ready or _with_trips(simulated(Path(scratch), rides), rides)
            result = _train(months, Path(scratch), step)
            step("starting the function")
            function = _function(aws, result)
            gc.freeze()  # without this, a collection takes 0.5 s after training
        progress = _stream(
            aws, function.lambda_handler, streamed, output, console, with_failures=with_failures
        )
        counted = counts.count(
            sent=progress.sent,
            arrived=run_stream.arrivals(aws),
            published=progress.published,
            rejected=progress.rejected,
            true={str(trip.ride_id): trip.minutes for trip in streamed},
        )
    summary = counts.summary(
        counted,
        rmse=result.metrics["test"]["rmse_minutes"],
        flavour=function.model.flavour,
        source=months.name,
    )
    if with_failures:
        summary["failures"] = dict(progress.failures)
    faults = counts.faults(counted)
    with console.steps() as step:
        step("drawing the report")
        page = html_report.render(_figures(summary, counted, months, result, streamed))
        files = _write(output, {SUMMARY: json.dumps(summary, indent=2), REPORT: page})
    console.show_result(summary, faults, files)
    return WRONG_COUNTS if faults else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo",
        usage=argparse.SUPPRESS,  # an error is one line
        description="Train a model, stream rides through the real function, report the results.",
    )
    parser.add_argument(
        "--rides",
        type=_rides,
        metavar="N",
        default=RIDES,
        help="number of rides to stream (%(default)s)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="directory of TLC Parquet files; rides are simulated without it",
    )
    parser.add_argument(
        "--faults",
        action="store_true",
        help="make invocations fail, in turn in each way in which they can",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", default=OUTPUT, help="output directory (%(default)s)"
    )
    return parser.parse_args(arguments)


def _rides(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, not {text!r}")
    return int(text)


def _empty_directory(path: Path) -> None:
    """Create *path* and delete the files of an earlier run from it."""
    check_directory(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        for name in (SUMMARY, REPORT):
            (path / name).unlink(missing_ok=True)
        (path / METRICS).write_text("")
    except OSError as exc:
        raise RidesError(f"{path} cannot be written to: {exc.strerror}.") from None


def _with_trips(months: RideMonths, rides: int) -> tuple[RideMonths, list[Trip]]:
    """Return *months*, and *rides* random rides of the test month, which will be streamed."""
    from training.data import dataset

    return months, trips(dataset.read(months.directory, months.test, "duration"), rides)


def _set_environment(aws: Embedded) -> None:
    """Replace the AWS variables and the service's settings by those of the embedded AWS."""
    own = {field.name.upper() for field in fields(Settings)}
    for name in [name for name in os.environ if name.startswith("AWS_") or name in own]:
        del os.environ[name]
    os.environ.update(aws.environ, MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")


def _train(months: RideMonths, scratch: Path, step: Any) -> TrainingResult:
    step("starting MLflow")
    from training import pipeline  # slow: it imports MLflow and scikit-learn
    from training.plan import TrainingPlan

    plan = TrainingPlan(
        data=months.directory,
        train=(months.train,),
        test=months.test,
        target="duration",
        tracking_uri=f"sqlite:///{scratch / 'mlflow.db'}",
        artifacts=f"s3://{run_stream.MODELS}",
        card=False,  # the report replaces it
    )
    with contextlib.redirect_stdout(sys.stderr):
        return pipeline.train(plan, on_step=step)


def _function(aws: Embedded, result: TrainingResult) -> Any:
    os.environ.update(
        MODEL_LOCATION=result.model_location,
        MODEL_SHA256=result.model_sha256,
        REJECTS_LOCATION=f"s3://{run_stream.REJECTS}/rejects",
        PREDICTIONS_STREAM_NAME=run_stream.PREDICTIONS,
        KINESIS_ENDPOINT_URL=aws.endpoint,
        RETURN_PREDICTIONS="false",  # as in the deployed stack
    )
    return importlib.import_module("lambda_function")


def _stream(
    aws: Embedded,
    handler: Any,
    streamed: Sequence[Trip],
    output: Path,
    console: DemoConsole,
    *,
    with_failures: bool,
) -> run_stream.StreamProgress:
    records = list(messages.messages(trip.event for trip in streamed))
    by_id = {str(trip.ride_id): trip for trip in streamed}
    bad = sum(message.broken is not None for message in records)
    with (
        open(output / METRICS, "w", encoding="utf-8") as lines,
        console.streaming(by_id, bad) as on_progress,
        contextlib.redirect_stdout(lines),
    ):
        return run_stream.run(
            aws, handler, records, on_progress=on_progress, with_failures=with_failures
        )


def _figures(
    summary: Mapping[str, Any],
    counted: StreamCounts,
    months: RideMonths,
    result: TrainingResult,
    streamed: Sequence[Trip],
) -> html_report.ReportFigures:
    by_id = {str(trip.ride_id): trip for trip in streamed}
    picked = np.random.default_rng(0).permutation(len(counted.rides))[: html_report.SAMPLE]
    sample = [counted.rides[i] for i in sorted(picked.tolist())]
    return html_report.ReportFigures(
        summary=summary,
        faults=counts.faults(counted),
        reasons=counted.reasons,
        baseline_rmse=result.metrics["baseline_linear"]["rmse_minutes"],
        trained_on=months.train,
        tested_on=months.test,
        version=result.run_id,
        per_second=run_stream.PER_SECOND,
        true=result.true,
        predicted=result.predicted,
        hour=result.hour,
        rides=counted.rides,
        rows=[(by_id[ride.ride_id], ride.predicted) for ride in sample],
    )


def _write(directory: Path, texts: Mapping[str, str]) -> list[Path]:
    for name, text in texts.items():
        (directory / name).write_text(f"{text.rstrip()}\n", encoding="utf-8")
    return [directory / name for name in texts]


if __name__ == "__main__":
    sys.exit(main())
