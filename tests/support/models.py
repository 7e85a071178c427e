"""MLflow model directories for tests, as people, notebooks and training make them.

What MLflow can save is saved by MLflow.  The small ONNX model is written by hand, so that a test
that needs any model at all does not wait for the import of MLflow.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx.parser
import pytest
import yaml
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from model_service.features import RideColumns, rows

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MLFLOW_IMPORT = pytest.mark.filterwarnings(
    "ignore:.*Any type hint is inferred as AnyType:UserWarning"
)
"""Ignores a warning that MLflow raises about its own code on the first import."""

RUN_ID = "e1efc53e9bd149078b0c12aeaa6365df"

HEAD = '<ir_version: 8, opset_import: ["": 17]>'
LINE = f"""{HEAD}
ride (float[N, 1] trip_distance) => (float[N, 1] value) {{
    five = Constant <value_float = 5.0> ()
    two = Constant <value_float = 2.0> ()
    driven = Mul (trip_distance, five)
    value = Add (driven, two)
}}"""
"""Five minutes a mile, and two."""

SEVEN = """\
class Seven:
    def predict(self, rides):
        return [7.0] * len(rides)
"""


def rides(number: int = 200) -> RideColumns:
    """Different rides, the same each time."""
    random = np.random.default_rng(number)
    return RideColumns(
        pickup=random.integers(1, 12, number),
        dropoff=random.integers(1, 12, number),
        distance=random.uniform(0, 20, number),
        picked_up=np.datetime64("2021-03-01", "us")
        + random.integers(0, 7 * 24 * 60, number) * np.timedelta64(1, "m"),
    )


def minutes(rides: RideColumns) -> NDArray[np.float64]:
    """How long those rides took: more on some routes than on others."""
    took: NDArray[np.float64] = 2 + 5 * rides.distance + 0.7 * rides.pickup - 0.3 * rides.dropoff
    return took


def dict_pipeline() -> Pipeline:
    """A first step that takes dicts, and a line: what the well-known course trains."""
    return pipeline_of(LinearRegression())


def pipeline_of(last: Any) -> Pipeline:
    """Dicts, and *last* to learn from them."""
    learnt = rides()
    return make_pipeline(DictVectorizer(), last).fit(rows(learnt), minutes(learnt))


OPENED: list[str] = []


class Opened(LinearRegression):  # type: ignore[misc]
    """Leaves a trace wherever it is opened."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        OPENED.append("opened")
        super().__setstate__(state)


def frame_pipeline() -> Pipeline:
    """Trees on a text column and a numeric one of a data frame."""
    import pandas as pd

    learnt = rides()
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("route", encoder, ["PU_DO"])], remainder="passthrough")
    trees = GradientBoostingRegressor(n_estimators=20, random_state=0)
    return Pipeline([("columns", columns), ("trees", trees)]).fit(
        pd.DataFrame(rows(learnt)), minutes(learnt)
    )


def signature(columns: Sequence[tuple[str, str | None]]) -> Any:
    """An MLflow signature that asks for *columns*, each a type and a name."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(
        Schema([ColSpec(*column) for column in columns]), Schema([ColSpec("double")])
    )


def save_sklearn(path: Path, model: Any, **options: Any) -> Path:
    """*model* as MLflow saves scikit-learn's: with skops, unless *options* say otherwise."""
    import mlflow.sklearn

    # Named requirements spare MLflow the search for them, which takes seconds.
    mlflow.sklearn.save_model(model, path, pip_requirements=["scikit-learn"], **options)
    return path


def save_python(path: Path, predict: Callable[[Any], Any], **options: Any) -> Path:
    """A custom ``python_model`` that answers what *predict* does."""
    import mlflow.pyfunc

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # advice on signatures
        mlflow.pyfunc.save_model(
            path,
            python_model=lambda model_input: predict(model_input),  # MLflow wants this name
            pip_requirements=["cloudpickle"],
            **options,
        )
    return path


def save_with_code(path: Path) -> Path:
    """A pickle of a class whose module it brings along; it answers seven."""
    module = path / f"brought_by_{path.name}.py"
    module.write_text(SEVEN)
    spec = spec_from_file_location(module.stem, module)
    assert spec is not None and spec.loader is not None
    sys.modules[module.stem] = brought = module_from_spec(spec)
    spec.loader.exec_module(brought)
    try:
        return save_sklearn(
            path / "model",
            brought.Seven(),
            serialization_format="cloudpickle",
            code_paths=[str(module)],
        )
    finally:
        del sys.modules[module.stem]


def save_onnx(path: Path, graph: onnx.ModelProto) -> Path:
    """*graph* as MLflow saves it; large weights it puts beside it."""
    import mlflow.onnx

    mlflow.onnx.save_model(graph, path, pip_requirements=["onnx"])
    return path


def write_onnx(path: Path, graph: str | bytes = LINE, **changes: Any) -> Path:
    """An ONNX model by hand; *graph* is in the text form of `onnx.parser`, or the file itself."""
    path.mkdir(parents=True, exist_ok=True)
    data = graph if isinstance(graph, bytes) else onnx.parser.parse_model(graph).SerializeToString()
    (path / "model.onnx").write_bytes(data)
    flavors = {"onnx": {"data": "model.onnx", "onnx_version": onnx.__version__}}
    return write_mlmodel(path, **{"flavors": flavors, "run_id": RUN_ID, **changes})


def write_mlmodel(path: Path, **contents: Any) -> Path:
    (path / "MLmodel").write_text(yaml.safe_dump(contents))
    return path


def edit_mlmodel(path: Path, flavor: str, **changes: Any) -> Path:
    """Change what the ``MLmodel`` in *path* says of a flavour."""
    contents = yaml.safe_load((path / "MLmodel").read_text())
    contents["flavors"].setdefault(flavor, {}).update(changes)
    return write_mlmodel(path, **contents)


def upload(s3: S3Client, directory: Path, bucket: str, prefix: str) -> str:
    """Put *directory* under a prefix; returns its location."""
    for file in directory.rglob("*"):
        if file.is_file():
            key = f"{prefix}/{file.relative_to(directory).as_posix()}"
            s3.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
    return f"s3://{bucket}/{prefix}"
