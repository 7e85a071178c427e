"""Models as people log them: served as they were trained, or refused with the way to log them."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from model_service import features
from model_service.errors import ModelError
from model_service.features import TEXT, Inputs
from model_service.models import loader

from ..support import models

pytestmark = models.MLFLOW_IMPORT

F8 = np.dtype("f8")
ZONES: Inputs = {"PULocationID": TEXT, "DOLocationID": TEXT, "trip_distance": F8}
RIDES = models.rides()


def dicts(inputs: Inputs) -> list[dict[str, Any]]:
    table = features.table(RIDES, inputs)
    return [
        dict(zip(table, row, strict=True))
        for row in zip(*(column.tolist() for column in table.values()), strict=True)
    ]


def line() -> Any:
    return make_pipeline(DictVectorizer(), LinearRegression())


SHAPES: dict[str, Callable[[], Any]] = {
    "pipeline": line,
    "pipeline in a pipeline": lambda: make_pipeline("passthrough", line()),
    "another separator": lambda: make_pipeline(DictVectorizer(separator="|"), LinearRegression()),
    "search": lambda: GridSearchCV(line(), {"linearregression__positive": [False]}, cv=2),
    "transformed target": lambda: TransformedTargetRegressor(line(), check_inverse=False),
}


@pytest.mark.parametrize("signature", [False, True], ids=["without", "with signature"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_dict_vectorizer_gets_the_keys_that_it_was_trained_on(
    tmp_path: Path, shape: str, signature: bool
) -> None:
    """It ignores unknown keys and takes missing ones for zero, so it cannot notice wrong keys."""
    trained = dicts(ZONES)
    model = SHAPES[shape]().fit(trained, models.minutes(RIDES))
    columns = [("string", "PULocationID"), ("string", "DOLocationID"), ("double", "trip_distance")]
    path = models.save_sklearn(
        tmp_path / "model",
        model,
        serialization_format="cloudpickle",
        signature=models.signature(columns) if signature else None,
    )

    answers = loader.load(str(path), allow_pickled=True).predict(RIDES)

    assert answers.values.tolist() == model.predict(trained).tolist()


@pytest.mark.parametrize(
    "inputs",
    [
        {"PU_DO": TEXT, "trip_distance": F8},
        {"PULocationID": F8, "DOLocationID": F8},
        {"PU_DO": TEXT, "hour": F8, "straight": F8, "trip_distance": F8},
    ],
)
def test_a_dict_vectorizer_may_have_any_features(tmp_path: Path, inputs: Inputs) -> None:
    trained = dicts(inputs)
    model = line().fit(trained, models.minutes(RIDES))
    path = models.save_sklearn(tmp_path / "model", model)

    answers = loader.load(str(path)).predict(RIDES)

    assert answers.values.tolist() == model.predict(trained).tolist()


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        ([{"passengers": 1.0, "trip_distance": 3.5}] * 2, "passengers as a number"),
        ([{"hour": "8"}, {"hour": "9"}], "hour as text"),
        ([{"PU_DO": 7.0}] * 2, "PU_DO as a number"),
        ([{"PULocationID": "7"}, {"PULocationID": 7}], "PULocationID as text and a number"),
    ],
)
def test_a_dict_vectorizer_of_what_is_no_feature_is_refused(
    tmp_path: Path, trained: list[dict[str, Any]], asked: str
) -> None:
    model = line().fit(trained, [1.0, 2.0])
    path = models.save_sklearn(tmp_path / "model", model)

    with pytest.raises(ModelError, match=f"asks for {asked}; the features of a ride are PU_DO"):
        loader.load(str(path))


def test_a_feature_hasher_gets_the_columns_of_its_signature(tmp_path: Path) -> None:
    """Its columns are hashes, so nothing but a signature says which features it has."""
    trained = dicts({"PU_DO": TEXT, "hour": F8})
    model = make_pipeline(FeatureHasher(64), LinearRegression()).fit(trained, models.minutes(RIDES))
    signature = models.signature([("string", "PU_DO"), ("double", "hour")])
    with_signature = models.save_sklearn(tmp_path / "with", model, signature=signature)
    without = models.save_sklearn(tmp_path / "without", model)

    answers = loader.load(str(with_signature)).predict(RIDES)

    assert answers.values.tolist() == model.predict(trained).tolist()
    with pytest.raises(ModelError, match="FeatureHasher does not name its features: log it as"):
        loader.load(str(without))


def matrix() -> Any:
    return DictVectorizer(sparse=False).fit_transform(dicts({"PU_DO": TEXT, "trip_distance": F8}))


def forest(rides: Any) -> Any:
    return RandomForestRegressor(n_estimators=2, random_state=0).fit(rides, models.minutes(RIDES))


def test_a_model_beside_its_vectorizer_is_refused_with_the_pipeline_to_log(tmp_path: Path) -> None:
    """The vectorizer is a pickle outside the model's directory, which no digest covers."""
    (tmp_path / "preprocessor").mkdir()
    (tmp_path / "preprocessor" / "preprocessor.b").write_bytes(pickle.dumps(DictVectorizer()))
    model = LinearRegression().fit(matrix(), models.minutes(RIDES))
    path = models.save_sklearn(tmp_path / "model", model)

    with pytest.raises(ModelError) as refusal:
        loader.load(str(path))

    text = str(refusal.value)
    assert f"the model is a LinearRegression of {matrix().shape[1]} columns without a" in text
    assert "preprocessor.b" in text
    assert "make_pipeline(DictVectorizer(), model)" in text
    assert "signature=infer_signature(frame, predictions)" in text


