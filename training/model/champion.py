"""The champion: gradient-boosted trees that predict a value, and an interval around it.

`INPUTS` lists the features of the trees; training, export and the signature follow it.  Every
number that reaches a tree fits into 32 bits: ONNX compares in 32 bits and scikit-learn in 64, and
so `ride <= threshold` has the same result in both.

The interval is conformal, and wider for rides that are less certain.  Each training ride is
predicted by trees that saw no ride of its day (or, with a calibration month, by trees that saw no
ride of that month).  A second, smaller set of trees learns from these errors a *spread*, which
four of five similar rides do not exceed.  The interval reaches so many spreads down and up that
one ride in ten lies below it, and one above.
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
"""Features that the ONNX graph takes as inputs.  Add a new feature here."""
ZONE_FEATURES = (
    *(f"{name}_{axis}" for name in ("pickup", "dropoff", "change", "sum") for axis in AXES),
    "straight",
)
"""Features that the ONNX graph computes from both zones: see `onnx_graph`."""
INPUTS: Inputs = MappingProxyType(dict.fromkeys((*ZONE_FEATURES, *NUMBERS), np.dtype(np.float32)))
FOLD_SPEEDUP = 2
"""Models of the folds have this many times fewer trees, which learn as much faster.

That saves time, and their errors are hardly larger."""
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
"""The share of training rides whose time is hidden, so that the trees can predict without it."""
HALF_LIFE = 15  # days, after which a ride has half the weight: recent traffic predicts better
MIN_WEIGHT = 0.25  # so that old months still count
FOLDS = 4
MIN_SPREAD = 1e-3  # minutes or dollars; scores are divided by the spread
MIN_RIDES = 100
"""With fewer rides there is nothing to learn, and folds are empty."""


@dataclass(frozen=True, slots=True)
class FittedChampion:
    """A fitted champion of one target."""

    value: Trees
    spread: Trees
    """Predicts the error of the value."""
    reach: tuple[float, float]
    """The number of spreads that the interval reaches down and up."""
    limits: tuple[float, float]
    """The least and greatest training value; the interval ends there unless the value is beyond."""
    constant: tuple[float, float]
    """How far an interval of the same width for all rides would reach down and up."""


def fit(
    rides: Rides,
    *,
    seed: int,
    calibration: Rides | None = None,
    parameters: Parameters = DEFAULTS,
    spread_parameters: Parameters = SPREAD,
) -> FittedChampion:
    """Fit the champion to *rides*, and its intervals to *calibration* where that is given.

    Raises `DataError` where there are fewer than `MIN_RIDES` rides.
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
    """Fit only the trees of the value, which takes a fifth of the time.  Raises `DataError`."""
    _check_size(rides)
    return fit_trees(parameters, with_hidden_times(rides, seed), seed)


def fit_trees(parameters: Parameters, rides: Rides, seed: int) -> Trees:
    """Fit gradient-boosted trees whose thresholds fit into 32 bits."""
    model = HistGradientBoostingRegressor(**parameters, early_stopping=False, random_state=seed)
    with one_thread():
        model.fit(frame(rides.columns), rides.target, sample_weight=weights(rides))
    for [tree] in model._predictors:
        tree.nodes["num_threshold"] = floor_32(tree.nodes["num_threshold"])
    return model


def fewer_trees(parameters: Parameters) -> Parameters:
    """Parameters of a model with `FOLD_SPEEDUP` times fewer trees.

    >>> fewer_trees({"max_iter": 240, "learning_rate": 0.055})
    {'max_iter': 120, 'learning_rate': 0.11}
    """
    return {
        **parameters,
        "max_iter": parameters["max_iter"] // FOLD_SPEEDUP,
        "learning_rate": parameters["learning_rate"] * FOLD_SPEEDUP,
    }


def weights(rides: Rides) -> Floats:
    """The weight of each ride, shape (n,): 1 on the last day, and less for older rides."""
    day = days(rides)
    last = np.quantile(day, 0.99)  # rather than the maximum, which may be a stray date
    weight: Floats = np.maximum(0.5 ** (np.maximum(last - day, 0) / HALF_LIFE), MIN_WEIGHT)
    return weight


def frame(columns: RideColumns) -> pd.DataFrame:
    """The features in `INPUTS`, one row per ride."""
    return pd.DataFrame(table(columns, INPUTS))


def predict_trees(model: Trees, columns: RideColumns) -> Floats:
    """The predictions of *model*, shape (n,)."""
    with one_thread():
        predicted: Floats = model.predict(frame(columns))
    return predicted


def predict(champion: FittedChampion, columns: RideColumns) -> Floats:
    """The champion's values, shape (n,), in minutes or dollars."""
    return predict_trees(champion.value, columns)


def predict_with_intervals(champion: FittedChampion, columns: RideColumns) -> tuple[Floats, Floats]:
    """The champion's values, shape (n,), and its intervals, low and high, shape (n, 2)."""
    value, spread = (predict_trees(trees, columns) for trees in (champion.value, champion.spread))
    return value, conformal.intervals(value, spread, champion.reach, champion.limits)


def error_metrics(true: Floats, predicted: Floats, target: Target) -> ErrorMetrics:
    """RMSE, MAE and the median error in the target's unit, the share of close predictions, and
    the number of rides.
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
    """The largest 32-bit numbers that are not above *values*.

    The nearest 32-bit number may be above, and a ride between the two would change sides.

    >>> floor_32(np.array([0.1, 0.5])) <= np.array([0.1, 0.5])
    array([ True,  True])
    """
    nearest = values.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > values, below, nearest).astype(np.float64)


def one_thread() -> threadpool_limits:
    """A context in which trees use one thread; more gain little, and slow down busy machines."""
    return threadpool_limits(1, user_api="openmp")


def with_hidden_times(rides: Rides, seed: int) -> Rides:
    """The rides, with the time of a random share of `HIDDEN_TIMES` replaced by NaT."""
    hidden = np.random.default_rng(seed).random(len(rides)) < HIDDEN_TIMES
    times = np.where(hidden, NO_TIME, rides.columns.picked_up)
    return replace(rides, columns=replace(rides.columns, picked_up=times))


def _predict_by_fold(parameters: Parameters, rides: Rides, seed: int) -> Floats:
    """Predictions for each ride by trees that saw no ride of its day."""
    folds = _folds(rides)
    predicted = np.empty(len(rides))
    for fold in range(FOLDS):
        held_out = folds == fold
        if held_out.any():
            model = fit_trees(parameters, take(rides, ~held_out), seed)
            predicted[held_out] = predict_trees(model, take(rides, held_out).columns)
    return predicted


def _folds(rides: Rides) -> NDArray[np.int64]:
    """A fold for each ride, by day in turns, or by ride where there are too few days."""
    _, number = np.unique(days(rides), return_inverse=True)
    return (number if number.max() + 1 >= FOLDS else np.arange(len(rides))) % FOLDS


def _check_size(rides: Rides) -> None:
    if len(rides) < MIN_RIDES:
        raise DataError(
            f"There are {len(rides)} rides to train on; at least {MIN_RIDES} are needed."
        )
