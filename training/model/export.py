"""Turn a fitted pipeline into ONNX, and prove that both answer the same.

The rule: a model whose two forms differ by more than `TOLERANCE` is never logged.  The ONNX form
is asked through the service's own code.
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
from .champion import Fitted, says

TOLERANCE = 1e-3
"""Minutes or dollars."""
SOME = 10_000


class ExportError(ServiceError):
    """The ONNX form of a model does not answer as the model does."""


def to_onnx(champion: Fitted) -> bytes:
    """The champion as the bytes of a file, the same for the same champion."""
    serialized: bytes = onnx_graph.of(champion).SerializeToString(deterministic=True)
    return serialized


def largest_difference(champion: Fitted, exported: bytes, rides: RideColumns) -> float:
    """The largest between the two, of values and intervals: over *rides* as they are, and `SOME` of
    them without time, on routes they did not take, and nowhere.

    Raises `ExportError` where it is above `TOLERANCE`.
    """
    ask = flavours.onnx(exported)
    some = rides[:SOME]
    asked = (rides, without_time(some), _elsewhere(some), _nowhere(some))
    difference = max(_difference(champion, ask(columns), columns) for columns in asked)
    if not difference <= TOLERANCE:  # also where it is not a number
        raise ExportError(
            f"The ONNX model differs from the one that was trained by {difference:.2g}, "
            f"more than {TOLERANCE:g}; it was not logged."
        )
    return difference


def _difference(champion: Fitted, answers: Answers, rides: RideColumns) -> float:
    if answers.intervals is None:
        return np.inf
    value, interval = says(champion, rides)
    off = np.abs(value - answers.values), np.abs(interval - answers.intervals)
    return float(max(np.max(off[0]), np.max(off[1])))


def _elsewhere(rides: RideColumns) -> RideColumns:
    return replace(rides, dropoff=np.roll(rides.dropoff, 1))


def _nowhere(rides: RideColumns) -> RideColumns:
    """From the zone whose place is unknown to the one that is outside the city."""
    return replace(
        rides, pickup=np.full_like(rides.pickup, 264), dropoff=np.full_like(rides.dropoff, 265)
    )
