"""Fit the model, and the baseline that it has to beat.

`INPUTS` says what the model is fed; training, export and signature follow it.  Every number
that reaches a tree can be written in 32 bits: ONNX compares in 32, scikit-learn in 64, and so
`ride <= threshold` is decided the same way in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder
from threadpoolctl import threadpool_limits

from model_service.features import TEXT, Inputs, RideColumns, rows, table

from .data import UNITS, DataError, Rides, Target

INPUTS: Inputs = MappingProxyType(
    {
        "PU_DO": TEXT,
        "PULocationID": TEXT,
        "DOLocationID": TEXT,
        "trip_distance": np.dtype(np.float32),
        "hour": np.dtype(np.float32),
        "weekday": np.dtype(np.float32),
    }
)
PARAMETERS: Mapping[str, int | float] = MappingProxyType(
    {"max_iter": 100, "learning_rate": 0.15, "max_leaf_nodes": 31, "min_samples_leaf": 50}
)
WITHOUT_TIME = 0.05
"""The share of rides whose time is taken away, so that the trees learn what to say without."""
FEWEST = 100
"""Rides; with less there is nothing to learn, and the encoder's folds run empty."""

Metrics = dict[str, float]


def champion(rides: Rides, *, seed: int) -> Pipeline:
    """Gradient boosting on target-encoded zones and routes, distance, hour and weekday."""
    _enough(rides)
    text = [name for name, dtype in INPUTS.items() if dtype == TEXT]
    numbers = [name for name in INPUTS if name not in text]
    folds = KFold(5, shuffle=True, random_state=seed)
    encoder = TargetEncoder(target_type="continuous", cv=folds)
    columns = ColumnTransformer([("text", encoder, text), ("numbers", "passthrough", numbers)])
    trees = HistGradientBoostingRegressor(**PARAMETERS, random_state=seed)
    pipeline = Pipeline([("columns", columns), ("trees", trees)])
    with _one_thread():
        pipeline.fit(frame(_some_without_time(rides.columns, seed)), rides.target)
    _round_to_32_bits(columns.named_transformers_["text"], trees)
    # The folds have done their work, and a saved model should hold no type it does not need.
    columns.set_params(text__cv=5)
    columns.named_transformers_["text"].cv = 5
    return pipeline


def baseline(rides: Rides) -> Pipeline:
    """A straight line through the distance, with a step for each route."""
    _enough(rides)
    pipeline = Pipeline([("route", DictVectorizer()), ("line", LinearRegression())])
    return pipeline.fit(rows(rides.columns), rides.target)


def frame(columns: RideColumns) -> pd.DataFrame:
    """Rides as the champion takes them."""
    return pd.DataFrame(table(columns, INPUTS))


def predict(champion: Pipeline, columns: RideColumns) -> NDArray[np.float64]:
    """What the champion says of rides, in order."""
    with _one_thread():
        answers: NDArray[np.float64] = champion.predict(frame(columns))
    return answers


def metrics(true: NDArray[np.float64], predicted: NDArray[np.float64], target: Target) -> Metrics:
    """How far off predictions are, in the target's unit."""
    error = predicted - true
    return {
        f"rmse_{UNITS[target]}": float(np.sqrt(np.mean(error**2))),
        f"mae_{UNITS[target]}": float(np.mean(np.abs(error))),
        "rides": len(error),
    }


def floor_32(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest 32-bit numbers that are not above *values*.

    skl2onnx takes the nearest, which may be above; a ride between the two would change sides.

    >>> floor_32(np.array([0.1, 0.5])) <= np.array([0.1, 0.5])
    array([ True,  True])
    """
    nearest = values.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > values, below, nearest).astype(np.float64)


def _one_thread() -> threadpool_limits:
    # Trees this small gain nothing from more, and lose much where the other cores are busy.
    return threadpool_limits(1, user_api="openmp")


def _some_without_time(columns: RideColumns, seed: int) -> RideColumns:
    blank = np.random.default_rng(seed).random(len(columns.hour)) < WITHOUT_TIME
    return replace(
        columns,
        hour=np.where(blank, np.nan, columns.hour),
        weekday=np.where(blank, np.nan, columns.weekday),
    )


def _enough(rides: Rides) -> None:
    if len(rides) < FEWEST:
        raise DataError(f"There are {len(rides)} rides to train on; it takes {FEWEST}.")


def _round_to_32_bits(encoder: TargetEncoder, trees: HistGradientBoostingRegressor) -> None:
    encoder.encodings_ = [
        values.astype(np.float32).astype(np.float64) for values in encoder.encodings_
    ]
    encoder.target_mean_ = float(np.float32(encoder.target_mean_))
    for [tree] in trees._predictors:
        tree.nodes["num_threshold"] = floor_32(tree.nodes["num_threshold"])
