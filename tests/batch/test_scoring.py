"""Scoring columns keeps the rules of scoring and gives the same predictions as the stream."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_service import rides, scoring
from model_service.archive_format import Line
from model_service.batch import scoring as batch_scoring
from model_service.datasets import schema
from model_service.datasets.formats import json_lines
from model_service.datasets.formats.json_lines import LineKind
from model_service.errors import ModelError, RideRejected
from model_service.features import RideColumns
from model_service.models import loader
from model_service.models.served import Models, Served
from model_service.scoring import Answers, Target
from tests.support.golden import GoldenModel

from ..support import golden
from ..support.batch_factories import ROW, models
from ..support.batch_factories import rides as table
from ..support.factories import ARRIVED, FakeModel

ROOT = Path(__file__).parents[2]


def both(scored: batch_scoring.Scored) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    return scored.rides, scored.rejected


def at_distance(**answers: tuple[float, float, float]) -> Any:
    """A model that answers by whole miles: (value, low, high) under the name `_MILES`."""

    def ask(rides: RideColumns) -> Answers:
        found = np.array([answers[f"_{int(miles)}"] for miles in rides.distance])
        return Answers(found[:, 0], found[:, 1:])

    return ask


def test_scored_ride_has_inputs_prediction_version_and_actual_value() -> None:
    tlc = ROW | {"dropoff_datetime": ROW["pickup_datetime"].replace(minute=45)}

    scored, rejected = both(batch_scoring.score(models(), table(tlc)))

    [row] = scored.to_pylist()
    assert not len(rejected)
    assert row | {"pickup_datetime": None} == {
        "row": 1,
        "ride_id": "256",
        "event_id": None,
        "PULocationID": 130,
        "DOLocationID": 205,
        "trip_distance": 3.66,
        "pickup_datetime": None,
        "ride_duration": 20.3,
        "ride_duration_low": None,
        "ride_duration_high": None,
        "ride_duration_actual": 30.0,
        "ride_duration_error": pytest.approx(-9.7),
        "ride_duration_model": "ride_duration_prediction_model",
        "ride_duration_version": "Test123",
    }
    assert row["pickup_datetime"].isoformat() == "2021-03-01T08:15:00-05:00"


def test_scored_ride_has_the_predictions_of_both_models() -> None:
    scored, _ = both(batch_scoring.score(models(cost=True), table(ROW)))

    [row] = scored.to_pylist()
    assert (row["ride_cost"], row["ride_cost_version"]) == (20.3, "Cost456")
    assert scored.schema == batch_scoring.schema(models(cost=True))


@pytest.mark.parametrize(
    "answer",
    [
        (float("nan"), 0.0, 9.0),
        (float("inf"), 0.0, float("inf")),
        (-0.1, -1.0, 9.0),
        (1440.1, 0.0, 1500.0),
        (5.0, 5.1, 9.0),
        (5.0, 1.0, 4.9),
        (5.0, float("nan"), 9.0),
        (5.0, 1.0, float("inf")),
    ],
)
def test_prediction_outside_its_range_or_interval_rejects_the_ride(
    answer: tuple[float, float, float],
) -> None:
    ask = at_distance(_1=answer, _2=(5.0, 5.0, 5.0))
    rows = [ROW | {"ride_id": str(n), "trip_distance": float(n)} for n in (1, 2)]

    scored, rejected = both(batch_scoring.score(models(ask), table(*rows)))

    assert scored["ride_id"].to_pylist() == ["2"]
    assert rejected["reason"].to_pylist() == [scoring.OUTSIDE]
    assert rides.decode(rejected["data"].to_pylist()[0]).ride_id == "1"


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 20), min_size=1, max_size=30),
    st.lists(st.floats(-10, 1500) | st.just(float("nan")), min_size=21, max_size=21),
    st.sets(st.integers(0, 20), max_size=3),
)
def test_every_ride_has_the_outcome_of_the_core_s_scoring(
    distances: list[float], answers: list[float], at_fault: set[int]
) -> None:
    def ask(rides: RideColumns) -> Answers:
        return Answers(np.array(answers)[rides.distance.astype(int)])

    def cannot(rides: RideColumns) -> Any:
        is_warm_up = rides.distance == scoring.WARM_UP.distance
        return np.isin(rides.distance.astype(int), [*at_fault]) & ~is_warm_up

    answers[int(scoring.WARM_UP.distance)] = 1.0
    found = table(*(ROW | {"trip_distance": miles} for miles in distances))
    given_models = models(ask, cannot)

    scored, rejected = both(batch_scoring.score(given_models, found))

    served = given_models.duration
    scores = scoring.score(served.model, served.target, schema.columns(found))
    expected = scores.outcomes()
    refused = {n: str(o) for n, o in enumerate(expected, 1) if isinstance(o, RideRejected)}
    values = {n: o.value for n, o in enumerate(expected, 1) if isinstance(o, scoring.Answer)}
    assert dict(zip(*(scored[n].to_pylist() for n in ("row", "ride_duration")), strict=True)) == (
        values
    )
    assert dict(zip(*(rejected[n].to_pylist() for n in ("row", "reason")), strict=True)) == refused


def test_ride_that_one_model_rejects_is_rejected() -> None:
    duration = Served(FakeModel(), Target())
    cost = Served(FakeModel(), Target("ride_cost_prediction_model", "ride_cost", 0, 10))

    scored, rejected = both(batch_scoring.score(Models(duration, cost), table(ROW)))

    assert (len(scored), rejected["reason"].to_pylist()) == (0, [scoring.OUTSIDE])


def test_model_that_fails_on_the_warm_up_ride_fails_the_batch() -> None:
    broken = models(cannot=lambda rides: np.ones(len(rides.pickup), dtype=bool))

    with pytest.raises(ModelError):
        batch_scoring.score(broken, table(ROW))


def test_model_with_a_wrong_number_of_answers_scores_rides_one_by_one() -> None:
    def ask(rides: RideColumns) -> Answers:
        return Answers(np.ones(1))

    scored, rejected = both(batch_scoring.score(models(ask), table(ROW, ROW)))

    assert (scored["ride_duration"].to_pylist(), len(rejected)) == ([1.0, 1.0], 0)


def test_empty_batch_has_no_predictions() -> None:
    scored, rejected = both(batch_scoring.score(models(), table(ROW).slice(0, 0)))

    assert (len(scored), len(rejected)) == (0, 0)


def test_golden_rides_have_the_predictions_of_the_stream(
    golden_models: dict[golden.Target, GoldenModel],
) -> None:
    loaded = {of: loader.load(model.model_location) for of, model in golden_models.items()}
    served = [Served(one, Target(field=f"ride_{of}")) for of, one in loaded.items()]
    archived = [golden_line(n, data) for n, data in enumerate(golden.payloads())]

    found = json_lines.parse(archived, LineKind.ARCHIVE, 1)
    scored, rejected = both(batch_scoring.score(Models(*served), found.rides))

    assert not len(found.rejected) and not len(rejected)
    for target, one in loaded.items():
        stream = one.predict(golden.ride_columns())
        value, *ends = (scored[f"ride_{target}{end}"].to_pylist() for end in ("", "_low", "_high"))
        assert value == stream.values.tolist()
        assert value == pytest.approx(golden.expected(target), abs=golden.TOLERANCE)
        assert stream.intervals is not None
        assert ends == stream.intervals.T.tolist()
        assert np.ravel(ends, "F") == pytest.approx(golden.intervals(target), abs=golden.TOLERANCE)


def golden_line(number: int, data: bytes) -> bytes:
    arrived_at = datetime.fromtimestamp(ARRIVED, UTC)
    line = Line(
        event_id=str(number),
        arrived_at=arrived_at,
        partition_key="1",
        data=b64encode(data).decode(),
    )
    return msgspec.json.encode(line)


def test_prediction_does_not_depend_on_the_chunk(golden_location: str) -> None:
    given_models = Models(Served(loader.load(golden_location), Target()))
    random = np.random.default_rng(0)
    found = table(
        *(
            ROW | {"PULocationID": int(pu), "trip_distance": float(miles)}
            for pu, miles in zip(random.integers(1, 266, 999), random.gamma(2, 2, 999), strict=True)
        )
    )

    whole, _ = both(batch_scoring.score(given_models, found))
    parts = [
        batch_scoring.score(given_models, found.slice(at, 100)).rides for at in range(0, 999, 100)
    ]

    assert pa.Table.from_batches(parts).combine_chunks() == pa.Table.from_batches([whole])


def test_stream_and_web_import_no_batch_libraries() -> None:
    script = (
        "import sys, lambda_function_imports, model_service.web;"
        " print({'pyarrow', 'polars', 'rich', 'matplotlib'} & sys.modules.keys())"
    ).replace(
        "lambda_function_imports", "model_service.stream.processor, model_service.kinesis.publisher"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"
