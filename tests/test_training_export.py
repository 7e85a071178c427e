from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from sklearn.pipeline import Pipeline

from model_service.features import TEXT
from tests.training_factories import TLC_DATA, needs_tlc_data
from training import data, export, fit, simulation
from training.data import Rides
from training.export import ExportError


@pytest.fixture(scope="module")
def rides(tmp_path_factory: pytest.TempPathFactory) -> Rides:
    directory = tmp_path_factory.mktemp("rides")
    simulation.write(directory, ["2021-01"], 3_000, seed=0)
    return data.read(directory, "2021-01", "duration")


@pytest.fixture(scope="module")
def champion(rides: Rides) -> Pipeline:
    return fit.champion(rides, seed=0)


@pytest.fixture(scope="module")
def graph(champion: Pipeline) -> bytes:
    return export.to_onnx(champion)


def test_the_graph_has_an_input_for_each_feature_and_a_value(graph: bytes) -> None:
    model = onnx.load_from_string(graph)
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.input}

    assert kinds == {
        name: onnx.TensorProto.STRING if dtype == TEXT else onnx.TensorProto.FLOAT
        for name, dtype in fit.INPUTS.items()
    }
    assert [entry.name for entry in model.graph.output] == ["value"]


def test_both_forms_of_a_model_give_the_same_answers(
    champion: Pipeline, graph: bytes, rides: Rides
) -> None:
    assert export.largest_difference(champion, graph, rides.columns) < 1e-4


def test_a_graph_that_answers_otherwise_is_refused(rides: Rides, graph: bytes) -> None:
    another = fit.champion(rides, seed=1)

    with pytest.raises(ExportError, match=r"differs .* more than 0\.001; it was not logged"):
        export.largest_difference(another, graph, rides.columns)


def test_the_same_rides_and_seed_export_to_the_same_bytes(rides: Rides, graph: bytes) -> None:
    again = export.to_onnx(fit.champion(rides, seed=0))

    assert hashlib.sha256(again).hexdigest() == hashlib.sha256(graph).hexdigest()


def test_a_graph_that_answers_no_number_is_refused(
    champion: Pipeline, graph: bytes, rides: Rides
) -> None:
    model = onnx.load_from_string(graph)
    [trees] = [node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor"]
    [base] = [attribute for attribute in trees.attribute if attribute.name == "base_values"]
    base.floats[0] = np.nan

    with pytest.raises(ExportError, match="differs"):
        export.largest_difference(champion, model.SerializeToString(), rides.columns)


@needs_tlc_data
def test_both_forms_agree_on_a_month_of_the_tlcs() -> None:
    champion = fit.champion(data.read(TLC_DATA, "2021-01", "duration"), seed=0)
    test = data.read(TLC_DATA, "2021-02", "duration")

    assert export.largest_difference(champion, export.to_onnx(champion), test.columns) < 1e-4