def test_a_bare_forest_is_refused_with_the_pipeline_to_log(tmp_path: Path) -> None:
    path = models.save_sklearn(
        tmp_path / "model", forest(matrix()), skops_trusted_types=["sklearn.tree._tree.Tree"]
    )

    with pytest.raises(
        ModelError, match=r"is a RandomForestRegressor of \d+ columns without a sig"
    ):
        loader.load(str(path))


def test_a_forest_of_a_frame_without_signature_is_refused_with_the_signature_to_log(
    tmp_path: Path,
) -> None:
    """The frame's column names are known, and their types are not."""
    frame = pd.DataFrame({"trip_distance": RIDES.distance, "hour": RIDES.hour})
    path = models.save_sklearn(
        tmp_path / "model", forest(frame), skops_trusted_types=["sklearn.tree._tree.Tree"]
    )

    with pytest.raises(ModelError, match=r"of 2 columns without a signature.*infer_signature"):
        loader.load(str(path))


def test_a_signature_that_is_a_tensor_is_refused_with_what_it_is(tmp_path: Path) -> None:
    from mlflow.models import infer_signature

    rides = matrix()
    path = models.save_sklearn(
        tmp_path / "model",
        forest(rides),
        signature=infer_signature(rides),
        skops_trusted_types=["sklearn.tree._tree.Tree"],
    )

    with pytest.raises(
        ModelError, match=r"signature is a tensor \(\(-1, \d+\) of float64\), which does not say"
    ):
        loader.load(str(path))


@pytest.mark.parametrize(
    ("kind", "name"), [("long", "hour"), ("integer", "weekday"), ("long", "trip_distance")]
)
def test_an_integer_that_may_be_missing_is_refused_with_the_conversion(
    tmp_path: Path, kind: str, name: str
) -> None:
    signature = models.signature([("string", "PU_DO"), (kind, name)])
    path = models.save_python(tmp_path / "model", lambda rides: [7.0], signature=signature)

    with pytest.raises(
        ModelError, match=rf"asks for {name} as {kind};.*missing.*astype\('float64'"
    ):
        loader.load(str(path), allow_pickled=True)


def test_an_integer_input_of_onnx_that_may_be_missing_is_refused(tmp_path: Path) -> None:
    path = models.write_onnx(
        tmp_path,
        f"""{models.HEAD}
        ride (int64[N, 1] hour) => (float[N, 1] value) {{ value = Cast <to = 1> (hour) }}""",
    )

    with pytest.raises(ModelError, match=r"asks for hour as tensor\(int64\);.*may be missing"):
        loader.load(str(path))


def two_columns(rides: Any) -> Any:
    return pd.DataFrame({"ride_cost": 8.0, "ride_duration": [7.0] * len(rides)})


@pytest.mark.parametrize(("field", "value"), [("ride_duration", 7.0), ("ride_cost", 8.0)])
def test_the_answer_is_the_column_that_is_named_like_the_value(
    tmp_path: Path, field: str, value: float
) -> None:
    path = models.save_python(tmp_path / "model", two_columns)

    loaded = loader.load(str(path), allow_pickled=True, field=field)

    assert loaded.predict(models.rides(2)).values.tolist() == [value, value]


def twice_the_same(rides: Any) -> Any:
    frame = two_columns(rides)
    return pd.concat([frame, frame], axis=1)


@pytest.mark.parametrize(
    ("answer", "field", "columns"),
    [
        (two_columns, "minutes", 2),
        (two_columns, "", 2),
        (twice_the_same, "ride_cost", 4),
        (lambda rides: np.ones((len(rides), 3)), "ride_cost", 3),
    ],
)
def test_answers_of_several_columns_are_refused_with_the_column_to_name(
    tmp_path: Path, answer: Callable[[Any], Any], field: str, columns: int
) -> None:
    path = models.save_python(tmp_path / "model", answer)

    with pytest.raises(
        ModelError,
        match=f"answers {columns} columns for each ride.* column {field or 'ride_duration'} is",
    ):
        loader.load(str(path), allow_pickled=True, field=field)


@pytest.mark.parametrize(
    "graph",
    [
        "ride (float[1, 1] trip_distance) => (float[1, 1] value)"
        " { value = Identity (trip_distance) }",
        "ride (float[N, 1] trip_distance) => (float[1, 1] value)"
        " { shape = Constant <value_ints = [1, 1]> () value = Reshape (trip_distance, shape) }",
        "ride (float[N, 1] trip_distance) => (float[1, 1] value)"
        " { value = ReduceSum <keepdims = 1> (trip_distance) }",
    ],
    ids=["input", "inside", "sum"],
)
def test_an_onnx_model_of_a_fixed_batch_size_is_refused(tmp_path: Path, graph: str) -> None:
    """It loads, scores the warm-up ride, and would score every batch ride by ride."""
    path = models.write_onnx(tmp_path, f"{models.HEAD}\n{graph}")

    with pytest.raises(ModelError, match=r"scores single rides only.*of shape \(N, 1\)"):
        loader.load(str(path))


