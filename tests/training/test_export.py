from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import onnx
import pytest

from model_service.features import columns
from model_service.models import flavours
from model_service.rides import Ride
from tests.support.training_factories import QUICK, TLC_DATA, needs_tlc_data
from training.data import dataset, simulation
from training.data.dataset import Rides
from training.model import champion as fit
from training.model import export
from training.model.champion import Fitted
from training.model.export import ExportError


@pytest.fixture(scope="module")
def rides(tmp_path_factory: pytest.TempPathFactory) -> Rides:
    directory = tmp_path_factory.mktemp("rides")
    simulation.write(directory, ["2021-01"], 3_000, seed=0)
    return dataset.read(directory, "2021-01", "duration")


@pytest.fixture(scope="module")
def champion(rides: Rides) -> Fitted:
    return fit.champion(rides, seed=0, parameters=QUICK)


@pytest.fixture(scope="module")
def graph(champion: Fitted) -> bytes:
    return export.to_onnx(champion)


def test_the_graph_takes_what_an_event_says(graph: bytes) -> None:
    model = onnx.load_from_string(graph)

    assert {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.input} == {
        "PULocationID": onnx.TensorProto.INT64,
        "DOLocationID": onnx.TensorProto.INT64,
        "trip_distance": onnx.TensorProto.FLOAT,
        "weekday": onnx.TensorProto.FLOAT,
        "minute_of_day": onnx.TensorProto.FLOAT,
    }
    assert [entry.name for entry in model.graph.output] == ["value", "interval"]


def test_the_value_has_one_operator_and_the_spread_another(graph: bytes) -> None:
    kinds = [node.op_type for node in onnx.load_from_string(graph).graph.node]

    assert kinds.count("TreeEnsembleRegressor") == 2


def test_both_forms_of_a_model_give_the_same_answers(
    champion: Fitted, graph: bytes, rides: Rides
) -> None:
    assert export.largest_difference(champion, graph, rides.columns) < 1e-4


def test_a_graph_that_answers_otherwise_is_refused(rides: Rides, graph: bytes) -> None:
    another = fit.champion(rides, seed=1, parameters=QUICK)

    with pytest.raises(ExportError, match=r"differs .* more than 0\.001; it was not logged"):
        export.largest_difference(another, graph, rides.columns)


def test_intervals_that_differ_are_refused(champion: Fitted, graph: bytes, rides: Rides) -> None:
    wider = replace(champion, reach=(champion.reach[0] + 0.01, champion.reach[1]))

    with pytest.raises(ExportError, match="differs"):
        export.largest_difference(wider, graph, rides.columns)


def test_the_same_rides_and_seed_export_to_the_same_bytes(rides: Rides, graph: bytes) -> None:
    again = export.to_onnx(fit.champion(rides, seed=0, parameters=QUICK))

    assert hashlib.sha256(again).hexdigest() == hashlib.sha256(graph).hexdigest()


@pytest.mark.parametrize(("seed", "left_out"), [(1, 0), (0, 1)], ids=["seed", "rides"])
def test_another_seed_or_a_ride_less_is_another_digest(
    rides: Rides, graph: bytes, seed: int, left_out: int
) -> None:
    some = dataset.take(rides, np.arange(left_out, len(rides)))
    other = export.to_onnx(fit.champion(some, seed=seed, parameters=QUICK))

    assert hashlib.sha256(other).hexdigest() != hashlib.sha256(graph).hexdigest()


def test_a_graph_that_answers_no_number_is_refused(
    champion: Fitted, graph: bytes, rides: Rides
) -> None:
    model = onnx.load_from_string(graph)
    value, _ = [node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor"]
    [base] = [attribute for attribute in value.attribute if attribute.name == "base_values"]
    base.floats[0] = np.nan

    with pytest.raises(ExportError, match="differs"):
        export.largest_difference(champion, model.SerializeToString(), rides.columns)


@pytest.mark.parametrize("reach", [(0.0, 0.0), (9.0, 0.0), (0.0, 9.0), (9e9, 9e9)])
def test_a_value_lies_in_its_interval_however_far_that_reaches(
    champion: Fitted, reach: tuple[float, float]
) -> None:
    changed = replace(champion, reach=reach, limits=(5.0, 30.0))
    strange = [Ride(264, 265, miles) for miles in (0, 3, 999.9)]
    usual = [Ride(zone, 266 - zone, zone / 20) for zone in range(1, 266)]

    answers = flavours.onnx(export.to_onnx(changed))(columns([*strange, *usual]))

    assert answers.intervals is not None
    low, high = answers.intervals.T
    assert (low <= answers.values).all() and (answers.values <= high).all()
    assert (low[answers.values >= 5] >= 5).all() and (high[answers.values <= 30] <= 30).all()


@pytest.mark.slow
@needs_tlc_data
def test_both_forms_agree_on_a_month_of_the_tlcs() -> None:
    rides = dataset.read(TLC_DATA, "2021-01", "duration")
    champion = fit.champion(rides, seed=0, parameters=QUICK)
    test = dataset.read(TLC_DATA, "2021-02", "duration")

    assert export.largest_difference(champion, export.to_onnx(champion), test.columns) < 1e-4
