"""Loads an MLflow model as a `scoring.Model`.

An ONNX model is loaded by onnxruntime alone, without MLflow, scikit-learn or pandas.  Any other
model is loaded by `mlflow.pyfunc`, which takes seconds to import and is imported only if needed.  A
model is checked (see `trust`) before its code runs.  Each file is read once: MLflow opens a private
copy of the bytes that were checked.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version as installed_version
from importlib.util import find_spec

from .. import features, storage
from ..errors import ModelError
from ..features import RideColumns
from ..scoring import WARM_UP, Answers, warm_up
from ..storage import Folder, plain_name
from . import description, flavours, trust
from .description import Description, OnnxFlavour, TrainingRides
from .flavours import Ask

FIELDS = {"duration": "ride_duration", "cost": "ride_cost"}
"""Target that a model may name in its metadata -> field of prediction events with its values."""

log = logging.getLogger(__name__)


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
    training_rides: TrainingRides | None = None
    """The rides on which the model was trained; None if the model does not name them."""

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
    if it is empty, the digest is not checked.  If *allow_pickled* is True, the model may contain
    pickles and other code.  *run_id* replaces the model's own version if it is not empty.  *field*
    is the field of prediction events for the model's values.
    Raises `ModelError` if the model cannot be read, has another digest, is not trusted, predicts a
    target with another field, or cannot score the warm-up ride.
    """
    files = storage.at(location)
    text = files.read("MLmodel")
    described = description.read(text)
    _check_target(described, field)
    flavour, name = _served(described)
    if flavour != "onnx" and find_spec("mlflow") is None:
        raise ModelError(
            "the model has no ONNX flavour, and every other flavour needs MLflow, which is not"
            " installed: use the image ride-predictions:lambda"
        )
    version = run_id or described.version()
    other_sklearn = _other_sklearn(described) if flavour == "sklearn" else ""
    if flavour != "onnx" and not allow_pickled:
        with _explained(other_sklearn):
            trust.check_code(described)

    contents = _contents(files, described, name)
    digest = hashlib.sha256(text + _data(contents, name)).hexdigest()
    if sha256 and digest != sha256.lower():
        raise ModelError(
            f"the model at {location} is not the expected one: its SHA-256 is {digest}"
        )
    with _explained(other_sklearn):
        if flavour == "onnx":
            ask = flavours.onnx(contents[name])
        else:
            ask = _pyfunc(text, contents, name, field, check=not allow_pickled)
        model = LoadedModel(
            version, flavour, digest, ask, training_rides=described.training_rides()
        )
        warm_up(model)
    _check_batch(model)
    if other_sklearn:
        log.warning(other_sklearn)
    started = time.perf_counter()
    warm_up(model)  # the first call is slower than later calls, so the second one is timed
    return replace(model, seconds=time.perf_counter() - started)


def _served(described: Description) -> tuple[str, str]:
    """Return the flavour to serve and the name of its data file; empty if it has several files."""
    if "onnx" in described.flavors:
        return "onnx", plain_name((described.onnx() or OnnxFlavour()).data)
    loader = described.python_function()
    if loader is None:
        names = ", ".join(str(name)[:80] for name in described.flavors) or "none"
        raise ModelError(f"no flavour of this model can be served: it has {names}")
    if described.is_sklearn():
        return "sklearn", plain_name(loader.data or loader.model_path)
    return "python_function", ""


def _contents(files: Folder, described: Description, name: str) -> dict[str, bytes]:
    """Return the files that loading opens, except MLmodel: name -> content.

    These are all files of the model if MLflow opens other files than the data file.
    """
    known = name and ("onnx" in described.flavors or not described.brings_code())
    names = [name] if known else [plain_name(each) for each in files.names()]
    return {each: files.read(each) for each in names if each != "MLmodel"}


def _data(contents: dict[str, bytes], name: str) -> bytes:
    """Return the bytes of the data file *name*.

    If *name* is empty, return the bytes of all files except MLmodel; each file's bytes follow its
    name and its length.
    """
    if name:
        if name not in contents:
            raise ModelError(f"cannot read {name}: the model has no such file")
        return contents[name]
    ordered = sorted(contents.items())
    return b"".join(b"%s\0%d\0%s" % (n.encode(), len(c), c) for n, c in ordered)


def _pyfunc(text: bytes, contents: dict[str, bytes], name: str, field: str, *, check: bool) -> Ask:
    """Return a function that calls the model; MLflow loads it from a private copy of its files."""
    path = storage.private_copy({"MLmodel": text, **contents})
    loaded = False
    try:
        if name and check:
            trust.check_types(path / name)
        ask = flavours.pyfunc(path, field=field)
        loaded = True
        return ask
    finally:
        if list(contents) == [name] or not loaded:  # else the model may open its files later
            shutil.rmtree(path, ignore_errors=True)


def _other_sklearn(described: Description) -> str:
    """Return a sentence with the scikit-learn versions of training and service if they differ.

    Returns an empty text if they are the same or not known.
    """
    sklearn = described.sklearn()
    saved = str(sklearn.sklearn_version or "") if sklearn else ""
    installed = installed_version("scikit-learn")
    if not saved or saved.split(".")[:2] == installed.split(".")[:2]:
        return ""
    return (
        f"the model was saved by scikit-learn {saved}, and {installed} is installed: log it as ONNX"
        f" where {saved} is installed, or train it again with {installed}"
    )


@contextmanager
def _explained(reason: str) -> Iterator[None]:
    """Add *reason*, which may be empty, to a `ModelError` that the block raises."""
    try:
        yield
    except ModelError as exc:
        if not reason:
            raise
        raise ModelError(f"{exc}; {reason}") from exc


def _check_batch(model: LoadedModel) -> None:
    """Raise `ModelError` if the model scores single rides only; batches would be very slow."""
    rides = features.columns([WARM_UP, WARM_UP])
    try:
        shape = model.predict(rides).values.shape
    except Exception as exc:  # a model may raise anything
        raise ModelError(f"{flavours.ONE_BY_ONE} ({type(exc).__name__})") from exc
    if shape != (2,):
        raise ModelError(flavours.ONE_BY_ONE)


def _check_target(described: Description, field: str) -> None:
    target = described.target()
    its_own = FIELDS.get(target)
    if its_own and field in FIELDS.values() and field != its_own:
        raise ModelError(f"the model predicts a ride's {target}: its values are not {field}")
