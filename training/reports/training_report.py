"""Builds the report on one training run: the metrics of all parts, the plots and the model card.

The report is built after the service's own loader has loaded the logged model and predicted with
it, so a run has a card only if the service can load its model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from model_service.features import columns
from model_service.scoring import WARM_UP

from .. import metrics
from ..data.dataset import UNITS, Rides, Target
from ..metrics import Evaluation, PartMetrics, Predict
from ..model import champion
from ..model.parameters import Parameters
from . import model_card, plots, svg_style
from .model_card import CardFacts
from .plots import LearningPoint, Plot

LEARNING_SHARES = (0.05, 0.25)
"""The learning curve also shows models trained on these shares of the rides."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A logged model with its training rides and its predictions for the test rides."""

    predict: Predict
    rides: Rides
    test: Evaluation
    seed: int
    parameters: Parameters


def build(trained: TrainedModel, facts: CardFacts) -> Mapping[str, str]:
    """Return the files of the report: path below the run's ``card`` folder -> text of the file."""
    drawn = _plots(trained, facts)
    text = model_card.markdown(facts, drawn)
    return {
        **{f"pictures/{plot.name}.svg": svg_style.standalone(plot.svg) for plot in drawn},
        model_card.TEXT: text,
        model_card.PAGE: model_card.page(text, drawn),
        "parts.json": _json([asdict(part) for part in facts.parts]),
        "data.json": _json([asdict(month) for month in facts.months]),
    }


def metric_series(parts: Sequence[PartMetrics], target: Target) -> list[tuple[str, float, int]]:
    """Return the metrics of all parts as triples (name, value, step).

    The step is the hour of pick-up for the parts of kind ``hour``, and 0 for all other parts.
    """
    unit = UNITS[target]
    series = []
    for part in parts:
        values = {f"rmse_{unit}": part.rmse, f"mae_{unit}": part.mae}
        values |= {f"median_{unit}": part.median, f"p90_{unit}": part.p90}
        values |= {"close": part.close, "rides": part.rides}
        values |= {} if part.coverage is None else {"coverage": part.coverage}
        is_hour = part.kind == "hour" and part.name.isdecimal()
        prefix = part.kind if is_hour or part.kind == "all" else f"{part.kind}/{part.name}"
        step = int(part.name) if is_hour else 0
        series += [(f"{prefix}/{name}", value, step) for name, value in values.items()]
    return series


def one_ride_ms(predict: Predict) -> float:
    """Return the time in milliseconds that *predict* takes for one ride."""
    return metrics.milliseconds(predict, columns([WARM_UP]), calls=100)


def _plots(trained: TrainedModel, facts: CardFacts) -> list[Plot]:
    subsets = metrics.nested_subsets(trained.rides, LEARNING_SHARES, seed=trained.seed)
    learning = [
        _learning_point(some, trained) for some in subsets if len(some) >= champion.MIN_RIDES
    ]
    return plots.all_plots(
        trained.test,
        facts.parts,
        importances=metrics.importance(trained.predict, trained.test.rides, seed=trained.seed),
        learning=[*learning, LearningPoint(len(trained.rides), facts.parts[0].rmse)],
        baseline=facts.baseline_rmse,
        unit=UNITS[facts.target],
    )


def _learning_point(some: Rides, trained: TrainedModel) -> LearningPoint:
    model = champion.fit_value(some, seed=trained.seed, parameters=trained.parameters)
    test = trained.test.rides
    error = champion.predict_trees(model, test.columns) - test.target
    return LearningPoint(len(some), metrics.rmse(error))


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
