"""Builds the ONNX graph of the champion, node by node, so that one ride is predicted fast.

The inputs of the graph are the two zones of a ride and the features in `NUMBERS`.  The graph
computes `ZONE_FEATURES` itself, from a table of zone positions.  It does so by the same operations
in the same order as `model_service.zones`, so that the results are equal to the last bit.  The
trees of the value and those of the spread are two operators, which together are a tenth faster than
one operator with two targets.

A new feature in `NUMBERS` becomes an input of the graph.  A new feature in `ZONE_FEATURES` needs a
node in `_zone_features`.
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

from .champion import NUMBERS, FittedChampion

VALUE = "value"
TREES = "ai.onnx.ml"
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid(TREES, 3)]
IR_VERSION = 9
DOWN_AND_UP = np.array([[-1, 1]], np.float32)


def build(champion: FittedChampion) -> onnx.ModelProto:
    """Return the ONNX graph of *champion*.

    Its inputs are the zones of pick-up and drop-off and the features in `NUMBERS`; its outputs are
    the predicted value and its interval (low, high).
    """
    inputs = [
        *(_column(name, TensorProto.INT64) for name in ("PULocationID", "DOLocationID")),
        *(_column(name, TensorProto.FLOAT) for name in NUMBERS),
    ]
    outputs = [_column(VALUE, TensorProto.FLOAT), _column(INTERVAL, TensorProto.FLOAT, 2)]
    graph = helper.make_graph(
        [
            *_zone_features(),
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


def _zone_features() -> list[onnx.NodeProto]:
    """Return the nodes that compute `ZONE_FEATURES` and concatenate all features."""
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
    """Return the nodes that compute the interval, in the same way as `conformal.intervals`.

    The low end is negated, so that one Min and one Max are enough for both ends.
    """
    return [
        helper.make_node("Mul", [VALUE, "down_and_up"], ["middle"]),
        helper.make_node("Mul", ["spread", "reach"], ["reached"]),
        helper.make_node("Add", ["middle", "reached"], ["wide"]),
        helper.make_node("Min", ["wide", "limits"], ["limited"]),
        helper.make_node("Max", ["limited", "middle"], ["around"]),
        helper.make_node("Mul", ["around", "down_and_up"], [INTERVAL]),
    ]


def _trees(model: HistGradientBoostingRegressor, output: str) -> onnx.NodeProto:
    """Return the node that sums the predictions of all trees of *model*."""
    attributes: dict[str, Any] = defaultdict(list)
    for number, [tree] in enumerate(model._predictors):
        for name, values in (*_splits(number, tree.nodes), *_leaves(number, tree.nodes)):
            attributes[name].extend(values)
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        [output],
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
    [leaves] = np.nonzero(nodes["is_leaf"])
    yield "target_treeids", [number] * len(leaves)
    yield "target_nodeids", leaves.tolist()
    yield "target_ids", [0] * len(leaves)
    yield "target_weights", nodes["value"][leaves].tolist()


def _column(name: str, kind: int, width: int = 1) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [None, width])


def _row(numbers: tuple[float, float]) -> NDArray[np.float32]:
    return np.array([numbers], np.float32)