def test_a_python_model_that_answers_for_one_ride_only_is_refused(tmp_path: Path) -> None:
    path = models.save_python(tmp_path / "model", lambda rides: [7.0])

    with pytest.raises(ModelError, match=r"scores single rides only.*one value for each ride"):
        loader.load(str(path), allow_pickled=True)


def broken(path: Path) -> None:
    (path / "model.pkl").write_bytes(b"?")


def unchanged(path: Path) -> None:
    pass


def raising(path: Path) -> None:
    (path / "model.pkl").write_bytes(pickle.dumps(models.Opened()))


@pytest.mark.parametrize(
    ("change", "allow_pickled", "first"),
    [
        (unchanged, False, "the model may run code of its own"),
        (broken, True, "MLflow cannot load the model"),
        (raising, True, "the model cannot score the warm-up ride"),
    ],
)
def test_a_refusal_names_both_versions_of_scikit_learn_if_they_differ(
    tmp_path: Path, change: Callable[[Path], None], allow_pickled: bool, first: str
) -> None:
    """Models of an old scikit-learn fail in many ways, whose messages do not name the cause."""
    path = models.save_sklearn(
        tmp_path / "model", models.dict_pipeline(), serialization_format="pickle"
    )
    models.edit_mlmodel(path, "sklearn", sklearn_version="1.0.2")
    change(path)

    with pytest.raises(ModelError) as refusal:
        loader.load(str(path), allow_pickled=allow_pickled)

    text = str(refusal.value)
    assert text.startswith(first)
    assert text.isprintable()  # one line
    assert text.endswith(
        f"the model was saved by scikit-learn 1.0.2, and {sklearn.__version__} is installed: log it"
        f" as ONNX where 1.0.2 is installed, or train it again with {sklearn.__version__}"
    )


@pytest.mark.parametrize(
    ("saved", "lines"),
    [("1.0.2", 1), (sklearn.__version__, 0), (f"{sklearn.__version__}.post1", 0)],
)
def test_a_served_model_of_another_scikit_learn_is_one_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, saved: str, lines: int
) -> None:
    path = models.save_sklearn(tmp_path / "model", models.dict_pipeline())
    models.edit_mlmodel(path, "sklearn", sklearn_version=saved)

    with caplog.at_level(logging.WARNING, "model_service"):
        loader.load(str(path))

    found = [record.getMessage() for record in caplog.records if record.name.startswith("model_s")]
    assert len(found) == lines
    assert all(re.search(r"scikit-learn 1\.0\.2, and .* is installed", line) for line in found)


def of_library(path: Path, library: str) -> Path:
    """A model as MLflow describes those of *library*, which is not installed."""
    models.write_mlmodel(
        path,
        run_id=models.RUN_ID,
        flavors={
            "python_function": {"loader_module": f"mlflow.{library}", "data": "model.bin"},
            library: {"data": "model.bin"},
        },
    )
    (path / "model.bin").write_bytes(b"")
    return path


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_a_package_that_is_missing_is_named_with_the_build_argument(
    tmp_path: Path, library: str
) -> None:
    path = of_library(tmp_path, library)

    with pytest.raises(
        ModelError, match=rf"needs the package {library}.*--build-arg PACKAGES={library}==VERSION"
    ):
        loader.load(str(path), allow_pickled=True)


def test_columns_of_a_library_without_signature_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own loaders take columns; only the signature says which."""
    (tmp_path / "packages" / "xgboost").mkdir(parents=True)
    (tmp_path / "packages" / "xgboost" / "__init__.py").write_text("")
    (tmp_path / "packages" / "xgboost" / "core.py").write_text(
        "class Booster:\n    def load_model(self, file): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "packages")
    (tmp_path / "model").mkdir()
    path = of_library(tmp_path / "model", "xgboost")

    with pytest.raises(ModelError, match=r"one of mlflow\.xgboost without a signature"):
        loader.load(str(path), allow_pickled=True)


def test_a_vectorizer_behind_the_first_step_is_refused(tmp_path: Path) -> None:
    """The service could not tell which features it takes, and would predict nonsense."""
    dicts = [
        {"PULocationID": "130", "trip_distance": 3.6},
        {"PULocationID": "7", "trip_distance": 1},
    ]
    hidden = make_pipeline(FunctionTransformer(), DictVectorizer(), LinearRegression())
    path = models.save_sklearn(
        tmp_path / "model", hidden.fit(dicts, [1.0, 2.0]), serialization_format="cloudpickle"
    )

    with pytest.raises(ModelError, match="DictVectorizer is not its first step"):
        loader.load(str(path), allow_pickled=True)
