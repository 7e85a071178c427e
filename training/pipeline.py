"""Runs the steps of training: read, fit, test, export, log, load and report.

A model is logged only after it was tested and compared with its export to ONNX.  `train` returns
only after the service's own loader has loaded the logged model and predicted a ride with it.
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

from . import drift, inputs, metrics
from .data.dataset import UNITS
from .data.provenance import combined_sha256, environment, revision
from .inputs import OnStep, TrainingData
from .model import baselines, champion, export
from .model.champion import ErrorMetrics, FittedChampion
from .plan import TrainingPlan, check, run_parameters
from .registry import promotion, tracking
from .registry.tracking import Destination, RunRecord
from .registry.two_flavour_model import TwoFlavourModel
from .reports import training_report
from .reports.model_card import CardFacts


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A logged model, its errors, and its predictions for the rides of the test month.

    *true*, *predicted* and *hour* are the true value, the prediction and the hour of pick-up of
    each of these rides, shape (n,).
    """

    run_id: str
    model_location: str
    """The location in the form of the setting MODEL_LOCATION."""
    model_sha256: str
    metrics: dict[str, ErrorMetrics]
    """The errors of the model (``test``) and of the linear baseline (``baseline_linear``)."""
    true: NDArray[np.float64]
    predicted: NDArray[np.float64]
    hour: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TestedModel:
    """A fitted model, and its predictions and errors for the rides of the test month."""

    champion: FittedChampion
    predicted: NDArray[np.float64]
    metrics: dict[str, ErrorMetrics]


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """The ONNX graph of a model; its predictions were compared with those of the fitted model."""

    graph: bytes
    difference: float
    """The largest difference between their predictions, in minutes or dollars."""
    baseline: drift.Baseline


def train(plan: TrainingPlan, *, on_step: OnStep) -> TrainingResult:
    """Train and log one model.  Raises a `ServiceError` if it cannot be trained or logged."""
    check(plan)
    data = inputs.read(plan, on_step)
    tested = _fit_and_test(plan, data, on_step)
    exported = _export(plan, data, tested, on_step)
    on_step("logging to MLflow")
    run_id, location = _log(plan, data, tested, exported)
    on_step("loading the model as the service does")
    digest = hashlib.sha256(storage.at(location).read("MLmodel") + exported.graph).hexdigest()
    served = loader.load(location, sha256=digest)  # also predicts a ride, as a check
    result = TrainingResult(
        run_id, location, digest, tested.metrics,
        data.test.target, tested.predicted, data.test.columns.hour,
    )  # fmt: skip
    if plan.card:
        on_step("drawing plots and writing the model card")
        _attach_report(plan, data, exported, served, result)
    return result


def _fit_and_test(plan: TrainingPlan, data: TrainingData, on_step: OnStep) -> TestedModel:
    on_step(f"fitting a model to {len(data.training):,} rides")
    fitted = champion.fit(
        data.training,
        seed=plan.seed,
        calibration=data.calibration,
        parameters=plan.parameters,
        spread_parameters=plan.spread_parameters,
    )
    predicted = champion.predict(fitted, data.test.columns)
    on_step("fitting the linear baseline")
    linear = baselines.linear(data.training, plan.seed)(data.test.columns)
    errors = {
        "test": champion.error_metrics(data.test.target, predicted, plan.target),
        "baseline_linear": champion.error_metrics(data.test.target, linear, plan.target),
    }
    return TestedModel(fitted, predicted, errors)


def _export(
    plan: TrainingPlan, data: TrainingData, tested: TestedModel, on_step: OnStep
) -> ExportedModel:
    on_step("exporting to ONNX and comparing the predictions")
    graph = export.to_onnx(tested.champion)
    difference = export.largest_difference(tested.champion, graph, data.test.columns)
    on_step("computing the baseline for drift")
    predict = flavours.onnx(graph)
    test = metrics.evaluate_month(predict, plan.test, data.test)
    baseline = drift.baseline(
        data.training,
        predict(data.training.columns).values,
        target=plan.target,
        months=plan.train,
        test=drift.month_errors(plan.test, test),
    )
    return ExportedModel(graph, difference, baseline)


def _log(
    plan: TrainingPlan, data: TrainingData, tested: TestedModel, exported: ExportedModel
) -> tuple[str, str]:
    extra_files = {Path(drift.FILE).name: msgspec.json.encode(exported.baseline)}
    model = TwoFlavourModel(
        plan.target, tested.champion.value, exported.graph, data.described(), extra_files
    )
    errors = {
        f"{key}_{name}": value
        for key, values in tested.metrics.items()
        for name, value in values.items()
    }
    record = RunRecord(
        parameters=run_parameters(plan, len(data.training)),
        metrics={**errors, "onnx_largest_difference": exported.difference},
        tags={
            "mlflow.source.git.commit": revision(),
            "data_sha256": combined_sha256(one.file for one in data.months),
            **environment(),
        },
        directory=plan.data,
        months=data.months,
        dropped=data.dropped(),
    )
    return tracking.log(
        model, record, Destination(plan.tracking_uri, plan.experiment, plan.artifacts)
    )


def _attach_report(
    plan: TrainingPlan,
    data: TrainingData,
    exported: ExportedModel,
    served: LoadedModel,
    result: TrainingResult,
) -> None:
    test = metrics.evaluate_month(served.predict, plan.test, data.test)
    facts = CardFacts(
        target=plan.target,
        run_id=result.run_id,
        location=result.model_location,
        sha256=result.model_sha256,
        revision=revision(),
        features=tuple(champion.INPUTS),
        parameters=run_parameters(plan, len(data.training)),
        environment=environment(),
        months=data.months,
        parts=metrics.by_part(test),
        baseline_rmse=result.metrics["baseline_linear"][f"rmse_{UNITS[plan.target]}"],
        one_ride_ms=training_report.one_ride_ms(served.predict),
        largest_difference=exported.difference,
        plausible=exported.baseline.plausible.value,
    )
    trained = training_report.TrainedModel(
        served.predict, data.training, test, plan.seed, plan.parameters
    )
    tracking.attach(
        plan.tracking_uri,
        result.run_id,
        promotion.CARD_FOLDER,
        training_report.build(trained, facts),
        training_report.metric_series(facts.parts, plan.target),
    )
