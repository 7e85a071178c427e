"""The forms an MLflow model comes in, each as a function from rides to answers.

ONNX runs on one thread: with more, a ride's answer was seen to depend on the batch it came in,
and a thousand rides take longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import features
from ..errors import ModelError
from ..features import TEXT, Inputs, RideColumns
from ..scoring import Answers

Ask = Callable[[RideColumns], Answers]

ONNX_TYPES: Mapping[str, np.dtype[Any]] = {
    "tensor(string)": TEXT,
    "tensor(float)": np.dtype("f4"),
    "tensor(double)": np.dtype("f8"),
    "tensor(int32)": np.dtype("i4"),
    "tensor(int64)": np.dtype("i8"),
}
INTERVAL = "interval"  # the output of an ONNX model that has intervals, shape (n, 2)


def onnx(data: bytes) -> Ask:
    """An ONNX model with an input a feature, shape (n, 1), and its values as first output.

    Raises `ModelError` where it cannot be loaded or asks for what is no feature of a ride.
    """
    os.putenv("ORT_DISABLE_TELEMETRY", "1")  # else it tells its maker of the model and its use
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's errors have no root of their own
        raise ModelError(f"onnxruntime cannot load the model: {exc}") from exc
    inputs = known({i.name: ONNX_TYPES.get(i.type) for i in session.get_inputs()})
    outputs = [output.name for output in session.get_outputs()]
    wanted = [outputs[0], INTERVAL] if INTERVAL in outputs[1:] else outputs[:1]

    def ask(rides: RideColumns) -> Answers:
        table = features.table(rides, inputs)
        feed = {name: column.reshape(-1, 1) for name, column in table.items()}
        values, *interval = session.run(wanted, feed)
        return Answers(_flat(values), _pairs(interval[0]) if interval else None)

    return ask


def pyfunc(path: Path) -> Ask:
    """Any other MLflow model in a directory on disk.  It has been checked: this runs its code.

    Raises `ModelError` where MLflow cannot load it or it asks for what is no feature of a ride.
    """
    import mlflow.pyfunc  # seconds to import, so only where it is needed
    import pandas as pd

    try:
        model = mlflow.pyfunc.load_model(str(path), suppress_warnings=True)
    except Exception as exc:  # MLflow raises whatever the model's own library raises
        raise ModelError(f"MLflow cannot load the model: {exc}") from exc
    vectorised = _dict_vectorised(model)
    if vectorised is not None:
        return lambda rides: Answers(_flat(vectorised.predict(features.rows(rides))))
    schema = model.metadata.get_input_schema()
    if schema is None:
        return lambda rides: Answers(_flat(model.predict(features.rows(rides))))
    if not schema.has_input_names():
        raise ModelError("the model's signature names no features")
    inputs = known({i.name: _numpy_type(i.type) for i in schema.inputs})
    return lambda rides: Answers(_flat(model.predict(pd.DataFrame(features.table(rides, inputs)))))


def known(asked: Mapping[str, np.dtype[Any] | None]) -> Inputs:
    """What a model asks for, once it is clear that a ride has it all; else `ModelError`."""
    unknown = sorted(
        name
        for name, dtype in asked.items()
        if dtype is None or dtype.kind not in features.TYPES.get(name, "")
    )
    if unknown:
        numbers = [name for name, kinds in features.TYPES.items() if kinds == "f"]
        raise ModelError(
            f"the model asks for {', '.join(unknown)}; the features of a ride are PU_DO as text,"
            " PULocationID and DOLocationID as text or numbers, and as floating point"
            f" {', '.join(numbers)}"
        )
    return {name: dtype for name, dtype in asked.items() if dtype is not None}


def _dict_vectorised(model: Any) -> Any | None:
    """The scikit-learn pipeline inside, where its first step takes dicts.

    With a signature, MLflow would make a data frame of the dicts, and the step would fail.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.pipeline import Pipeline

    try:
        inside = model.get_raw_model()
    except NotImplementedError:  # a custom model need not have anything inside
        return None
    takes_dicts = isinstance(inside, Pipeline) and isinstance(inside[0], DictVectorizer)
    return inside if takes_dicts else None


def _numpy_type(type_: Any) -> np.dtype[Any] | None:
    """The numpy type of an MLflow column type; None where it is no text or number."""
    name = getattr(type_, "name", "")
    numbers = {"double": "f8", "float": "f4", "long": "i8", "integer": "i4"}
    return TEXT if name == "string" else np.dtype(numbers[name]) if name in numbers else None


def _flat(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _pairs(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:  # else each ride would be blamed for it
        raise ModelError(f"the model's intervals have shape {array.shape}, not (n, 2)")
    return array
