"""The sequence: read, fit, test, export, log, and load what was logged as the service would.

Nothing is logged before the model has been tested and its ONNX form proven; nothing is returned
before the service's own loader has scored a ride with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_service import artifacts, model
from model_service.features import rows

from . import data, export, fit, tracking
from .data import Rides, Target

Step = Callable[[str], None]
"""Told what is about to be done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train on what, and where to log it."""

    data: Path
    train: tuple[str, ...]
    """Months, YYYY-MM."""
    test: str
    target: Target
    tracking_uri: str
    artifacts: str | None
    """``s3://…`` or a directory; None for where MLflow puts them."""
    experiment: str = "ride-predictions"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """A logged model, and how it did on the test month."""

    run_id: str
    model_location: str
    """What MODEL_LOCATION takes."""
    model_sha256: str
    metrics: dict[str, fit.Metrics]
    """``test`` and ``baseline_linear``."""
    true: NDArray[np.float64]
    predicted: NDArray[np.float64]
    hour: NDArray[np.float64]


def train(plan: Plan, *, step: Step) -> Result:
    """Train and log one model.  Raises a `ServiceError` where that is not to be."""
    if plan.test <= max(plan.train):
        raise data.DataError(
            f"{plan.test} cannot test what is trained on {max(plan.train)}: name a later --test."
        )
    rides = data.join(list(_read(plan, plan.train, step)))
    [test] = _read(plan, [plan.test], step)

    step(f"fitting a model to {len(rides):,} rides")
    champion = fit.champion(rides, seed=plan.seed)
    predicted = fit.predict(champion, test.columns)
    step("fitting the linear baseline")
    linear = fit.baseline(rides).predict(rows(test.columns))
    metrics = {
        "test": fit.metrics(test.target, predicted, plan.target),
        "baseline_linear": fit.metrics(test.target, linear, plan.target),
    }

    step("exporting to ONNX, and comparing")
    graph = export.to_onnx(champion)
    difference = export.largest_difference(champion, graph, test.columns)

    step("logging to MLflow")
    run_id, location = tracking.log(
        tracking.Champion(champion.value, graph),
        _parameters(plan, rides),
        {**_flat(metrics), "onnx_largest_difference": difference},
        tracking_uri=plan.tracking_uri,
        experiment=plan.experiment,
        artifacts=plan.artifacts,
    )
    step("loading it as the service does")
    digest = hashlib.sha256(artifacts.at(location).read("MLmodel") + graph).hexdigest()
    model.load(location, sha256=digest)  # which scores a ride
    hour = test.columns.hour
    return Result(run_id, location, digest, metrics, test.target, predicted, hour)


def _read(plan: Plan, months: Iterable[str], step: Step) -> Iterable[Rides]:
    for month in months:
        step(f"reading {month}")
        yield data.read(plan.data, month, plan.target)


def _parameters(plan: Plan, rides: Rides) -> dict[str, object]:
    of_plan = {key: asdict(plan)[key] for key in ("train", "test", "target", "seed")}
    return {**of_plan, "train": ",".join(plan.train), "rides": len(rides), **fit.PARAMETERS}


def _flat(metrics: dict[str, fit.Metrics]) -> fit.Metrics:
    return {
        f"{of}_{name}": value for of, values in metrics.items() for name, value in values.items()
    }
