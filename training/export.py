"""Turn a fitted pipeline into ONNX, and prove that both answer the same.

The rule: a model whose two forms differ by more than `TOLERANCE` is never logged.  The ONNX form
is asked through the service's own code.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.pipeline import Pipeline

from model_service import flavours
from model_service.errors import ServiceError
from model_service.features import TEXT, RideColumns

from .fit import INPUTS, predict

OUTPUT = "value"
TOLERANCE = 1e-3
"""Minutes or dollars."""


class ExportError(ServiceError):
    """The ONNX form of a model does not answer as the model does."""


def to_onnx(pipeline: Pipeline) -> bytes:
    """The pipeline as an ONNX graph: an input for each feature, and `OUTPUT`."""
    kinds = {True: StringTensorType, False: FloatTensorType}
    with warnings.catch_warnings():
        # skl2onnx writes booleans where protobuf wants integers: one warning for each node
        warnings.filterwarnings("ignore", "Field onnx.AttributeProto", DeprecationWarning)
        model = convert_sklearn(
            pipeline,
            name="ride",  # left to itself, skl2onnx puts a random one into the file
            initial_types=[
                (name, kinds[dtype == TEXT]([None, 1])) for name, dtype in INPUTS.items()
            ],
            final_types=[(OUTPUT, FloatTensorType([None, 1]))],
        )
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def largest_difference(pipeline: Pipeline, graph: bytes, rides: RideColumns) -> float:
    """The largest between the two, over *rides* as they are, without time, on unknown routes.

    Raises `ExportError` where it is above `TOLERANCE`.
    """
    ask = flavours.onnx(graph)
    difference = max(
        float(np.max(np.abs(predict(pipeline, columns) - ask(columns).values)))
        for columns in (rides, _without_time(rides), _unknown(rides))
    )
    if not difference <= TOLERANCE:  # also where it is not a number
        raise ExportError(
            f"The ONNX model differs from the one that was trained by {difference:.2g}, "
            f"more than {TOLERANCE:g}; it was not logged."
        )
    return difference


def _without_time(rides: RideColumns) -> RideColumns:
    unknown = np.full(len(rides.hour), np.nan)
    return replace(rides, hour=unknown, weekday=unknown)


def _unknown(rides: RideColumns) -> RideColumns:
    nowhere = np.zeros(len(rides.pickup), dtype=np.int64)  # zones begin at 1
    return replace(rides, pickup=nowhere, dropoff=nowhere)
