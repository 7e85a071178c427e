"""The champion: gradient-boosted trees that predict a value, and an interval around the value.

`INPUTS` lists the features of the trees.  Training, the ONNX export and the model's signature use
this list.  Features and thresholds of the trees are 32-bit numbers, because ONNX compares 32-bit
numbers and scikit-learn compares 64-bit numbers.  Without this, the result of `feature <=
threshold` could differ between the two.

The interval is conformal (see `conformal`), and wider for rides that are harder to predict.  The
errors of predictions are computed for each training ride, by trees that were not trained on any
ride of the same day.  (If there is a calibration month, they are computed for its rides instead, by
trees that were trained on the training months only.)  A second, smaller model learns the *spread*
from these errors: an absolute error that four of five similar rides do not exceed.  The interval
extends below and above the value by fixed multiples of the spread.  The multiples are chosen so
that one ride in ten is below the interval and one ride in ten is above it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from model_service.features import NO_TIME, Inputs, RideColumns, table
from model_service.zones import AXES

from ..data.dataset import UNITS, DataError, Rides, Target, days, take
from ..metrics import close_share, rmse
from . import conformal
from .parameters import DEFAULTS, Parameters

Floats = NDArray[np.float64]
type Trees = HistGradientBoostingRegressor
ErrorMetrics = dict[str, float]

NUMBERS = ("trip_distance", "weekday", "minute_of_day")
"""Features that are inputs of the ONNX graph.  Add a new feature here."""
ZONE_FEATURES = (
    *(f"{name}_{axis}" for name in ("pickup", "dropoff", "change", "sum") for axis in AXES),
    "straight",
)
"""Features that the ONNX graph computes from the two zones of a ride; see `onnx_graph`."""
INPUTS: Inputs = MappingProxyType(dict.fromkeys((*ZONE_FEATURES, *NUMBERS), np.dtype(np.float32)))
FOLD_SPEEDUP = 2
"""The factor by which the models of folds have fewer trees and a higher learning rate.

This saves time and hardly increases their errors.
"""
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
HIDDEN_TIMES = 0.05
"""The share of training rides whose time is hidden, so that the trees learn to predict without it.
"""
HALF_LIFE = 15  # days, after which a ride has half the weight: recent traffic predicts better
MIN_WEIGHT = 0.25  # so that rides of old months still count
FOLDS = 4
MIN_SPREAD = 1e-3  # minutes or dollars; scores are divided by the spread
MIN_RIDES = 100
"""The minimum number of rides.  Fewer are too few to learn from, and a fold could be empty."""


@dataclass(frozen=True, slots=True)
class FittedChampion:
    """The fitted trees and interval parameters of the champion for one target."""

    value: Trees
    spread: Trees
    """Trees that predict the spread, an upper estimate of the absolute error of the value."""
    reach: tuple[float, float]
    """Multiples of the spread by which the interval extends below and above the value."""
    limits: tuple[float, float]
    """The least and greatest true value in training.  The interval is cut at these limits, except
    that it always contains the value."""
    constant: tuple[float, float]
    """The distances from the value to the ends of an interval that is equally wide for all rides,
    in minutes or dollars.  They are used only to compare such intervals with those of the champion.
    """


def fit(
    rides: Rides,
    *,
    seed: int,
    calibration: Rides | None = None,
    parameters: Parameters = DEFAULTS,
    spread_parameters: Parameters = SPREAD,
) -> FittedChampion:
    """Fit the champion to *rides*, and its intervals to *calibration* if it is given.

    Raises `DataError` if there are fewer than `MIN_RIDES` rides.
    """
    value = fit_value(rides, seed=seed, parameters=parameters)
    if calibration is None:
        known = with_hidden_times(rides, seed)
        error = known.target - _predict_by_fold(fewer_trees(parameters), known, seed)
    else:
        _check_size(calibration)
        known = with_hidden_times(calibration, seed)
        error = known.target - predict_trees(value, known.columns)
    absolute = replace(known, target=np.abs(error))
    spread = fit_trees(spread_parameters, absolute, seed)
    expected = np.maximum(_predict_by_fold(spread_parameters, absolute, seed), MIN_SPREAD)
    return FittedChampion(
        value,
        spread,
        reach=conformal.reach(error / expected, weights(known)),
        limits=(float(rides.target.min()), float(rides.target.max())),
        constant=conformal.reach(error, weights(known)),
    )


def fit_value(rides: Rides, *, seed: int, parameters: Parameters = DEFAULTS) -> Trees:
    """Fit only the trees of the value, which takes a fifth of the time of `fit`.

    Raises `DataError` if there are fewer than `MIN_RIDES` rides.
    """
    _check_size(rides)
    return fit_trees(parameters, with_hidden_times(rides, seed), seed)


def fit_trees(parameters: Parameters, rides: Rides, seed: int) -> Trees:
    """Fit gradient-boosted trees and round their thresholds to 32-bit numbers."""
    model = HistGradientBoostingRegressor(**parameters, early_stopping=False, random_state=seed)
    with one_thread():
        model.fit(frame(rides.columns), rides.target, sample_weight=weights(rides))
    for [tree] in model._predictors:
        tree.nodes["num_threshold"] = floor_32(tree.nodes["num_threshold"])
    return model


def fewer_trees(parameters: Parameters) -> Parameters:
    """Return *parameters* with fewer trees and a higher learning rate by the factor `FOLD_SPEEDUP`.

    >>> fewer_trees({"max_iter": 240, "learning_rate": 0.055})
    {'max_iter': 120, 'learning_rate': 0.11}
    """
    return {
        **parameters,
        "max_iter": parameters["max_iter"] // FOLD_SPEEDUP,
        "learning_rate": parameters["learning_rate"] * FOLD_SPEEDUP,
    }


def weights(rides: Rides) -> Floats:
    """Return the weight of each ride, shape (n,): 1 on the last day, and less for older rides."""
    day = days(rides)
    last = np.quantile(day, 0.99)  # not the maximum, which may be a wrong date
    weight: Floats = np.maximum(0.5 ** (np.maximum(last - day, 0) / HALF_LIFE), MIN_WEIGHT)
    return weight


def frame(columns: RideColumns) -> pd.DataFrame:
    """Return a table with the features in `INPUTS` and one row for each ride."""
    return pd.DataFrame(table(columns, INPUTS))


def predict_trees(model: Trees, columns: RideColumns) -> Floats:
    """Return the predictions of *model* for the rides, shape (n,)."""
    with one_thread():
        predicted: Floats = model.predict(frame(columns))
    return predicted


def predict(champion: FittedChampion, columns: RideColumns) -> Floats:
    """Return the champion's predicted values for the rides, shape (n,), in minutes or dollars."""
    return predict_trees(champion.value, columns)


