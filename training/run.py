"""The sequence: read, fit, test, export, log, and load what was logged as the service would.

Nothing is logged before the model has been tested and its ONNX form proven; nothing is returned
before the service's own loader has scored a ride with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_service import artifacts, flavours, model
from model_service.features import rows

from . import data, drift, evaluation, export, fit, report, tracking
from .card import Facts, Rows
from .data import Rides, Target
from .provenance import environment, fingerprint, revision, together
from .quality import Tally
from .schema import GREEN

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
    card: bool = True
    """Whether pictures and a model card are made; without one no model is promoted."""


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
    *trained_on, (test, _) = read = list(_read(plan, [*plan.train, plan.test], step))
    rides = data.join([part for part, _ in trained_on])
    files = _files(plan, [tally for _, tally in read])

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

    ask = flavours.onnx(graph)
    step("describing the rides")
    described = drift.baseline(
        rides, ask(rides.columns).values, target=plan.target, months=plan.train
    )

    step("logging to MLflow")
    run_id, location = tracking.log(
        tracking.Champion(
            champion.value, graph, {Path(drift.FILE).name: msgspec.json.encode(described)}
        ),
        _parameters(plan, rides),
        {**_flat(metrics), "onnx_largest_difference": difference},
        data=[(of.use, plan.data, of.file) for of in files],
        dropped=[
            {"month": of.month, "use": of.use, "reason": reason, "rows": rows}
            for of in files
            for reason, rows in of.tally.dropped.items()
        ],
        tags={
            "mlflow.source.git.commit": revision(),
            "data_sha256": together(of.file for of in files),
            **environment(),
        },
        tracking_uri=plan.tracking_uri,
        experiment=plan.experiment,
        artifacts=plan.artifacts,
    )
    step("loading it as the service does")
    digest = hashlib.sha256(artifacts.at(location).read("MLmodel") + graph).hexdigest()
    served = model.load(location, sha256=digest)  # which scores a ride
    hour = test.columns.hour
    result = Result(run_id, location, digest, metrics, test.target, predicted, hour)
    if plan.card:
        step("drawing pictures, and writing the model's card")
        tested = evaluation.ask_month(served.predict, plan.test, test)
        trained = report.Trained(served.predict, rides, tested, plan.seed)
        facts = _facts(plan, trained, result, files, difference, described.plausible.value)
        report.write(trained, facts, plan.tracking_uri)
    return result


def _facts(
    plan: Plan,
    trained: report.Trained,
    result: Result,
    files: Sequence[Rows],
    difference: float,
    plausible: tuple[float, float],
) -> Facts:
    return Facts(
        target=plan.target,
        run_id=result.run_id,
        location=result.model_location,
        sha256=result.model_sha256,
        revision=revision(),
        features=tuple(fit.INPUTS),
        parameters=_parameters(plan, trained.rides),
        environment=environment(),
        rows=files,
        parts=evaluation.parts(trained.test),
        baseline_rmse=result.metrics["baseline_linear"][f"rmse_{data.UNITS[plan.target]}"],
        one_ride_ms=report.one_ride_ms(trained.ask),
        largest_difference=difference,
        plausible=plausible,
    )


def _files(plan: Plan, tallies: Sequence[Tally]) -> list[Rows]:
    return [
        Rows(
            month,
            "test" if month == plan.test else "training",
            fingerprint(plan.data / GREEN.file(month)),
            tally,
        )
        for month, tally in zip([*plan.train, plan.test], tallies, strict=True)
    ]


def _read(plan: Plan, months: Iterable[str], step: Step) -> Iterable[tuple[Rides, Tally]]:
    for month in months:
        step(f"reading {month}")
        yield data.read_counted(plan.data, month, plan.target)


def _parameters(plan: Plan, rides: Rides) -> dict[str, object]:
    of_plan = {key: asdict(plan)[key] for key in ("train", "test", "target", "seed")}
    return {**of_plan, "train": ",".join(plan.train), "rides": len(rides), **fit.PARAMETERS}


def _flat(metrics: dict[str, fit.Metrics]) -> fit.Metrics:
    return {
        f"{of}_{name}": value for of, values in metrics.items() for name, value in values.items()
    }
