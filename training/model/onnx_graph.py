"""The champion as an ONNX graph, written by hand so that one ride is cheap.

It takes what an event says, not the features made of it: two zones, and three numbers.  The places
of the zones are a table inside the graph.  What it does with places has to be what
`model_service.zones` does, in the same order, for the same bits.  The trees of the value are
one operator and those of the spread another, which is a tenth quicker than one with two targets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingRegressor

from model_service.models.flavours import INTERVAL
from model_service.zones import locations

from .champion import NUMBERS, Fitted

VALUE = "value"
TREES = "ai.onnx.ml"
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid(TREES, 3)]
IR_VERSION = 9
DOWN_AND_UP = np.array([[-1, 1]], np.float32)


def of(champion: Fitted) -> onnx.ModelProto:
    """Inputs: both zones and `NUMBERS`; outputs: the value, and low and high."""
    inputs = [
        *(_column(name, TensorProto.INT64) for name in ("PULocationID", "DOLocationID")),
        *(_column(name, TensorProto.FLOAT) for name in NUMBERS),
    ]
    outputs = [_column(VALUE, TensorProto.FLOAT), _column(INTERVAL, TensorProto.FLOAT, 2)]
    graph = helper.make_graph(
        [
            *_places(),
            _trees(champion.value, VALUE),
            _trees(champion.spread, "spread"),
            *_interval(),
        ],
        "ride",
        inputs,
        outputs,
        [
            numpy_helper.from_array(locations(), "places"),
            numpy_helper.from_array(np.array([1]), "second"),
            numpy_helper.from_array(np.array([0, 1]), "compass"),
            numpy_helper.from_array(DOWN_AND_UP, "down_and_up"),
            numpy_helper.from_array(_row(champion.reach), "reach"),
            numpy_helper.from_array(_row(champion.limits) * DOWN_AND_UP, "limits"),
        ],
    )
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def _places() -> list[onnx.NodeProto]:
    """Zones to the features that `zones` makes of them, and all side by side."""
    return [
        helper.make_node("Squeeze", ["PULocationID", "second"], ["pickup_zone"]),
        helper.make_node("Squeeze", ["DOLocationID", "second"], ["dropoff_zone"]),
        helper.make_node("Gather", ["places", "pickup_zone"], ["pickup"]),
        helper.make_node("Gather", ["places", "dropoff_zone"], ["dropoff"]),
        helper.make_node("Sub", ["dropoff", "pickup"], ["change"]),
        helper.make_node("Add", ["dropoff", "pickup"], ["sum"]),
        helper.make_node("Gather", ["change", "compass"], ["sides"], axis=1),
        helper.make_node("Mul", ["sides", "sides"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "second"], ["square"]),
        helper.make_node("Sqrt", ["square"], ["straight"]),
        helper.make_node(
            "Concat",
            ["pickup", "dropoff", "change", "sum", "straight", *NUMBERS],
            ["features"],
            axis=1,
        ),
    ]


def _interval() -> list[onnx.NodeProto]:
    """As far down and up as the spread reaches, within the limits, and around the value.

    Down is counted as up, below zero: so one Min and one Max serve both ends.
    """
    return [
        helper.make_node("Mul", [VALUE, "down_and_up"], ["middle"]),
        helper.make_node("Mul", ["spread", "reach"], ["reached"]),
        helper.make_node("Add", ["middle", "reached"], ["wide"]),
        helper.make_node("Min", ["wide", "limits"], ["limited"]),
        helper.make_node("Max", ["limited", "middle"], ["around"]),
        helper.make_node("Mul", ["around", "down_and_up"], [INTERVAL]),
    ]


def _trees(model: HistGradientBoostingRegressor, answer: str) -> onnx.NodeProto:
    """All trees of *model* as one operator."""
    attributes: dict[str, Any] = defaultdict(list)
    for number, [tree] in enumerate(model._predictors):
        for name, values in (*_splits(number, tree.nodes), *_leaves(number, tree.nodes)):
            attributes[name].extend(values)
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        [answer],
        domain=TREES,
        n_targets=1,
        base_values=[float(model._baseline_prediction.item())],
        **attributes,
    )


def _splits(number: int, nodes: NDArray[Any]) -> Iterable[tuple[str, list[Any]]]:
    leaf = nodes["is_leaf"].astype(bool)
    yield "nodes_treeids", [number] * len(nodes)
    yield "nodes_nodeids", list(range(len(nodes)))
    yield "nodes_modes", np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()
    yield "nodes_featureids", np.where(leaf, 0, nodes["feature_idx"]).tolist()
    yield "nodes_values", np.where(leaf, 0, nodes["num_threshold"]).tolist()
    yield "nodes_truenodeids", np.where(leaf, 0, nodes["left"]).tolist()
    yield "nodes_falsenodeids", np.where(leaf, 0, nodes["right"]).tolist()
    yield "nodes_missing_value_tracks_true", np.where(leaf, 0, nodes["missing_go_to_left"]).tolist()


def _leaves(number: int, nodes: NDArray[Any]) -> Iterable[tuple[str, list[Any]]]:
    [places] = np.nonzero(nodes["is_leaf"])
    yield "target_treeids", [number] * len(places)
    yield "target_nodeids", places.tolist()
    yield "target_ids", [0] * len(places)
    yield "target_weights", nodes["value"][places].tolist()


def _column(name: str, kind: int, width: int = 1) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [None, width])


def _row(numbers: tuple[float, float]) -> NDArray[np.float32]:
    return np.array([numbers], np.float32)
