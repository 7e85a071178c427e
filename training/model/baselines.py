"""Simple models with which the champion is compared; the champion has to be better."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder

from model_service.features import TEXT, Inputs, RideColumns, rows, table

from ..data.dataset import Rides
from .champion import one_thread

PredictValues = Callable[[RideColumns], NDArray[np.float64]]
"""A function from rides to their predictions, shape (n,)."""
Fit = Callable[[Rides, int], PredictValues]
"""A function that fits a model to training rides and returns the function that predicts.  Its
second argument is the seed for random numbers."""

CHUNK = 10_000  # rides
TREES = {"n_estimators": 50, "min_samples_leaf": 2, "max_features": "sqrt"}
BOOSTING = {"max_iter": 100, "learning_rate": 0.15, "max_leaf_nodes": 31, "min_samples_leaf": 50}
ROUTES = ("PU_DO", "PULocationID", "DOLocationID")
ENCODED: Inputs = {
    **dict.fromkeys(ROUTES, TEXT),
    **dict.fromkeys(("trip_distance", "hour", "weekday"), np.dtype(np.float32)),
}


def mean_by_route(rides: Rides, seed: int) -> PredictValues:
    """Return a function that predicts the mean true value of the training rides on the same route.

    For a route without training rides, it predicts the mean of all training rides.
    """
    frame = pd.DataFrame({"route": routes(rides.columns), "target": rides.target})
    means, all_of_them = frame.groupby("route")["target"].mean(), rides.target.mean()
    return lambda columns: means.reindex(routes(columns)).fillna(all_of_them).to_numpy()


def linear(rides: Rides, seed: int) -> PredictValues:
    """Fit a linear regression on the distance and the one-hot route; return its predictions."""
    return _by_route(LinearRegression(), rides)


def forest(rides: Rides, seed: int) -> PredictValues:
    """Fit a random forest on the distance and the one-hot route; return its predictions."""
    return _by_route(RandomForestRegressor(**TREES, n_jobs=2, random_state=seed), rides)


def boosting(rides: Rides, seed: int) -> PredictValues:
    """Fit gradient-boosted trees on target-encoded routes and zones, the distance and the time.

    Returns the function that predicts with these trees.
    """
    encoder = TargetEncoder(target_type="continuous", cv=KFold(5, shuffle=True, random_state=seed))
    numbers = [name for name in ENCODED if name not in ROUTES]
    columns = ColumnTransformer(
        [("routes", encoder, list(ROUTES)), ("numbers", "passthrough", numbers)]
    )
    trees = HistGradientBoostingRegressor(**BOOSTING, random_state=seed)
    pipeline = Pipeline([("columns", columns), ("trees", trees)])
    with one_thread():
        pipeline.fit(pd.DataFrame(table(rides.columns, ENCODED)), rides.target)

    def predict(columns: RideColumns) -> NDArray[np.float64]:
        with one_thread():
            values: NDArray[np.float64] = pipeline.predict(pd.DataFrame(table(columns, ENCODED)))
        return values

    return predict


BASELINES: Mapping[str, Fit] = {
    "mean by route": mean_by_route,
    "linear": linear,
    "random forest": forest,
    "boosting on routes": boosting,
}


def _by_route(model: Any, rides: Rides) -> PredictValues:
    pipeline = Pipeline([("route", DictVectorizer()), ("model", model)])
    pipeline.fit(_by_row(rides.columns), rides.target)
    return lambda columns: pipeline.predict(_by_row(columns))


def _by_row(columns: RideColumns) -> Iterator[dict[str, str | float]]:
    """Yield the rows of `features.rows`, of which at most `CHUNK` are in memory at a time."""
    for start in range(0, len(columns.pickup), CHUNK):
        yield from rows(columns[start : start + CHUNK])


def routes(columns: RideColumns) -> NDArray[np.int64]:
    """Return a number for each ride that identifies its pair of zones, shape (n,)."""
    return columns.pickup * 1000 + columns.dropoff
