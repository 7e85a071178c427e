from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_service.errors import ModelError
from model_service.features import RideColumns, columns, rows
from model_service.models import flavours
from model_service.rides import Ride
from tests.support.training_factories import fit_quickly
from training.data.dataset import Rides
from training.model import champion, export
from training.model.champion import FittedChampion

from ..support import models

pytestmark = models.MLFLOW_IMPORT

ROUTE_AND_DISTANCE = [("string", "PU_DO"), ("double", "trip_distance")]

INTERVAL = f"""{models.HEAD}
ride (float[N, 1] trip_distance) => (float[N, 1] value, string[N, 1] note, float[N, 2] interval) {{
    value = Identity (trip_distance)
    note = Cast <to = 8> (trip_distance)
    twice = Add (trip_distance, trip_distance)
    interval = Concat <axis = 1> (trip_distance, twice)
}}"""


@pytest.fixture(scope="module")
def trees() -> FittedChampion:
    """What training fits."""
    learnt = models.rides(1_000)
    when = np.full(1_000, np.datetime64("2021-03-01T08:15"))
    return fit_quickly(Rides(learnt, models.minutes(learnt), when))


@pytest.fixture(scope="module")
def ask_trees(trees: FittedChampion) -> flavours.Ask:
    return flavours.onnx(export.to_onnx(trees))


def test_onnxruntime_tells_nobody_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    path = models.write_onnx(tmp_path / "line")
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import sys; from pathlib import Path; from model_service.models import flavours;"
        "flavours.onnx(Path(sys.argv[1]).read_bytes())"
    )

    subprocess.run(
        [sys.executable, "-c", script, path / "model.onnx"],
        cwd=Path(__file__).parents[2],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},  # where CI is set it is silent anyhow
        check=True,
    )

    assert list(home.rglob("*")) == []


@pytest.mark.parametrize("signature", [None, ROUTE_AND_DISTANCE], ids=["without", "with signature"])
@pytest.mark.parametrize("serialization_format", ["skops", "cloudpickle"])
def test_a_dict_vectorizer_gets_dicts_and_answers_as_it_did_when_trained(
    tmp_path: Path, signature: list[tuple[str, str | None]] | None, serialization_format: str
) -> None:
    pipeline = models.dict_pipeline()
    path = models.save_sklearn(
        tmp_path / "model",
        pipeline,
        signature=models.signature(signature) if signature else None,
        serialization_format=serialization_format,
    )

    answers = flavours.pyfunc(path)(models.rides())

    assert answers.values.tolist() == pipeline.predict(rows(models.rides())).tolist()
    assert answers.intervals is None


def test_a_python_model_without_signature_gets_dicts(tmp_path: Path) -> None:
    path = models.save_python(tmp_path / "model", answer_if_dicts)

    answers = flavours.pyfunc(path)(columns([Ride(130, 205, 3.66)]))

    assert answers.values.tolist() == [3.66]


def test_a_model_of_a_data_frame_answers_as_it_did_when_trained(tmp_path: Path) -> None:
    pipeline = models.frame_pipeline()
    signature = models.signature(ROUTE_AND_DISTANCE)
    path = models.save_sklearn(
        tmp_path / "model",
        pipeline,
        signature=signature,
        skops_trusted_types=["sklearn.tree._tree.Tree"],
    )

    answers = flavours.pyfunc(path)(models.rides())

    assert answers.values.tolist() == pipeline.predict(pd.DataFrame(rows(models.rides()))).tolist()


def test_a_signature_gets_exactly_its_columns_in_its_types(tmp_path: Path) -> None:
    signature = models.signature(
        [
            ("float", "trip_distance"),
            ("string", "PULocationID"),
            ("long", "DOLocationID"),
            ("double", "hour"),
            ("string", "PU_DO"),
        ]
    )
    path = models.save_python(tmp_path / "model", answer_if_columns, signature=signature)

    answers = flavours.pyfunc(path)(columns([Ride(130, 205, 3.5)]))

    assert answers.values.tolist() == [3.5]


def test_an_integer_column_is_asked_for_as_such(tmp_path: Path) -> None:
    signature = models.signature([("integer", "PULocationID")])
    path = models.save_python(
        tmp_path / "model", lambda frame: frame.PULocationID.values, signature=signature
    )

    assert flavours.pyfunc(path)(columns([Ride(130, 205, 3.66)])).values.tolist() == [130.0]


