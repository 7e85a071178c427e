"""Turns each flavour (format) of an MLflow model into a function from rides to predictions.

ONNX models run on one thread.  With several threads, a ride's prediction sometimes depended on the
other rides in the batch, and a call with a thousand rides took longer.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import features
from ..errors import ModelError
from ..features import TEXT, Inputs, RideColumns
from ..scoring import Answers
from . import external_data

Ask = Callable[[RideColumns], Answers]

Types = Mapping[str, "np.dtype[Any]"]
"""Name of a type, as a model states it for an input -> the numpy type."""

ONNX_TYPES: Types = {
    "tensor(string)": TEXT,
    "tensor(float)": np.dtype("f4"),
    "tensor(double)": np.dtype("f8"),
    "tensor(int32)": np.dtype("i4"),
    "tensor(int64)": np.dtype("i8"),
}
MLFLOW_TYPES: Types = {
    "string": TEXT,
    "float": np.dtype("f4"),
    "double": np.dtype("f8"),
    "integer": np.dtype("i4"),
    "long": np.dtype("i8"),
}
DICT_TYPES: Types = {"text": TEXT, "a number": np.dtype("f8")}
PASS = "passthrough"  # a step of a scikit-learn pipeline that does nothing
INTERVAL = "interval"  # the output of an ONNX model that has intervals, shape (n, 2)

ONE_BY_ONE = (
    "the model scores single rides only, and the service scores batches: export it with a free"
    " first dimension (an ONNX input of shape (N, 1)), or let it return one value for each ride"
)
LOG_COLUMNS = (
    "log it as one pipeline, make_pipeline(DictVectorizer(), model), fitted on dicts of features;"
    " or fit it on a data frame of features and log it with"
    " signature=infer_signature(frame, predictions)"
)


def onnx(data: bytes) -> Ask:
    """Return a function that calls the ONNX model whose file has the content *data*.

    Raises `ModelError` if the model cannot be loaded, has weights in another file, takes only one
    ride per call, or has an input that is not a feature of a ride.
    """
    external_data.check(data)
    os.putenv("ORT_DISABLE_TELEMETRY", "1")  # else it tells its maker of the model and its use
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Else onnxruntime may take the bytes for a format of its own, which was not checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's errors have no root of their own
        raise ModelError(f"onnxruntime cannot load the model: {_line(exc)}") from exc
    inputs = known({i.name: i.type for i in session.get_inputs()}, ONNX_TYPES)
    for i in session.get_inputs():
        if i.shape and isinstance(i.shape[0], int):
            raise ModelError(f"{ONE_BY_ONE}; its input {i.name} has shape {tuple(i.shape)}")
    outputs = [output.name for output in session.get_outputs()]
    wanted = [outputs[0], INTERVAL] if INTERVAL in outputs[1:] else outputs[:1]

    def ask(rides: RideColumns) -> Answers:
        table = features.table(rides, inputs)
        feed = {name: column.reshape(-1, 1) for name, column in table.items()}
        values, *interval = session.run(wanted, feed)
        return Answers(_flat(values), _pairs(interval[0]) if interval else None)

    return ask


def pyfunc(path: Path, *, field: str = "") -> Ask:
    """Return a function that calls the MLflow model in the directory *path*, of any flavour.

    This runs the model's code, so check the model first (see `trust`).  If the model returns a data
    frame with several columns, its predictions are in the column *field*.
    Raises `ModelError` if MLflow cannot load the model, or if it has an input that is not a feature
    of a ride.
    """
    import mlflow.pyfunc  # takes seconds, so import it only if needed
    import pandas as pd
    from sklearn.exceptions import InconsistentVersionWarning

    try:
        with warnings.catch_warnings(action="ignore", category=InconsistentVersionWarning):
            model = mlflow.pyfunc.load_model(str(path), suppress_warnings=True)
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        raise ModelError(
            f"MLflow cannot load the model: {_line(exc)}; the model needs the package {package}:"
            f" build the image with --build-arg PACKAGES={package}==VERSION (docs/models.md), or"
            " log the model as ONNX"
        ) from exc
    except Exception as exc:  # MLflow raises whatever the model's own library raises
        raise ModelError(f"MLflow cannot load the model: {_line(exc)}") from exc
    inside = _inside(model)
    schema = model.metadata.get_input_schema()
    if takes_dicts(inside):
        dicts = _dict_inputs(inside, schema)
        return lambda rides: Answers(_flat(inside.predict(_dicts(rides, dicts)), field))
    if schema is None:
        _check_without_signature(model, inside)
        return lambda rides: Answers(_flat(model.predict(features.rows(rides)), field))
    inputs = _frame_inputs(schema)
    return lambda rides: Answers(
        _flat(model.predict(pd.DataFrame(features.table(rides, inputs))), field)
    )


def known(asked: Mapping[str, str], types: Types) -> Inputs:
    """Return the inputs of a model: name of a feature -> numpy type.

    *asked* has the inputs as the model states them: name -> name of a type in *types*.  Raises
    `ModelError` if an input is not a feature of a ride, or if its type cannot hold all values of
    the feature.
    """
    found = {name: types.get(type_) for name, type_ in asked.items()}
    unknown = sorted(
        name
        for name, dtype in found.items()
        if dtype is None or dtype.kind not in features.TYPES.get(name, "")
    )
    if not unknown:
        return {name: dtype for name, dtype in found.items() if dtype is not None}
    numbers = [name for name, kinds in features.TYPES.items() if kinds == "f"]
    message = (
        f"the model asks for {', '.join(f'{name} as {asked[name]}' for name in unknown)};"
        " the features of a ride are PU_DO as text,"
        " PULocationID and DOLocationID as text or numbers, and as floating point"
        f" {', '.join(numbers)}"
    )
    if any(name in numbers and _is_integer(found[name]) for name in unknown):
        message += (
            ". The time of a ride may be missing, and a distance has a fraction; integers cannot"
            " represent this: convert these columns with astype('float64') before you train the"
            " model and infer its signature"
        )
    raise ModelError(message)


def _is_integer(dtype: np.dtype[Any] | None) -> bool:
    return dtype is not None and dtype.kind == "i"


def _inside(model: Any) -> Any:
    """Return the model of the underlying library, such as scikit-learn; None if there is none."""
    try:
        return model.get_raw_model()
    except NotImplementedError:  # a custom model need not have anything inside
        return None


def _first_step(model: Any) -> Any:
    """Return the first step of a scikit-learn model that does something with the rides."""
    from sklearn.pipeline import Pipeline

    if isinstance(model, Pipeline):
        return _first_step(next(step for _, step in model.steps if step not in (None, PASS)))
    for wrapped in ("best_estimator_", "regressor_"):  # of a search, and of a transformed target
        if hasattr(model, wrapped):
            return _first_step(getattr(model, wrapped))
    return model


def takes_dicts(model: Any) -> bool:
    """Return whether the first step of the scikit-learn model *model* takes dicts.

    Call such a model directly.  If it has a signature, MLflow would convert the dicts to a data
    frame, on which the first step fails.
    """
    from sklearn.feature_extraction import DictVectorizer, FeatureHasher

    return isinstance(_first_step(model), DictVectorizer | FeatureHasher)


def _hidden_vectorizer(model: Any) -> str:
    """Return the class name of a vectorizer of dicts in any step of a scikit-learn model.

    Returns an empty text if there is no such step.
    """
    from sklearn.feature_extraction import DictVectorizer, FeatureHasher

    parts = model.get_params(deep=True).values() if hasattr(model, "get_params") else ()
    kinds = DictVectorizer | FeatureHasher
    return next((type(part).__name__ for part in parts if isinstance(part, kinds)), "")


def _dict_inputs(model: Any, schema: Any) -> Inputs:
    """Return the keys of the dicts that a model was trained on, as inputs.

    A `DictVectorizer` names a column ``key`` if its values are numbers, and ``key=value`` if they
    are text.  Raises `ModelError` if a key is not a feature of a ride.
    """
    from sklearn.feature_extraction import FeatureHasher

    step = _first_step(model)
    if isinstance(step, FeatureHasher):
        if schema is None or not schema.has_input_names():
            raise ModelError(f"the model's FeatureHasher does not name its features: {LOG_COLUMNS}")
        return _frame_inputs(schema)
    asked: dict[str, str] = {}
    for column in step.feature_names_:
        key, separator, _ = str(column).partition(step.separator)
        kind = "text" if separator else "a number"
        asked[key] = kind if asked.get(key, kind) == kind else "text and a number"
    return known(asked, DICT_TYPES)


def _dicts(rides: RideColumns, inputs: Inputs) -> list[dict[str, Any]]:
    """Return a dict for each ride, with the features that *inputs* names."""
    table = features.table(rides, inputs)
    values = zip(*(column.tolist() for column in table.values()), strict=True)
    return [dict(zip(table, row, strict=True)) for row in values]


def _frame_inputs(schema: Any) -> Inputs:
    if schema.is_tensor_spec():
        shapes = ", ".join(f"{spec.shape} of {spec.type}" for spec in schema.inputs)
        raise ModelError(
            f"the model's signature is a tensor ({shapes}), which does not say which column is"
            f" which feature: {LOG_COLUMNS}"
        )
    if not schema.has_input_names():
        raise ModelError(f"the model's signature names no features: {LOG_COLUMNS}")
    asked = {spec.name: str(getattr(spec.type, "name", spec.type)) for spec in schema.inputs}
    return known(asked, MLFLOW_TYPES)


def _check_without_signature(model: Any, inside: Any) -> None:
    """Raise `ModelError` if a model takes columns, but does not say which features they are."""
    library = model.loader_module
    columns = getattr(inside, "n_features_in_", None)
    if library == "mlflow.pyfunc.model" or not library.startswith("mlflow."):
        return  # a custom model, which gets dicts
    if library == "mlflow.sklearn" and columns is None:
        if hidden := _hidden_vectorizer(inside):
            raise ModelError(
                f"the model's {hidden} is not its first step, so the service cannot tell which"
                f" features it takes: {LOG_COLUMNS}"
            )
        return  # a pipeline whose first step was fitted on dicts
    what = f"a {type(inside).__name__} of {columns} columns" if columns else f"one of {library}"
    raise ModelError(
        f"the model is {what} without a signature, so nothing says which column is which feature"
        " (a vectorizer that was logged beside the model, such as preprocessor.b, is no part of"
        f" it): {LOG_COLUMNS}"
    )


def _flat(values: Any, field: str = "") -> np.ndarray[Any, np.dtype[np.float64]]:
    names = list(getattr(values, "columns", ()))
    if len(names) > 1 and names.count(field) == 1:
        values = values[field]
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        return array
    if array.shape[1] != 1:
        raise ModelError(
            f"the model answers {array.shape[1]} columns for each ride, and one value is wanted:"
            f" return one value, or a data frame in which the column {field or 'ride_duration'} is"
            " the value"
        )
    return array[:, 0]


def _line(exc: Exception) -> str:
    """Return the message of an exception on one line, shortened."""
    return " ".join(str(exc).split())[:500]


def _pairs(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:  # the model's fault: no ride must be rejected
        raise ModelError(f"the model's intervals have shape {array.shape}, not (n, 2)")
    return array
