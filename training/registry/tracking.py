"""Log a trained model to MLflow, as one directory with two flavours.

``onnx`` is what the service reads, with nothing but onnxruntime; ``sklearn``, saved by skops,
is what MLflow's own tools read.  MLflow is told where to log by a setting of the whole process.
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
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin

from model_service.errors import ServiceError

from ..data.dataset import Target
from ..data.provenance import File
from ..model.champion import INPUTS

SQLITE = "sqlite:///"
DATA_FILE = "model.onnx"
TRUSTED = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]
"""What the pipeline holds beyond what skops itself trusts."""
DROPPED = ["month", "use", "reason", "rows"]
MOST_METRICS = 1000  # in one call; a limit of MLflow's
DIGITS = 36  # of a data set's digest; a limit of MLflow's
Series = Sequence[tuple[str, float, int]]
"""Name, value, step."""
REQUIREMENTS = ("mlflow", "scikit-learn", "skops", "pandas", "numpy", "onnxruntime")


class TrackingError(ServiceError):
    """MLflow cannot keep the run, or keeps it where the service could not read the model."""


@dataclass(frozen=True, slots=True)
class Champion:
    """A model in its two forms.

    A class because MLflow asks a flavour for a method of this name.
    """

    target: Target
    pipeline: RegressorMixin
    graph: bytes
    extra_files: Mapping[str, bytes] = field(default_factory=dict)
    """What lies beside the model, by name; MLflow keeps it in ``extra_files``."""

    def save_model(self, path: str, mlflow_model: Any) -> None:
        import mlflow.sklearn

        with TemporaryDirectory() as scratch:
            extra = [Path(scratch, name) for name in self.extra_files]
            for file in extra:
                file.write_bytes(self.extra_files[file.name])
            mlflow.sklearn.save_model(
                self.pipeline,
                path,
                mlflow_model=mlflow_model,
                serialization_format="skops",
                skops_trusted_types=TRUSTED,
                signature=_signature(),
                pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
                extra_files=[str(file) for file in extra] or None,
                metadata={"target": self.target},  # which the service compares with what it serves
            )
        (Path(path) / DATA_FILE).write_bytes(self.graph)
        mlflow_model.add_flavor("onnx", data=DATA_FILE, onnx_version=version("onnx"))
        mlflow_model.save(str(Path(path) / "MLmodel"))


def log(
    champion: Champion,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    *,
    data: Sequence[tuple[str, Path, File]],
    dropped: Sequence[Mapping[str, Any]],
    tags: Mapping[str, str],
    tracking_uri: str,
    experiment: str,
    artifacts: str | None,
) -> tuple[str, str]:
    """One run of *experiment*; gives its id, and the model's location as the service takes it.

    *data* is what each file was used for, where it lies, and what is in it; *dropped* the rows of a
    table of what was not used of them.
    """
    with _mlflow(tracking_uri) as mlflow:
        place = _open(mlflow, tracking_uri, experiment, artifacts)
        with mlflow.start_run(experiment_id=place) as run:
            mlflow.set_tags(tags)
            mlflow.log_params(parameters)
            for use, path, file in data:
                mlflow.log_input(_dataset(path, file), context=use)
            mlflow.log_metrics(metrics)
            mlflow.log_table(pd.DataFrame(dropped, columns=DROPPED), "dropped.json")
            model = mlflow.models.Model.log(
                artifact_path=None, name="model", flavor=champion, flavor_name="sklearn"
            )
    return run.info.run_id, location(model.artifact_path)


@dataclass(frozen=True, slots=True)
class Search:
    """A run that has a run inside it for each trial."""

    run_id: str
    experiment_id: str
    mlflow: Any

    def trial(
        self, name: str, parameters: Mapping[str, Any], errors: Series, *, pruned: bool
    ) -> None:
        """Keep a trial, and how far off it was on its way."""
        with self.mlflow.start_run(
            experiment_id=self.experiment_id, run_name=name, nested=True
        ) as run:
            self.mlflow.log_params(parameters)
            self.mlflow.set_tag("pruned", pruned)
            _log_series(self.mlflow, run.info.run_id, errors)

    def best(self, parameters: Mapping[str, Any], name: str, error: float) -> None:
        """Keep what was found, on the outer run."""
        self.mlflow.log_params({f"best_{key}": value for key, value in parameters.items()})
        self.mlflow.log_metric(name, error)


@contextmanager
def search(tracking_uri: str, experiment: str, parameters: Mapping[str, Any]) -> Iterator[Search]:
    """A run of *experiment* for trials."""
    with _mlflow(tracking_uri) as mlflow:
        place = _open(mlflow, tracking_uri, experiment, None)
        with mlflow.start_run(experiment_id=place, run_name="search") as run:
            mlflow.log_params(parameters)
            yield Search(run.info.run_id, place, mlflow)


def attach(tracking_uri: str, run_id: str, folder: Path, name: str, metrics: Series = ()) -> None:
    """Files of *folder* as artifacts of a run, below *name*, and metrics with a step each."""
    with _mlflow(tracking_uri) as mlflow:
        mlflow.set_tracking_uri(tracking_uri)
        _log_series(mlflow, run_id, metrics)
        mlflow.MlflowClient(tracking_uri).log_artifacts(run_id, str(folder), name)


def copy(place: str, directory: Path) -> None:
    """A logged model's files into *directory*, in the place of a model that lies there."""
    if directory.exists() and any(directory.iterdir()) and not (directory / "MLmodel").exists():
        raise TrackingError(f"{directory} holds something other than a model; it was left alone.")
    with TemporaryDirectory() as scratch:
        with _mlflow(place) as mlflow:
            files = mlflow.artifacts.download_artifacts(artifact_uri=place, dst_path=scratch)
        directory = directory.resolve()
        directory.parent.mkdir(parents=True, exist_ok=True)
        unfinished = directory.with_name(f".{directory.name}.{os.getpid()}")
        try:
            shutil.copytree(files, unfinished)
            shutil.rmtree(directory, ignore_errors=True)
            unfinished.rename(directory)  # whole or not at all
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _open(mlflow: Any, tracking_uri: str, experiment: str, artifacts: str | None) -> str:
    """The id of *experiment*, made if need be; MLflow logs to *tracking_uri* from now on."""
    mlflow.set_tracking_uri(tracking_uri)
    if not tracking_uri.startswith(SQLITE):
        return _experiment(mlflow, experiment, artifacts)
    directory = Path(tracking_uri.removeprefix(SQLITE)).parent
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        return _experiment(mlflow, experiment, artifacts)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Wait for whoever else is at a database in *directory*.

    Two who make the tables of one at once leave one that nobody can use.
    """
    place = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)  # which lets the next one in


def _log_series(mlflow: Any, run_id: str, metrics: Series) -> None:
    now = int(1000 * time.time())
    entities = [mlflow.entities.Metric(name, value, now, step) for name, value, step in metrics]
    for first in range(0, len(entities), MOST_METRICS):
        mlflow.MlflowClient().log_batch(run_id, metrics=entities[first : first + MOST_METRICS])


def _experiment(mlflow: Any, name: str, artifacts: str | None) -> str:
    wanted = None if artifacts is None else location(artifacts)
    found = mlflow.get_experiment_by_name(name) or mlflow.get_experiment(
        mlflow.create_experiment(name, artifact_location=wanted)
    )
    actual = location(found.artifact_location)
    if wanted not in (None, actual):
        raise TrackingError(
            f"The experiment {name} keeps its artifacts at {actual}, not at {wanted}: "
            "leave out --artifacts, or name another --experiment."
        )
    return str(found.experiment_id)


def _dataset(directory: Path, file: File) -> Any:
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource

    source = LocalArtifactDatasetSource(str(directory / file.name))
    return MetaDataset(source, name=file.name, digest=file.sha256[:DIGITS])


def location(uri: str) -> str:
    """A place as MLflow writes it, as MODEL_LOCATION takes it."""
    if uri.startswith("s3://"):
        return uri.rstrip("/")
    if uri.startswith("file:"):
        return str(Path.from_uri(uri))
    if ":/" in uri:
        raise TrackingError(
            f"The service cannot read models from {uri}: give --artifacts s3://… or a directory."
        )
    return str(Path(uri).resolve())


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    inputs = [ColSpec("float", name) for name in INPUTS]
    return ModelSignature(Schema(inputs), Schema([TensorSpec(np.dtype(np.float64), (-1,))]))


@contextmanager
def client(tracking_uri: str) -> Iterator[Any]:
    """MLflow's client of what is tracked there, with its errors named."""
    with _mlflow(tracking_uri) as mlflow:
        database = tracking_uri.removeprefix(SQLITE)
        if tracking_uri != database and not Path(database).exists():
            raise TrackingError(f"There is no database {database}: train a model first.")
        yield mlflow.MlflowClient(tracking_uri, registry_uri=tracking_uri)


@contextmanager
def _mlflow(place: str) -> Iterator[Any]:
    """MLflow, with its talk turned off and its errors named."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # 7 are minutes of silence
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what MLflow uses, and nobody here can change
        import mlflow  # seconds, and of no use before something is to be logged
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
        except Exception as exc:  # MLflow raises whatever its stores raise
            reason = str(exc).partition("\n")[0] or type(exc).__name__
            raise TrackingError(f"MLflow cannot use {place}: {reason}") from exc
