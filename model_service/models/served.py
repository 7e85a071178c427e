"""Loads the models that an interface serves: for durations and, if one is configured, for costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..scoring import Model, Target
from ..settings import PairSettings
from . import loader
from .description import TrainingRides


@dataclass(frozen=True, slots=True)
class Served:
    """A model and the target that it predicts."""

    model: Model
    target: Target
    sha256: str = ""
    """The digest of the model's files; empty for a model that was not loaded from files."""
    training_rides: TrainingRides | None = None
    """The rides on which the model was trained; None if the model does not name them."""


@dataclass(frozen=True, slots=True)
class Models:
    """The duration model and the cost model; *cost* is None if no cost model is configured."""

    duration: Served
    cost: Served | None = None

    def __iter__(self) -> Iterator[Served]:
        yield self.duration
        if self.cost:
            yield self.cost


def load(settings: PairSettings) -> Models:
    """Load the models that *settings* name, and warm them up.

    Raises `ModelError` if a model cannot be loaded, is not trusted, or fails on the warm-up ride.
    """
    duration = Target(minimum=settings.prediction_min, maximum=settings.prediction_max)
    cost = Target(
        "ride_cost_prediction_model",
        "ride_cost",
        settings.cost_prediction_min,
        settings.cost_prediction_max,
    )

    def served(location: str, sha256: str, target: Target) -> Served:
        allow_pickled = settings.allow_pickled_models
        model = loader.load(
            location, sha256=sha256, allow_pickled=allow_pickled, field=target.field
        )
        return Served(model, target, model.sha256, model.training_rides)

    return Models(
        served(settings.model_location, settings.model_sha256, duration),
        served(settings.cost_model_location, settings.cost_model_sha256, cost)
        if settings.cost_model_location
        else None,
    )
