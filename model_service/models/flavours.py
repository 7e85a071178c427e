"""Turns each flavour (format) of an MLflow model into a function from rides to predictions.

ONNX models run on one thread.  With several threads, a ride's prediction sometimes depended on the
other rides in the batch, and a call with a thousand rides took longer.
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
INTERVAL = "interval"  # name of the optional output with the intervals, shape (n, 2)


def onnx(data: bytes) -> Ask:
    """Return a function that calls the ONNX model whose file has the content *data*.

    The model must have one input, shape (n, 1), for each feature that it uses.  Its first output
    must be the predicted values; an output named `INTERVAL` is optional.
    Raises `ModelError` if the model cannot be loaded, or has an input that is not a feature.
    """
    os.putenv("ORT_DISABLE_TELEMETRY", "1")  # or it sends data about the model to its maker
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's exceptions have no common base class
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
    """Return a function that calls the MLflow model in the directory *path*, for other flavours.

    The caller must have checked the model (see `trust`), because this function runs its code.
    Raises `ModelError` if MLflow cannot load the model, or it has an input that is not a feature.
    """
    import mlflow.pyfunc  # takes seconds, so import it only if needed
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
    """Return *asked*, the inputs of a model and their types (None for an unknown type).

    Raises `ModelError` if an input is not a feature of a ride, or has an unsuitable type.
    """
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
    """Return the scikit-learn pipeline in *model* if its first step takes dicts, or None.

    The pipeline is called directly: if the model has a signature, MLflow would convert the dicts to
    a data frame, on which the first step fails.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.pipeline import Pipeline

    try:
        inside = model.get_raw_model()
    except NotImplementedError:  # a custom model may not wrap another model
        return None
    takes_dicts = isinstance(inside, Pipeline) and isinstance(inside[0], DictVectorizer)
    return inside if takes_dicts else None


def _numpy_type(type_: Any) -> np.dtype[Any] | None:
    """Return the numpy type of an MLflow column type; None if it is neither text nor a number."""
    name = getattr(type_, "name", "")
    numbers = {"double": "f8", "float": "f4", "long": "i8", "integer": "i4"}
    return TEXT if name == "string" else np.dtype(numbers[name]) if name in numbers else None


def _flat(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _pairs(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:  # the model's fault: no ride must be rejected
        raise ModelError(f"the model's intervals have shape {array.shape}, not (n, 2)")
    return array