@pytest.mark.parametrize(
    "shape",
    [
        lambda frame: frame[["trip_distance"]],
        lambda frame: frame["trip_distance"],
        lambda frame: frame["trip_distance"].tolist(),
        lambda frame: frame[["trip_distance"]].to_numpy(),
    ],
    ids=["frame", "series", "list", "column"],
)
def test_answers_may_come_in_any_shape_that_is_one_number_a_ride(
    tmp_path: Path, shape: Callable[[Any], Any]
) -> None:
    signature = models.signature([("double", "trip_distance")])
    path = models.save_python(tmp_path / "model", shape, signature=signature)

    values = flavours.pyfunc(path)(models.rides(5)).values

    assert values.tolist() == models.rides(5).distance.tolist()


def test_a_model_that_mlflow_cannot_load_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="MLflow cannot load the model: "):
        flavours.pyfunc(tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("float", "trip_distance", 3.5),
        ("double", "trip_distance", 3.5),
        ("int32", "PULocationID", 130.0),
        ("int64", "DOLocationID", 205.0),
        ("string", "PULocationID", 130.0),
    ],
)
def test_onnx_gets_each_feature_in_the_type_it_asks_for(kind: str, name: str, value: float) -> None:
    graph = f"""{models.HEAD}
    ride ({kind}[N, 1] {name}) => (double[N, 1] value) {{ value = Cast <to = 11> ({name}) }}"""

    answers = onnx_of(graph)(columns([Ride(130, 205, 3.5)]))

    assert answers.values.tolist() == [value]
    assert answers.values.dtype == np.float64


def test_onnx_intervals_are_found_by_name() -> None:
    answers = onnx_of(INTERVAL)(columns([Ride(130, 205, 3.5), Ride(1, 1, 0.25)]))

    assert answers.values.tolist() == [3.5, 0.25]
    assert answers.intervals is not None
    assert answers.intervals.tolist() == [[3.5, 7.0], [0.25, 0.5]]
    assert answers.intervals.dtype == np.float64


def test_onnx_without_intervals_has_none() -> None:
    assert onnx_of(models.LINE)(models.rides(3)).intervals is None


def test_onnx_answers_as_the_trees_do(trees: FittedChampion, ask_trees: flavours.Ask) -> None:
    answers = ask_trees(models.rides())

    assert answers.values == pytest.approx(champion.predict(trees, models.rides()), abs=1e-4)


def test_onnx_answers_routes_and_times_that_it_never_saw(ask_trees: flavours.Ask) -> None:
    answers = ask_trees(columns([Ride(265, 264, 3.66)]))

    assert np.isfinite(answers.values).all()


@settings(max_examples=50, deadline=None)
@given(cuts=st.sets(st.integers(1, 199)).map(sorted))
def test_onnx_answers_do_not_depend_on_the_batch(ask_trees: flavours.Ask, cuts: list[int]) -> None:
    rides = models.rides(200)
    together = ask_trees(rides).values

    apart = [ask_trees(part).values for part in split(rides, cuts)]

    assert np.concatenate(apart).tobytes() == together.tobytes()


def test_onnx_answers_one_by_one_as_all_at_once(ask_trees: flavours.Ask) -> None:
    rides = models.rides(1_000)
    together = ask_trees(rides).values

    apart = [ask_trees(part).values for part in split(rides, list(range(1, 1_000)))]

    assert np.concatenate(apart).tobytes() == together.tobytes()


def onnx_of(graph: str) -> flavours.Ask:
    return flavours.onnx(onnx.parser.parse_model(graph).SerializeToString())


def split(rides: RideColumns, cuts: list[int]) -> list[RideColumns]:
    parts = [np.split(getattr(rides, name), cuts) for name in RideColumns.__slots__]
    return [RideColumns(*part) for part in zip(*parts, strict=True)]


def answer_if_dicts(rides: Any) -> list[float]:
    """The distance, for whoever brings exactly what a model without signature is promised."""
    [ride] = rides
    if ride != {"PU_DO": "130_205", "trip_distance": 3.66}:
        raise ValueError(ride)
    return [ride["trip_distance"]]


def answer_if_columns(frame: Any) -> list[float]:
    """The distance, for whoever brings exactly the columns of the signature above."""
    numpy_types = {name: frame[name].to_numpy().dtype.str for name in frame.columns}
    [ride] = frame.to_dict("records")
    hour = ride.pop("hour")
    if list(numpy_types) != ["trip_distance", "PULocationID", "DOLocationID", "hour", "PU_DO"]:
        raise ValueError(numpy_types)
    if [numpy_types["trip_distance"], numpy_types["DOLocationID"]] != ["<f4", "<i8"]:
        raise ValueError(numpy_types)
    if hour == hour or [ride["PULocationID"], ride["PU_DO"]] != ["130", "130_205"]:
        raise ValueError(ride)
    return [ride["trip_distance"]]
