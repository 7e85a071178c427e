"""The models of a door that answers with durations, and with costs where it has a model of them."""

from __future__ import annotations

from ..scoring import Target
from ..settings import BatchSettings, WebSettings
from ..web.quotes import Models, Served
from . import loader


def load(settings: BatchSettings | WebSettings) -> Models:
    """The models that *settings* name, warmed up.  Raises `ModelError`."""
    durations = Target(minimum=settings.prediction_min, maximum=settings.prediction_max)
    duration = loader.load(
        settings.model_location,
        sha256=settings.model_sha256,
        allow_pickled=settings.allow_pickled_models,
        field=durations.field,
    )
    if not settings.cost_model_location:
        return Models(Served(duration, durations))
    costs = Target(
        "ride_cost_prediction_model",
        "ride_cost",
        settings.cost_prediction_min,
        settings.cost_prediction_max,
    )
    cost = loader.load(
        settings.cost_model_location,
        sha256=settings.cost_model_sha256,
        allow_pickled=settings.allow_pickled_models,
        field=costs.field,
    )
    return Models(Served(duration, durations), Served(cost, costs))
