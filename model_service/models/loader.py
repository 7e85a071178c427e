"""Loads an MLflow model as a `scoring.Model`.

If the model has an ONNX flavour, only onnxruntime is needed to run it: neither MLflow nor
scikit-learn nor pandas.  All other models are run by `mlflow.pyfunc`, which takes seconds to import
and is imported only for them.  A model is checked (see `trust`) before any of its code runs.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import yaml

from .. import storage
from ..errors import ModelError
from ..features import RideColumns
from ..scoring import Answers, warm_up
from ..storage import LocalFolder, plain_name
from . import flavours, trust
from .flavours import Ask

FIELDS = {"duration": "ride_duration", "cost": "ride_cost"}
"""Target that a model may name in its metadata -> field of prediction events with its values."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A `scoring.Model` that has scored the warm-up ride."""

    version: str
    """The version in prediction events: RUN_ID if it is set, or the id in ``MLmodel``."""
    flavour: str
    sha256: str
    ask: Ask
    seconds: float = 0.0
    """The duration of a call with one ride, in seconds."""

    def predict(self, rides: RideColumns, /) -> Answers:
        return self.ask(rides)


def load(
    location: str,
    *,
    sha256: str = "",
    allow_pickled: bool = False,
    run_id: str = "",
    field: str = "",
) -> LoadedModel:
    """Load the model at *location* (``s3://bucket/prefix`` or a path), and warm it up.

    *sha256* is the expected digest of ``MLmodel`` and the served flavour's data file, concatenated;
    if it is empty, the digest is not checked.  *field* is the field of prediction events for the
    model's values.
    Raises `ModelError` if the model cannot be read, has another digest, is not trusted, predicts a
    target with another field, or cannot score the warm-up ride.
    """
    files = storage.at(location)
    text = files.read("MLmodel")
    mlmodel = _parse(text)
    _check_target(mlmodel, field)
    flavour, name = _served(mlmodel)
    if flavour != "onnx" and find_spec("mlflow") is None:
        raise ModelError(
            "the model has no ONNX flavour, and every other flavour needs MLflow, which is not"
            " installed: use the image ride-predictions:lambda"
        )
    if flavour != "onnx" and not allow_pickled:
        trust.check_code(mlmodel, flavour)

    path = None if flavour == "onnx" else files.directory(_needed(mlmodel, name))
    data = files.read(name) if path is None else _data(path, name, text)
    digest = hashlib.sha256(text + data).hexdigest()
    if sha256 and digest != sha256.lower():
        raise ModelError(
            f"the model at {location} is not the one asked for: its SHA-256 is {digest}"
        )
    if flavour == "sklearn" and path is not None and not allow_pickled:
        trust.check_types(path / name)

    version = run_id or _version(mlmodel)
    ask = flavours.onnx(data) if path is None else flavours.pyfunc(path)
    model = LoadedModel(version, flavour, digest, ask)
    warm_up(model)
    started = time.perf_counter()
    warm_up(model)  # the first call is slower than later calls, so the second one is timed
    return replace(model, seconds=time.perf_counter() - started)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        mlmodel = yaml.safe_load(text)  # the C loader would crash if the nesting is deep
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that does not exist
        mlmodel = None
    found = mlmodel.get("flavors") if isinstance(mlmodel, dict) else None
    if not isinstance(found, dict) or not all(isinstance(f, dict) for f in found.values()):
        raise ModelError("MLmodel is not the description of an MLflow model")
    return cast(dict[str, Any], mlmodel)


def _served(mlmodel: dict[str, Any]) -> tuple[str, str]:
    """Return the flavour to serve, and the name of its data file.

    The name is empty for the flavour ``python_function``, which may have any number of files.
    Raises `ModelError` if the model has no flavour that can be served.
    """
    found = mlmodel["flavors"]
    if "onnx" in found:
        return "onnx", plain_name(found["onnx"].get("data"))
    if "python_function" not in found:
        names = ", ".join(map(str, found)) or "none"
        raise ModelError(f"no flavour of this model can be served: it has {names}")
    loader = found["python_function"]
    if "sklearn" in found and loader.get("loader_module") == "mlflow.sklearn":
        return "sklearn", plain_name(loader.get("data") or loader.get("model_path"))
    return "python_function", ""


def _version(mlmodel: dict[str, Any]) -> str:
    for name in ("run_id", "model_id", "model_uuid"):
        if isinstance(found := mlmodel.get(name), str | int) and found:
            return str(found)
    raise ModelError("MLmodel names neither run nor model: set RUN_ID to the model's version")


def _needed(mlmodel: dict[str, Any], name: str) -> list[str] | None:
    """Return the names of the files that MLflow opens; None if any file may be opened."""
    brings_code = any(flavour.get("code") for flavour in mlmodel["flavors"].values())
    return ["MLmodel", name] if name and not brings_code else None


def _data(path: Path, name: str, text: bytes) -> bytes:
    """Return the bytes for the model's digest: those of the data file *name*.

    If *name* is empty, these are the bytes of all files except MLmodel; each file's bytes follow
    its name and its length.
    """
    copy = LocalFolder(path, ModelError)
    if copy.read("MLmodel") != text:  # MLflow reads the file again; it must be the checked one
        raise ModelError("the model changed while it was read")
    if name:
        return copy.read(name)
    names = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    contents = {name: copy.read(name) for name in names if name != "MLmodel"}
    return b"".join(b"%s\0%d\0%s" % (n.encode(), len(c), c) for n, c in contents.items())


def _check_target(mlmodel: dict[str, Any], field: str) -> None:
    metadata = mlmodel.get("metadata")
    target = metadata.get("target") if isinstance(metadata, dict) else None
    its_own = FIELDS.get(target) if isinstance(target, str) else None
    if its_own and field in FIELDS.values() and field != its_own:
        raise ModelError(f"the model predicts a ride's {target}: its values are not {field}")
