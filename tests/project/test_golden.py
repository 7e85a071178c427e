from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import skops.io

from model_service.models import loader, trust
from tests.support.golden import GoldenModel, Target

from ..support import golden
from ..support.factories import kinesis_event


def test_the_vectors_are_of_the_rides_in_the_code() -> None:
    assert json.loads(golden.FILE.read_text())["rides"] == golden.RIDES


def test_training_predicts_the_golden_durations(golden_model: GoldenModel) -> None:
    file = Path(golden_model.model_location) / "model.skops"
    from training.model import champion

    trees = skops.io.load(file, trusted=sorted(trust.TRUSTED_TYPES))

    predicted = trees.predict(champion.frame(golden.ride_columns()))

    assert predicted == pytest.approx(golden.expected(), abs=golden.TOLERANCE)


@pytest.fixture(params=["duration", pytest.param("cost", marks=pytest.mark.slow)])
def target(request: pytest.FixtureRequest) -> Target:
    of: Target = request.param
    return of


@pytest.fixture
def trained(target: Target, request: pytest.FixtureRequest) -> GoldenModel:
    name = "golden_model" if target == "duration" else "golden_cost_model"
    model: GoldenModel = request.getfixturevalue(name)
    return model


def test_the_served_model_gives_the_golden_answers(target: Target, trained: GoldenModel) -> None:
    served = loader.load(trained.model_location, sha256=trained.model_sha256)

    values, intervals = served.predict(golden.ride_columns())

    assert values == pytest.approx(golden.expected(target), abs=golden.TOLERANCE)
    assert intervals is not None
    assert intervals.ravel() == pytest.approx(golden.intervals(target), abs=golden.TOLERANCE)


def test_the_handler_gives_the_golden_answers(
    target: Target, trained: GoldenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = f"ride_{target}"
    monkeypatch.setenv("MODEL_LOCATION", trained.model_location)
    monkeypatch.setenv("PREDICTION_FIELD", field)
    monkeypatch.setenv("TEST_RUN", "True")
    monkeypatch.delitem(sys.modules, "lambda_function", raising=False)
    handler = importlib.import_module("lambda_function").lambda_handler

    response = handler(kinesis_event(*golden.payloads()), None)

    found = [event["prediction"] for event in response["predictions"]]
    values = [prediction[field] for prediction in found]
    ends = [end for prediction in found for end in prediction["interval"]]
    assert [prediction["ride_id"] for prediction in found] == [r["ride_id"] for r in golden.RIDES]
    assert values == pytest.approx(golden.expected(target), abs=golden.TOLERANCE)
    assert ends == pytest.approx(golden.intervals(target), abs=golden.TOLERANCE)


def test_a_ride_has_the_same_bits_alone_as_in_company(golden_model: GoldenModel) -> None:
    served = loader.load(golden_model.model_location)
    rides = golden.ride_columns()

    together = served.predict(rides).values

    for place in range(len(together)):
        alone = type(rides)(*(getattr(rides, name)[[place]] for name in type(rides).__slots__))
        assert np.array_equal(served.predict(alone).values, together[[place]])


@pytest.mark.parametrize("target", golden.TARGETS)
def test_the_vectors_tell_rides_apart(target: Target) -> None:
    """Vectors that were all alike would pass with a model that looks at nothing."""
    first, same_moment, *_ = golden.expected(target)

    assert first == same_moment
    assert len(set(golden.expected(target))) >= 6
