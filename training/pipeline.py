"""The sequence: read, fit, test, export, log, and load what was logged as the service would.

Nothing is logged before the model has been tested and its ONNX form proven; nothing is returned
before the service's own loader has scored a ride with it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_service import storage
from model_service.models import flavours, loader
from model_service.models.loader import LoadedModel

from . import drift, inputs
from . import metrics as evaluation
from .data import dataset
from .data.provenance import environment, revision, together
from .inputs import Months, Step
from .model import baselines, export
from .model import champion as fit
from .plan import Plan as Plan
from .plan import check, told
from .registry import tracking
from .reports import training_report
from .reports.model_card import Facts


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


@dataclass(frozen=True, slots=True)
class Tested:
    """A model that is not logged yet, and how it did."""

    champion: fit.Fitted
    predicted: NDArray[np.float64]
    """Of the test month."""
    metrics: dict[str, fit.Metrics]


@dataclass(frozen=True, slots=True)
class Proven:
    """Its form for the service, which answers as it does."""

    graph: bytes
    difference: float
    """The largest between both forms, in minutes or dollars."""
    described: drift.Baseline
    """The rides that it was trained on."""


def train(plan: Plan, *, step: Step) -> Result:
    """Train and log one model.  Raises a `ServiceError` where that is not to be."""
    check(plan)
    read = inputs.read(plan, step)
    tested = _test(plan, read, step)
    proven = _prove(plan, read, tested, step)
    step("logging to MLflow")
    run_id, location = _log(plan, read, tested, proven)
    step("loading it as the service does")
    digest = hashlib.sha256(storage.at(location).read("MLmodel") + proven.graph).hexdigest()
    served = loader.load(location, sha256=digest)  # which scores a ride
    result = Result(
        run_id, location, digest, tested.metrics,
        read.test.target, tested.predicted, read.test.columns.hour,
    )  # fmt: skip
    if plan.card:
        step("drawing pictures, and writing the model's card")
        _report(plan, read, proven, served, result)
    return result


def _test(plan: Plan, read: Months, step: Step) -> Tested:
    step(f"fitting a model to {len(read.training):,} rides")
    champion = fit.champion(
        read.training, seed=plan.seed, calibration=read.calibration, parameters=plan.parameters
    )
    predicted = fit.predict(champion, read.test.columns)
    step("fitting the linear baseline")
    linear = baselines.linear(read.training, plan.seed)(read.test.columns)
    metrics = {
        "test": fit.metrics(read.test.target, predicted, plan.target),
        "baseline_linear": fit.metrics(read.test.target, linear, plan.target),
    }
    return Tested(champion, predicted, metrics)


def _prove(plan: Plan, read: Months, tested: Tested, step: Step) -> Proven:
    step("exporting to ONNX, and comparing")
    graph = export.to_onnx(tested.champion)
    difference = export.largest_difference(tested.champion, graph, read.test.columns)
    step("describing the rides")
    answers = flavours.onnx(graph)(read.training.columns)
    described = drift.baseline(read.training, answers.values, target=plan.target, months=plan.train)
    return Proven(graph, difference, described)


def _log(plan: Plan, read: Months, tested: Tested, proven: Proven) -> tuple[str, str]:
    described = {Path(drift.FILE).name: msgspec.json.encode(proven.described)}
    return tracking.log(
        tracking.Champion(plan.target, tested.champion.value, proven.graph, described),
        told(plan, len(read.training)),
        {**_flat(tested.metrics), "onnx_largest_difference": proven.difference},
        data=[(of.use, plan.data, of.file) for of in read.rows],
        dropped=read.dropped(),
        tags={
            "mlflow.source.git.commit": revision(),
            "data_sha256": together(of.file for of in read.rows),
            **environment(),
        },
        tracking_uri=plan.tracking_uri,
        experiment=plan.experiment,
        artifacts=plan.artifacts,
    )


def _report(plan: Plan, read: Months, proven: Proven, served: LoadedModel, result: Result) -> None:
    tested = evaluation.ask_month(served.predict, plan.test, read.test)
    facts = Facts(
        target=plan.target,
        run_id=result.run_id,
        location=result.model_location,
        sha256=result.model_sha256,
        revision=revision(),
        features=tuple(fit.INPUTS),
        parameters=told(plan, len(read.training)),
        environment=environment(),
        rows=read.rows,
        parts=evaluation.parts(tested),
        baseline_rmse=result.metrics["baseline_linear"][f"rmse_{dataset.UNITS[plan.target]}"],
        one_ride_ms=training_report.one_ride_ms(served.predict),
        largest_difference=proven.difference,
        plausible=proven.described.plausible.value,
    )
    trained = training_report.Trained(
        served.predict, read.training, tested, plan.seed, plan.parameters
    )
    training_report.write(trained, facts, plan.tracking_uri)


def _flat(metrics: dict[str, fit.Metrics]) -> fit.Metrics:
    return {
        f"{of}_{name}": value for of, values in metrics.items() for name, value in values.items()
    }
