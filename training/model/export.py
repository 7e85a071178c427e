"""Export of a champion to ONNX, and the check that both forms predict the same.

A model whose two forms differ by more than `TOLERANCE` is never logged.  The ONNX form is run by
the service's own code.
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
"""Minutes or dollars."""
ALTERED = 10_000
"""The number of rides that are compared with an altered time or altered zones as well."""
NO_POSITION, OUTSIDE_CITY = 264, 265  # zones


class ExportError(ServiceError):
    """The ONNX form of a model does not predict what the model does."""


def to_onnx(champion: FittedChampion) -> bytes:
    """The champion as an ONNX file; the same champion gives the same bytes."""
    serialized: bytes = onnx_graph.build(champion).SerializeToString(deterministic=True)
    return serialized


def largest_difference(champion: FittedChampion, exported: bytes, rides: RideColumns) -> float:
    """The largest difference between both forms, of values and interval ends.

    Both forms predict *rides* as they are, and `ALTERED` of them without time, on other routes,
    and between zones without a position.  Raises `ExportError` where the difference is above
    `TOLERANCE`.
    """
    predict = flavours.onnx(exported)
    some = rides[:ALTERED]
    cases = (rides, without_time(some), _on_other_routes(some), _without_positions(some))
    difference = max(_difference(champion, predict(columns), columns) for columns in cases)
    if not difference <= TOLERANCE:  # also where it is NaN
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
