"""Writes runs to MLflow: training runs with their model and report, and parameter searches.

MLflow reads the address of its tracking server from a setting of the whole process; the functions
in this module set it.  Any error of MLflow is raised as a `TrackingError`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from model_service.errors import ServiceError

from ..data.provenance import Fingerprint, MonthUse
from .two_flavour_model import TwoFlavourModel

SQLITE = "sqlite:///"
DROPPED = ["month", "use", "reason", "rows"]
MAX_METRICS = 1000  # per call; a limit of MLflow
MAX_DIGEST = 36  # characters of a data set's digest; a limit of MLflow
MetricSeries = Sequence[tuple[str, float, int]]
"""Triples of the name, value and step of a metric."""


class TrackingError(ServiceError):
    """MLflow cannot store the run, or would store the model where the service cannot load it."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The MLflow experiment to which a run is logged."""

    tracking_uri: str
    experiment: str
    artifacts: str | None = None
    """The location of artifacts: ``s3://…`` or a directory; None for MLflow's default."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The data that a training run logs in addition to its model."""

    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    directory: Path
    """The directory with the files of the months."""
    months: Sequence[MonthUse]
    dropped: Sequence[Mapping[str, Any]]
    """The rows of the table of dropped rows, with the columns `DROPPED`."""


def log(model: TwoFlavourModel, record: RunRecord, to: Destination) -> tuple[str, str]:
    """Log one run with its model; return the id of the run and the location of the model.

    Raises `TrackingError` if MLflow fails.
    """
    with _mlflow(to.tracking_uri) as mlflow:
        experiment_id = _open_experiment(mlflow, to)
        with mlflow.start_run(experiment_id=experiment_id) as run:
            mlflow.set_tags(record.tags)
            mlflow.log_params(record.parameters)
            for month in record.months:
                mlflow.log_input(_dataset(record.directory, month.file), context=month.use)
            mlflow.log_metrics(record.metrics)
            mlflow.log_table(pd.DataFrame(record.dropped, columns=DROPPED), "dropped.json")
            logged = mlflow.models.Model.log(
                artifact_path=None, name="model", flavor=model, flavor_name="sklearn"
            )
    return run.info.run_id, location(logged.artifact_path)


def attach(
    tracking_uri: str, run_id: str, folder: str, files: Mapping[str, str], metrics: MetricSeries
) -> None:
    """Add *files* to the artifacts of the run *run_id*, and *metrics* to the run.

    *folder* is a folder of the run's artifacts.  *files* maps a path below this folder to the text
    of the file.
    """
    with _mlflow(tracking_uri) as mlflow, TemporaryDirectory() as scratch:
        mlflow.set_tracking_uri(tracking_uri)
        _log_series(mlflow, run_id, metrics)
        for name, text in files.items():
            path = Path(scratch, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        mlflow.MlflowClient(tracking_uri).log_artifacts(run_id, scratch, folder)


@dataclass(frozen=True, slots=True)
class SearchRun:
    """An open MLflow run of a parameter search, with a nested run for each trial.

    This is a class because it holds the MLflow module.
    """

    run_id: str
    experiment_id: str
    mlflow: Any

    def log_trial(
        self, name: str, parameters: Mapping[str, Any], errors: MetricSeries, *, pruned: bool
    ) -> None:
        """Log a trial as a nested run: its parameters, and *errors*, its error after each step.

        *pruned* says whether the trial was stopped early.
        """
        with self.mlflow.start_run(
            experiment_id=self.experiment_id, run_name=name, nested=True
        ) as run:
            self.mlflow.log_params(parameters)
            self.mlflow.set_tag("pruned", pruned)
            _log_series(self.mlflow, run.info.run_id, errors)

    def log_best(self, parameters: Mapping[str, Any], name: str, error: float) -> None:
        """Log the best trial's parameters and error on the outer run.

        *name* is the name of the metric, and *error* is its value.
        """
        self.mlflow.log_params({f"best_{key}": value for key, value in parameters.items()})
        self.mlflow.log_metric(name, error)


@contextmanager
def search(to: Destination, parameters: Mapping[str, Any]) -> Iterator[SearchRun]:
    """Open a run to which the trials of a parameter search are logged.

    *parameters* are the settings of the search, which the run logs.
    """
    with _mlflow(to.tracking_uri) as mlflow:
        experiment_id = _open_experiment(mlflow, to)
        with mlflow.start_run(experiment_id=experiment_id, run_name="search") as run:
            mlflow.log_params(parameters)
            yield SearchRun(run.info.run_id, experiment_id, mlflow)


def copy_model(location: str, directory: Path) -> None:
    """Copy the files of the model at *location* to *directory*, atomically.

    A model that is already in *directory* is replaced.

    Raises `TrackingError` if the directory contains files that are not a model.
    """
    if directory.exists() and any(directory.iterdir()) and not (directory / "MLmodel").exists():
        raise TrackingError(f"{directory} holds files that are not a model; it was left alone.")
    with TemporaryDirectory() as scratch:
        with _mlflow(location) as mlflow:
            files = mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=scratch)
        directory = directory.resolve()
        directory.parent.mkdir(parents=True, exist_ok=True)
        unfinished = directory.with_name(f".{directory.name}.{os.getpid()}")
        try:
            shutil.copytree(files, unfinished)
            shutil.rmtree(directory, ignore_errors=True)
            unfinished.rename(directory)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def client(tracking_uri: str) -> Iterator[Any]:
    """Yield MLflow's client.  Raises `TrackingError` if an SQLite database does not exist."""
    with _mlflow(tracking_uri) as mlflow:
        database = tracking_uri.removeprefix(SQLITE)
        if tracking_uri != database and not Path(database).exists():
            raise TrackingError(f"There is no database {database}: train a model first.")
        yield mlflow.MlflowClient(tracking_uri, registry_uri=tracking_uri)