def predict_with_intervals(champion: FittedChampion, columns: RideColumns) -> tuple[Floats, Floats]:
    """Return the predicted values for the rides, shape (n,), and the intervals, shape (n, 2).

    The columns of the intervals are the low end and the high end.
    """
    value, spread = (predict_trees(trees, columns) for trees in (champion.value, champion.spread))
    return value, conformal.intervals(value, spread, champion.reach, champion.limits)


def error_metrics(true: Floats, predicted: Floats, target: Target) -> ErrorMetrics:
    """Return the errors of the predictions *predicted* for the true values *true*.

    The errors are the RMSE, the MAE and the median of the absolute error, in the target's unit.
    The result also has the share of close predictions and the number of rides.
    """
    error = predicted - true
    return {
        f"rmse_{UNITS[target]}": rmse(error),
        f"mae_{UNITS[target]}": float(np.mean(np.abs(error))),
        f"median_{UNITS[target]}": float(np.median(np.abs(error))),
        "close": close_share(error, true),
        "rides": len(error),
    }


def floor_32(values: Floats) -> Floats:
    """Return the largest 32-bit numbers that are not greater than *values*, as 64-bit numbers.

    The nearest 32-bit number may be greater than a threshold.  Then a ride with a feature between
    the two numbers would take another branch of the tree.

    >>> floor_32(np.array([0.1, 0.5])) <= np.array([0.1, 0.5])
    array([ True,  True])
    """
    nearest = values.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > values, below, nearest).astype(np.float64)


def one_thread() -> threadpool_limits:
    """Return a context manager in which trees use one thread.

    More threads gain little, and slow down other processes on a busy machine.
    """
    return threadpool_limits(1, user_api="openmp")


def with_hidden_times(rides: Rides, seed: int) -> Rides:
    """Return *rides*, but with an unknown pick-up time for a random share (`HIDDEN_TIMES`)."""
    hidden = np.random.default_rng(seed).random(len(rides)) < HIDDEN_TIMES
    times = np.where(hidden, NO_TIME, rides.columns.picked_up)
    return replace(rides, columns=replace(rides.columns, picked_up=times))


def _predict_by_fold(parameters: Parameters, rides: Rides, seed: int) -> Floats:
    """Return predictions for *rides*, shape (n,).

    Each ride is predicted by trees that were not trained on any ride of the same fold.
    """
    folds = _folds(rides)
    predicted = np.empty(len(rides))
    for fold in range(FOLDS):
        held_out = folds == fold
        if held_out.any():
            model = fit_trees(parameters, take(rides, ~held_out), seed)
            predicted[held_out] = predict_trees(model, take(rides, held_out).columns)
    return predicted


def _folds(rides: Rides) -> NDArray[np.int64]:
    """Return the number of a fold for each ride.

    All rides of a day are in the same fold, unless there are fewer than `FOLDS` days.
    """
    _, number = np.unique(days(rides), return_inverse=True)
    return (number if number.max() + 1 >= FOLDS else np.arange(len(rides))) % FOLDS


def _check_size(rides: Rides) -> None:
    if len(rides) < MIN_RIDES:
        raise DataError(
            f"There are {len(rides)} rides to train on; at least {MIN_RIDES} are needed."
        )
