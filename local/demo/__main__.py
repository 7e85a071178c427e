"""The main job on one machine: train, store, stream, predict, count, report.

``python -m local.demo --rides 5000 --data DIR --output build/demo``

Nothing leaves the machine: Kinesis and S3 are the embedded ones.  The function is the real one,
imported after its settings are in the environment, as Lambda does it.
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

from .. import producer, run_stream
from ..aws.server import Embedded, embedded
from . import counts as tally
from . import html_report
from .console import Screen
from .rides import InputError, Source, Trip, check_directory, simulated, tlc, trips

if TYPE_CHECKING:
    from training.pipeline import TrainingResult

RIDES = 5000
OUTPUT = Path("build/demo")
METRICS, SUMMARY, REPORT = "metrics.jsonl", "summary.json", "report.html"
WRONG_COUNTS, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    options = _options(arguments)
    console = Console(file=sys.stdout)  # named, since the function's lines go elsewhere
    try:
        return demo(options.rides, options.data, options.output, Screen(console))
    except (InputError, ServiceError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("demo: stopped", file=sys.stderr)
        return INTERRUPTED


def demo(rides: int, data: Path | None, output: Path, screen: Screen) -> int:
    """Run it, and leave the files in *output*; the exit code."""
    ready = None if data is None else _with_trips(tlc(data), rides)  # before anything is started
    _empty_directory(output)
    with tempfile.TemporaryDirectory(prefix="ride-demo-") as scratch, embedded() as aws:
        _set_environment(aws)
        run_stream.make(aws)
        with screen.steps() as step:
            if ready is None:
                step("simulating two months of rides")
            source, streamed = ready or _with_trips(simulated(Path(scratch), rides), rides)
            result = _train(source, Path(scratch), step)
            step("starting the function")
            function = _function(aws, result)
            gc.freeze()  # a function has no training beside it, whose objects take 0.5 s to walk
        progress = _stream(aws, function.lambda_handler, streamed, output, screen)
        counts = tally.tally(
            sent=progress.sent,
            arrived=run_stream.arrivals(aws),
            published=progress.published,
            rejected=progress.rejected,
            true={str(trip.ride_id): trip.minutes for trip in streamed},
        )
    summary = tally.summary(
        counts,
        rmse=result.metrics["test"]["rmse_minutes"],
        flavour=function.model.flavour,
        source=source.name,
    )
    faults = tally.faults(counts)
    with screen.steps() as step:
        step("drawing the report")
        page = html_report.html(_figures(summary, counts, source, result, streamed))
        files = _write(output, {SUMMARY: json.dumps(summary, indent=2), REPORT: page})
    screen.end(summary, faults, files)
    return WRONG_COUNTS if faults else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo",
        usage=argparse.SUPPRESS,  # a fault is one sentence
        description="Train a model, stream rides through the real function, count and report.",
    )
    parser.add_argument(
        "--rides", type=_rides, metavar="N", default=RIDES, help="rides to stream (%(default)s)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="a directory of TLC Parquet (simulated rides)"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", default=OUTPUT, help="(%(default)s)")
    return parser.parse_args(arguments)


def _rides(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it takes a whole number, 1 or more, not {text!r}")
    return int(text)


def _empty_directory(path: Path) -> None:
    """Make it, without the files of a run before: what is left is of one run."""
    check_directory(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        for name in (SUMMARY, REPORT):
            (path / name).unlink(missing_ok=True)
        (path / METRICS).write_text("")
    except OSError as exc:
        raise InputError(f"{path} cannot be written to: {exc.strerror}.") from None


def _with_trips(source: Source, rides: int) -> tuple[Source, list[Trip]]:
    """*source*, and those of its rides that will be streamed."""
    from training.data import dataset

    return source, trips(dataset.read(source.directory, source.test, "duration"), rides)


def _set_environment(aws: Embedded) -> None:
    """Make the environment that of the embedded AWS, whatever it was."""
    own = {field.name.upper() for field in fields(Settings)}
    for name in [name for name in os.environ if name.startswith("AWS_") or name in own]:
        del os.environ[name]
    os.environ.update(aws.environ, MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")


def _train(source: Source, scratch: Path, step: Any) -> TrainingResult:
    step("starting MLflow")
    from training import pipeline  # heavy: MLflow and scikit-learn
    from training.plan import TrainingPlan

    plan = TrainingPlan(
        data=source.directory,
        train=(source.train,),
        test=source.test,
        target="duration",
        tracking_uri=f"sqlite:///{scratch / 'mlflow.db'}",
        artifacts=f"s3://{run_stream.MODELS}",
        card=False,  # for people who promote models, and there is a report
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
        RETURN_PREDICTIONS="false",  # as it is deployed
    )
    return importlib.import_module("lambda_function")


def _stream(
    aws: Embedded,
    handler: Any,
    streamed: Sequence[Trip],
    output: Path,
    screen: Screen,
) -> run_stream.Progress:
    messages = list(producer.messages(trip.event for trip in streamed))
    by_id = {str(trip.ride_id): trip for trip in streamed}
    bad = sum(message.broken is not None for message in messages)
    with (
        open(output / METRICS, "w", encoding="utf-8") as lines,
        screen.streaming(by_id, bad) as watch,
        contextlib.redirect_stdout(lines),
    ):
        return run_stream.run(aws, handler, messages, watch=watch)


def _figures(
    summary: Mapping[str, Any],
    counts: tally.Tally,
    source: Source,
    result: TrainingResult,
    streamed: Sequence[Trip],
) -> html_report.Figures:
    by_id = {str(trip.ride_id): trip for trip in streamed}
    picked = np.random.default_rng(0).permutation(len(counts.rides))[: html_report.SAMPLE]
    sample = [counts.rides[i] for i in sorted(picked.tolist())]
    return html_report.Figures(
        summary=summary,
        faults=tally.faults(counts),
        reasons=counts.reasons,
        baseline_rmse=result.metrics["baseline_linear"]["rmse_minutes"],
        trained_on=source.train,
        tested_on=source.test,
        version=result.run_id,
        per_second=run_stream.PER_SECOND,
        true=result.true,
        predicted=result.predicted,
        hour=result.hour,
        rides=counts.rides,
        rows=[(by_id[ride.ride_id], ride.predicted) for ride in sample],
    )


def _write(directory: Path, texts: Mapping[str, str]) -> list[Path]:
    for name, text in texts.items():
        (directory / name).write_text(f"{text.rstrip()}\n", encoding="utf-8")
    return [directory / name for name in texts]


if __name__ == "__main__":
    sys.exit(main())
