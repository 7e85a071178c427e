"""The commands that make rides and models: simulate, download, train."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from model_service.datasets.months import months

from ..data import dataset, simulation
from ..data.download import DownloadStatus, MonthError, current_record, download, locked
from ..data.http import NotFoundError, Server
from ..data.http import Progress as OnBytes
from ..data.tlc import TAXIS
from .arguments import ARTIFACTS, INTERRUPTED, SIMULATED, TRACKING, expand_months
from .console import say

if TYPE_CHECKING:
    from ..pipeline import TrainingResult
    from ..plan import TrainingPlan

FAILED = 1
SUMMARY = ("run_id", "model_location", "model_sha256", "metrics")


def run_simulate(options: argparse.Namespace, console: Console) -> int:
    """Write months of simulated rides."""
    simulation.write(options.output, options.months, options.rides, options.seed)
    print(options.output)
    return 0


def run_download(options: argparse.Namespace, console: Console) -> int:
    """Download the TLC's months; return 1 if any of them failed."""
    names = [TAXIS[options.kind].file(month) for month in months(options.first, options.last)]
    statuses = dict[str, DownloadStatus]()
    with locked(options.data), requests.Session() as session:
        server = Server(session, lambda text: say(console, text))
        try:
            for name in names:
                statuses[name] = _download(server, options, name, console)
        except KeyboardInterrupt:
            say(console, "Interrupted; run the same command again to resume.")
            return INTERRUPTED
    print(json.dumps({"directory": str(options.data), "files": statuses}, indent=2))
    return FAILED if "failed" in statuses.values() else 0


def run_train(options: argparse.Namespace, console: Console) -> int:
    """Train a model and log it to MLflow."""
    from ..pipeline import train  # imports scikit-learn, which takes seconds

    plan = _training_plan(options)
    with console.status("starting") as status:

        def on_step(text: str) -> None:
            status.update(text)
            if not console.is_terminal:  # where Rich does not show the status
                say(console, text)

        if options.data is None:
            on_step(f"simulating {options.rides:,} rides a month")
            simulated = [*plan.train, *filter(None, [plan.calibrate]), plan.test]
            simulation.write(SIMULATED, simulated, options.rides, options.seed)
        result = train(plan, on_step=on_step)
    _write_summary(result, options)
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "simulate": run_simulate,
    "download": run_download,
    "train": run_train,
}


def _download(
    server: Server, options: argparse.Namespace, name: str, console: Console
) -> DownloadStatus:
    file: Path = options.data / name
    try:
        current = None if options.replace else current_record(file)
        with _progress_bar(console, name) as on_bytes:
            status = download(server, f"{options.source}/{name}", file, current, on_bytes)
    except (MonthError, NotFoundError) as exc:
        say(console, str(exc))
        return "failed"
    say(console, f"{name}: {status}, {file.stat().st_size:,} bytes")
    return status


@contextmanager
def _progress_bar(console: Console, name: str) -> Iterator[OnBytes]:
    """Show a progress bar with the title *name* on a terminal, and yield the function to update it.

    If standard error is not a terminal, no bar is shown.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _training_plan(options: argparse.Namespace) -> TrainingPlan:
    from ..model import parameters
    from ..plan import TrainingPlan

    if options.data is None and options.kind != "green":
        raise dataset.DataError(
            f"Only green rides can be simulated: name the --data of {options.kind} ones."
        )
    return TrainingPlan(
        data=options.data or SIMULATED,
        train=expand_months(options.train),
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
        parameters=parameters.read(options.parameters),
    )


def _write_summary(result: TrainingResult, options: argparse.Namespace) -> None:
    """Print a summary, write it to ``--json``, and copy the model's files to ``--output``."""
    from ..registry import tracking

    text = json.dumps({name: getattr(result, name) for name in SUMMARY}, indent=2)
    print(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n")
    if options.output:
        tracking.copy_model(result.model_location, options.output)