def location(uri: str) -> str:
    """Return an artifact URI of MLflow in the form of MODEL_LOCATION.

    Raises `TrackingError` if the service cannot load models from such a URI.
    """
    if uri.startswith("s3://"):
        return uri.rstrip("/")
    if uri.startswith("file:"):
        return str(Path.from_uri(uri))
    if ":/" in uri:
        raise TrackingError(
            f"The service cannot load models from {uri}: give --artifacts s3://… or a directory."
        )
    return str(Path(uri).resolve())


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Wait for an exclusive lock on *directory*, and hold it while the block runs.

    Without a lock, two processes that create the tables of one SQLite database at the same time
    leave the database unusable.
    """
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # releases the lock, too


def _open_experiment(mlflow: Any, to: Destination) -> str:
    """Return the id of the experiment; create the experiment if it does not exist."""
    mlflow.set_tracking_uri(to.tracking_uri)
    if not to.tracking_uri.startswith(SQLITE):
        return _experiment(mlflow, to)
    directory = Path(to.tracking_uri.removeprefix(SQLITE)).parent
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory):
        return _experiment(mlflow, to)


def _experiment(mlflow: Any, to: Destination) -> str:
    wanted = None if to.artifacts is None else location(to.artifacts)
    experiment = mlflow.get_experiment_by_name(to.experiment) or mlflow.get_experiment(
        mlflow.create_experiment(to.experiment, artifact_location=wanted)
    )
    actual = location(experiment.artifact_location)
    if wanted not in (None, actual):
        raise TrackingError(
            f"The experiment {to.experiment} keeps its artifacts at {actual}, not at {wanted}: "
            "leave out --artifacts, or name another --experiment."
        )
    return str(experiment.experiment_id)


def _dataset(directory: Path, file: Fingerprint) -> Any:
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource

    source = LocalArtifactDatasetSource(str(directory / file.name))
    return MetaDataset(source, name=file.name, digest=file.sha256[:MAX_DIGEST])


def _log_series(mlflow: Any, run_id: str, metrics: MetricSeries) -> None:
    now = int(1000 * time.time())
    entities = [mlflow.entities.Metric(name, value, now, step) for name, value, step in metrics]
    for first in range(0, len(entities), MAX_METRICS):
        mlflow.MlflowClient().log_batch(run_id, metrics=entities[first : first + MAX_METRICS])


@contextmanager
def _mlflow(location: str) -> Iterator[Any]:
    """Yield MLflow with its log output turned off; raise its errors as `TrackingError`.

    The message of an error names *location*.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # the default of 7 takes minutes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about MLflow's own dependencies
        import mlflow  # takes seconds, so it is imported only when it is needed
        import mlflow.artifacts
        import mlflow.entities
        import mlflow.models
        import mlflow.sklearn

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield mlflow
        except ServiceError:
            raise
        except Exception as exc:  # MLflow also raises the errors of its stores, of any type
            reason = str(exc).partition("\n")[0] or type(exc).__name__
            raise TrackingError(f"MLflow cannot use {location}: {reason}") from exc
