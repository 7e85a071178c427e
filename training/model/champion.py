"""Fit the champion: what it says of a ride, and how far off that may be.

`INPUTS` says what the trees are fed; training, export and signature follow it.  Every number
that reaches a tree can be written in 32 bits: ONNX compares in 32, scikit-learn in 64, and so
`ride <= threshold` is decided the same way in both.

The interval is conformal, and as wide as the ride is uncertain.  Each ride is predicted by trees
that saw none of its day (or it is of a later month, where one is kept for this).  A second, small
set of trees learns from how far off those predictions are a *spread*, which four rides of five like
it do not pass; the interval reaches so many spreads down and up that one ride in ten lies below it,
and one above.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from model_service.features import NO_TIME, Inputs, RideColumns, table
from model_service.geography import AXES

from ..data.dataset import UNITS, DataError, Rides, Target, days, take
from ..metrics import rmse
from . import conformal

Floats = NDArray[np.float64]
type Trees = HistGradientBoostingRegressor
Metrics = dict[str, float]
Parameters = Mapping[str, Any]

NUMBERS = ("trip_distance", "weekday", "minute_of_day")
PLACES = (
    *(f"{what}_{way}" for what in ("pickup", "dropoff", "change", "sum") for way in AXES),
    "straight",
)
INPUTS: Inputs = MappingProxyType(dict.fromkeys((*PLACES, *NUMBERS), np.dtype(np.float32)))
PARAMETERS: Parameters = MappingProxyType(
    {
        "max_iter": 240,
        "learning_rate": 0.055,
        "max_leaf_nodes": 127,
        "min_samples_leaf": 50,
        "max_features": 0.4,
    }
)
ROUGH = 2
"""Other days are predicted by so many times fewer trees, which learn as much faster: that saves
time, and errors are hardly larger."""
SPREAD: Parameters = MappingProxyType(
    {
        "loss": "quantile",
        "quantile": 0.8,
        "max_iter": 60,
        "learning_rate": 0.15,
        "max_leaf_nodes": 31,
        "min_samples_leaf": 100,
        "max_bins": 63,
    }
)
WITHOUT_TIME = 0.05
"""The share of rides whose time is taken away, so that the trees learn what to say without."""
HALF_LIFE = 15  # days, after which a ride has half the weight: traffic of late is nearer to come
LEAST_WEIGHT = 0.25  # and so old months still count
FOLDS = 4
SMALLEST = 1e-3  # spread that a score is counted in
FEWEST = 100
"""Rides; with less there is nothing to learn, and the folds run empty."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model of one target."""

    value: Trees
    spread: Trees
    """How far off the value may be."""
    reach: tuple[float, float]
    """How many spreads the interval reaches down and up."""
    limits: tuple[float, float]
    """The least and the most that was learnt from; an interval goes no further, unless the value
    does."""
    constant: tuple[float, float]
    """What an interval of one width for all rides would reach down and up, to compare with."""


def champion(
    rides: Rides,
    *,
    seed: int,
    calibration: Rides | None = None,
    parameters: Parameters = PARAMETERS,
) -> Fitted:
    """Gradient boosting on places, distance and time; intervals from *calibration*, if given."""
    value = alone(rides, seed=seed, parameters=parameters)
    if calibration is None:
        known = some_without_time(rides, seed)
        off = known.target - _from_other_days(rough(parameters), known, seed)
    else:
        _enough(calibration)
        known = some_without_time(calibration, seed)
        off = known.target - ask(value, known.columns)
    errors = replace(known, target=np.abs(off))
    spread = trees(SPREAD, errors, seed)
    expected = np.maximum(_from_other_days(SPREAD, errors, seed), SMALLEST)
    limits = (float(rides.target.min()), float(rides.target.max()))
    return Fitted(
        value,
        spread,
        reach=conformal.reach(off / expected, weights(known)),
        limits=limits,
        constant=conformal.reach(off, weights(known)),
    )


def alone(rides: Rides, *, seed: int, parameters: Parameters = PARAMETERS) -> Trees:
    """What the champion says of a ride, without how far off that may be: a fifth of the work."""
    _enough(rides)
    return trees(parameters, some_without_time(rides, seed), seed)


