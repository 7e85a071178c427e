"""Exports a champion to ONNX, and checks that the ONNX model predicts the same as the champion.

A champion is not logged if a prediction of its ONNX model differs by more than `TOLERANCE`.  The
service's own code runs the ONNX model.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model_service.errors import ServiceError
from model_service.features import RideColumns
from model_service.models import flavours
from model_service.scoring import Answers

from ..metrics import without_time
from . import onnx_graph
from .champion import FittedChampion, predict_with_intervals

TOLERANCE = 1e-3
"""The largest allowed difference between a prediction of the champion and of its ONNX model, in
minutes or dollars."""
ALTERED = 10_000
"""The number of rides that are also compared without their times and with other zones."""
NO_POSITION, OUTSIDE_CITY = 264, 265  # zones without a position


class ExportError(ServiceError):
    """The ONNX model does not predict the same as the champion from which it was exported."""


def to_onnx(champion: FittedChampion) -> bytes:
    """Return the champion as an ONNX file; the same champion always gives the same bytes."""
    serialized: bytes = onnx_graph.build(champion).SerializeToString(deterministic=True)
    return serialized


def largest_difference(champion: FittedChampion, exported: bytes, rides: RideColumns) -> float:
    """Return the largest difference between *champion* and its ONNX model, the bytes *exported*.

    The values and the ends of the intervals are compared: for *rides*, and for the first `ALTERED`
    of these rides without a time, on other routes, and between zones without a position.  Raises
    `ExportError` if the difference is greater than `TOLERANCE`.
    """
    predict = flavours.onnx(exported)
    some = rides[:ALTERED]
    cases = (rides, without_time(some), _on_other_routes(some), _without_positions(some))
    difference = max(_difference(champion, predict(columns), columns) for columns in cases)
    if not difference <= TOLERANCE:  # also true if the difference is NaN
        raise ExportError(
            f"The ONNX model differs from the trained one by {difference:.2g}, "
            f"more than {TOLERANCE:g}; it was not logged."
        )
    return difference


def _difference(champion: FittedChampion, answers: Answers, rides: RideColumns) -> float:
    if answers.intervals is None:
        return np.inf
    value, interval = predict_with_intervals(champion, rides)
    off = np.abs(value - answers.values), np.abs(interval - answers.intervals)
    return float(max(np.max(off[0]), np.max(off[1])))


def _on_other_routes(rides: RideColumns) -> RideColumns:
    return replace(rides, dropoff=np.roll(rides.dropoff, 1))


def _without_positions(rides: RideColumns) -> RideColumns:
    return replace(
        rides,
        pickup=np.full_like(rides.pickup, NO_POSITION),
        dropoff=np.full_like(rides.dropoff, OUTSIDE_CITY),
    )
