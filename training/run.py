"""The sequence: read, fit, test, export, log, and load what was logged as the service would.

Nothing is logged before the model has been tested and its ONNX form proven; nothing is returned
before the service's own loader has scored a ride with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_service import artifacts, flavours, model

from . import baselines, data, drift, evaluation, export, fit, report, tracking
from .card import Facts, Rows
from .data import Rides, Target
from .provenance import environment, fingerprint, revision, together
from .schema import TAXIS, Kind
from .span import first_day

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
    kind: Kind = "green"
    experiment: str = "ride-predictions"
    calibrate: str | None = None
    """The month between that the intervals are calibrated on; None for the rides of `train`."""
    most: int = 1_000_000
    """Rides to train on; of more, a random share: memory and time are bounded by this."""
    seed: int = 0
    parameters: fit.Parameters = fit.PARAMETERS
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
    _in_order(plan)
    read = dict(_read(plan, step))
    rides = data.join([read[month].rides for month in plan.train])
    test = read[plan.test].rides
    files = [of.rows for of in read.values()]

    step(f"fitting a model to {len(rides):,} rides")
    calibration = read[plan.calibrate].rides if plan.calibrate else None
    champion = fit.champion(
        rides, seed=plan.seed, calibration=calibration, parameters=plan.parameters
    )
    predicted = fit.predict(champion, test.columns)
    step("fitting the linear baseline")
    linear = baselines.linear(rides, plan.seed)(test.columns)
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
        trained = report.Trained(served.predict, rides, tested, plan.seed, plan.parameters)
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


class _Month(NamedTuple):
    rides: Rides
    rows: Rows


def _read(plan: Plan, step: Step) -> Iterable[tuple[str, _Month]]:
    uses = dict.fromkeys(plan.train, "training") | {plan.test: "test"}
    if plan.calibrate:
        uses[plan.calibrate] = "calibration"
    share = _share(plan)
    for month, use in sorted(uses.items()):
        step(f"reading {month}")
        rides, tally = data.read_counted(plan.data, month, plan.target, plan.kind)
        if use == "training" and share < 1:
            rides, tally = data.thin(rides, tally, share, plan.seed)
        file = fingerprint(plan.data / TAXIS[plan.kind].file(month))
        yield month, _Month(rides, Rows(month, use, file, tally))


def _share(plan: Plan) -> float:
    """Of the rides to train on; the files say how many there are without being read."""
    rows = sum(data.rows(plan.data, month, plan.kind) for month in plan.train)
    return min(1.0, plan.most / max(rows, 1))


def _in_order(plan: Plan) -> None:
    for month in filter(None, [*plan.train, plan.calibrate, plan.test]):
        first_day(month)  # raises where it is none
    last = max(plan.train)
    if plan.calibrate:
        if plan.calibrate <= last:
            raise data.DataError(
                f"{plan.calibrate} cannot calibrate what is trained on {last}: "
                "name a later --calibrate."
            )
        last = plan.calibrate
    if plan.test <= last:
        raise data.DataError(
            f"{plan.test} cannot test what is trained on {last}: name a later --test."
        )


def _parameters(plan: Plan, rides: Rides) -> dict[str, object]:
    return {
        "train": ",".join(plan.train),
        "calibrate": plan.calibrate or "",
        "test": plan.test,
        "target": plan.target,
        "kind": plan.kind,
        "most": plan.most,
        "seed": plan.seed,
        "rides": len(rides),
        **plan.parameters,
    }


def _flat(metrics: dict[str, fit.Metrics]) -> fit.Metrics:
    return {
        f"{of}_{name}": value for of, values in metrics.items() for name, value in values.items()
    }