def trees(parameters: Parameters, rides: Rides, seed: int) -> Trees:
    """Gradient boosting, with thresholds of 32 bits."""
    model = HistGradientBoostingRegressor(**parameters, early_stopping=False, random_state=seed)
    with one_thread():
        model.fit(frame(rides.columns), rides.target, sample_weight=weights(rides))
    for [tree] in model._predictors:
        tree.nodes["num_threshold"] = floor_32(tree.nodes["num_threshold"])
    return model


def rough(parameters: Parameters) -> Parameters:
    """
    >>> rough({"max_iter": 240, "learning_rate": 0.055})
    {'max_iter': 120, 'learning_rate': 0.11}
    """
    return {
        **parameters,
        "max_iter": parameters["max_iter"] // ROUGH,
        "learning_rate": parameters["learning_rate"] * ROUGH,
    }


def weights(rides: Rides) -> Floats:
    """What each ride counts for: those of the last day 1, and less the longer ago they were."""
    day = days(rides)
    last = np.quantile(day, 0.99)  # and not of a stray date
    counts: Floats = np.maximum(0.5 ** (np.maximum(last - day, 0) / HALF_LIFE), LEAST_WEIGHT)
    return counts


def frame(columns: RideColumns) -> pd.DataFrame:
    """Rides as the champion takes them."""
    return pd.DataFrame(table(columns, INPUTS))


def ask(model: Trees, columns: RideColumns) -> Floats:
    """What trees say of rides, in order."""
    with one_thread():
        answers: Floats = model.predict(frame(columns))
    return answers


def predict(champion: Fitted, columns: RideColumns) -> Floats:
    """What the champion says of rides, in order."""
    return ask(champion.value, columns)


def says(champion: Fitted, columns: RideColumns) -> tuple[Floats, Floats]:
    """The same, and low and high, shape (n, 2)."""
    value, spread = ask(champion.value, columns), ask(champion.spread, columns)
    return value, conformal.intervals(value, spread, champion.reach, champion.limits)


def metrics(true: Floats, predicted: Floats, target: Target) -> Metrics:
    """How far off predictions are, in the target's unit."""
    error = predicted - true
    return {
        f"rmse_{UNITS[target]}": rmse(error),
        f"mae_{UNITS[target]}": float(np.mean(np.abs(error))),
        "rides": len(error),
    }


def floor_32(values: Floats) -> Floats:
    """The largest 32-bit numbers that are not above *values*.

    The nearest may be above; a ride between the two would change sides.

    >>> floor_32(np.array([0.1, 0.5])) <= np.array([0.1, 0.5])
    array([ True,  True])
    """
    nearest = values.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > values, below, nearest).astype(np.float64)


def _from_other_days(parameters: Parameters, rides: Rides, seed: int) -> Floats:
    """Predictions for each ride by trees that saw no ride of its day."""
    fold = _folds(rides)
    predicted = np.empty(len(rides))
    for one in range(FOLDS):
        mine = fold == one
        if mine.any():
            model = trees(parameters, take(rides, ~mine), seed)
            predicted[mine] = ask(model, take(rides, mine).columns)
    return predicted


def _folds(rides: Rides) -> NDArray[np.int64]:
    """A fold for each ride: days take turns, or rides where there are too few days."""
    _, number = np.unique(days(rides), return_inverse=True)
    return (number if number.max() + 1 >= FOLDS else np.arange(len(rides))) % FOLDS


def one_thread() -> threadpool_limits:
    # Trees this small gain little from more, and lose much where the other cores are busy.
    return threadpool_limits(1, user_api="openmp")


def some_without_time(rides: Rides, seed: int) -> Rides:
    """The rides, the time of a share of `WITHOUT_TIME` taken away."""
    blank = np.random.default_rng(seed).random(len(rides)) < WITHOUT_TIME
    times = np.where(blank, NO_TIME, rides.columns.picked_up)
    return replace(rides, columns=replace(rides.columns, picked_up=times))


def _enough(rides: Rides) -> None:
    if len(rides) < FEWEST:
        raise DataError(f"There are {len(rides)} rides to train on; it takes {FEWEST}.")
