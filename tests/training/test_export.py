from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import onnx
import pytest

from model_service.features import columns
from model_service.models import flavours
from model_service.rides import Ride
from tests.support.training_factories import TLC_DATA, Months, fit_quickly, needs_tlc_data
from training.data import dataset
from training.data.dataset import Rides
from training.model import champion, export
from training.model.champion import FittedChampion
from training.model.export import ExportError


@pytest.fixture(scope="module")
def rides(months: Months) -> Rides:
    return months[0]


def sha256(graph: bytes) -> str:
    return hashlib.sha256(graph).hexdigest()


@pytest.fixture(scope="module")
def graph(fitted: FittedChampion) -> bytes:
    return export.to_onnx(fitted)


def test_the_graph_takes_the_inputs_of_a_ride_event(graph: bytes) -> None:
    model = onnx.load_from_string(graph)

    assert {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.input} == {
        "PULocationID": onnx.TensorProto.INT64,
        "DOLocationID": onnx.TensorProto.INT64,
        "trip_distance": onnx.TensorProto.FLOAT,
        "weekday": onnx.TensorProto.FLOAT,
        "minute_of_day": onnx.TensorProto.FLOAT,
    }
    assert [entry.name for entry in model.graph.output] == ["value", "interval"]


def test_both_forms_of_a_model_predict_the_same(
    fitted: FittedChampion, graph: bytes, rides: Rides
) -> None:
    assert export.largest_difference(fitted, graph, rides.columns) < 1e-4


def test_a_graph_with_other_predictions_is_refused(
    fitted_otherwise: FittedChampion, graph: bytes, rides: Rides
) -> None:
    with pytest.raises(ExportError, match=r"differs .* more than 0\.001; it was not logged"):
        export.largest_difference(fitted_otherwise, graph, rides.columns)


def test_intervals_that_differ_are_refused(
    fitted: FittedChampion, graph: bytes, rides: Rides
) -> None:
    wider = replace(fitted, reach=(fitted.reach[0] + 0.01, fitted.reach[1]))

    with pytest.raises(ExportError, match="differs"):
        export.largest_difference(wider, graph, rides.columns)


def test_the_same_rides_and_seed_export_to_the_same_bytes(
    fitted_again: FittedChampion, graph: bytes
) -> None:
    assert sha256(export.to_onnx(fitted_again)) == sha256(graph)


def test_another_seed_changes_the_digest(fitted_otherwise: FittedChampion, graph: bytes) -> None:
    assert sha256(export.to_onnx(fitted_otherwise)) != sha256(graph)


def test_removing_one_ride_changes_the_digest(fitted: FittedChampion, rides: Rides) -> None:
    some = dataset.take(rides, slice(300))
    digests = {
        sha256(export.to_onnx(replace(fitted, value=trees)))
        for trees in (
            champion.fit_value(part, seed=0) for part in (some, dataset.take(some, slice(299)))
        )
    }

    assert len(digests) == 2


def test_a_graph_that_predicts_nan_is_refused(
    fitted: FittedChampion, graph: bytes, rides: Rides
) -> None:
    model = onnx.load_from_string(graph)
    value, _ = [node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor"]
    [base] = [attribute for attribute in value.attribute if attribute.name == "base_values"]
    base.floats[0] = np.nan

    with pytest.raises(ExportError, match="differs"):
        export.largest_difference(fitted, model.SerializeToString(), rides.columns)


@pytest.mark.parametrize("reach", [(0.0, 0.0), (9.0, 0.0), (0.0, 9.0), (9e9, 9e9)])
def test_a_value_is_within_its_interval_for_any_width(
    fitted: FittedChampion, reach: tuple[float, float]
) -> None:
    changed = replace(fitted, reach=reach, limits=(5.0, 30.0))
    strange = [Ride(264, 265, miles) for miles in (0, 3, 999.9)]
    usual = [Ride(zone, 266 - zone, zone / 20) for zone in range(1, 266)]

    answers = flavours.onnx(export.to_onnx(changed))(columns([*strange, *usual]))

    assert answers.intervals is not None
    low, high = answers.intervals.T
    assert (low <= answers.values).all() and (answers.values <= high).all()
    assert (low[answers.values >= 5] >= 5).all() and (high[answers.values <= 30] <= 30).all()


@pytest.mark.slow
@needs_tlc_data
def test_both_forms_predict_the_same_for_a_tlc_month() -> None:
    rides = dataset.read(TLC_DATA, "2021-01", "duration")
    fitted = fit_quickly(rides)
    test = dataset.read(TLC_DATA, "2021-02", "duration")

    assert export.largest_difference(fitted, export.to_onnx(fitted), test.columns) < 1e-4
