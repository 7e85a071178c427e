"""Reads ``MLmodel``, the YAML file that describes an MLflow model.

The maker of the model wrote the file, so it may be harmful.  Its size, its nesting and the number
of its values are limited before it is loaded, because MLflow's YAML loader needs about 0.1 ms for
each value.  Aliases are refused, because a few of them can stand for billions of values.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta

from ..errors import ModelError

MAX_BYTES = 128 * 1024
"""The files that MLflow writes have 1 to 20 KB; most of a large file is the signature."""
MAX_EVENTS = 4_000
"""The files that MLflow writes have about a hundred YAML events.  Loading the maximum takes a third
of a second."""
MAX_DEPTH = 50
MAX_PLAIN = 4096  # characters of a text without quotes: YAML may take it for a number in base 60
VERSION = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,255}")
"""MLflow's rule for the id of a run."""

NOT_A_MODEL = "MLmodel is not the description of an MLflow model"

Identifier = str | int | None
FlavourName = Annotated[str, Meta(pattern=r"^[\w.-]{1,80}\Z")] | Annotated[int, Meta(ge=0, le=99)]
ModuleName = Annotated[str, Meta(pattern=r"^[\w.]{1,200}\Z")]
PackageVersion = Annotated[str, Meta(pattern=r"^[\w.+-]{1,40}\Z")]


class TrainingRides(msgspec.Struct, frozen=True):
    """The rides on which a model was trained."""

    source: Annotated[
        Literal["tlc", "simulated"],
        Meta(description="tlc: trip records of the Taxi and Limousine Commission"),
    ]
    months: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}\Z")], ...],
        Meta(min_length=1, max_length=1200, description="oldest first, as YYYY-MM"),
    ]
    rides: Annotated[int, Meta(ge=1, description="the number of rides")]
    longest_miles: Annotated[
        float, Meta(ge=0, description="the distance that 99.5 % of the rides do not exceed")
    ]


class OnnxFlavour(msgspec.Struct, frozen=True):
    """The fields of the flavour ``onnx`` that the service reads."""

    data: str | None = None


class SklearnFlavour(msgspec.Struct, frozen=True):
    """The fields of the flavour ``sklearn`` that the service reads."""

    pickled_model: str | None = None
    serialization_format: str | None = None
    sklearn_version: PackageVersion | float | None = None
    code: Any = None
    """Set if the model brings Python files."""


class PythonFlavour(msgspec.Struct, frozen=True):
    """The fields of the flavour ``python_function`` that the service reads."""

    loader_module: ModuleName | None = None
    data: str | None = None
    model_path: str | None = None
    code: Any = None
    """Set if the model brings Python files."""


class Description(msgspec.Struct, frozen=True):
    """The fields of ``MLmodel`` that the service reads."""

    flavors: dict[FlavourName, dict[Any, Any]]
    run_id: Identifier = None
    model_id: Identifier = None
    model_uuid: Identifier = None
    metadata: Any = None

    def onnx(self) -> OnnxFlavour | None:
        """Return the flavour ``onnx``, or None if there is none.

        Raises `ModelError` if a field of the flavour has the wrong type.
        """
        return self._flavour("onnx", OnnxFlavour)

    def sklearn(self) -> SklearnFlavour | None:
        """Return the flavour ``sklearn``, or None if there is none.

        Raises `ModelError` if a field of the flavour has the wrong type.
        """
        return self._flavour("sklearn", SklearnFlavour)

    def python_function(self) -> PythonFlavour | None:
        """Return the flavour ``python_function``, or None if there is none.

        Raises `ModelError` if a field of the flavour has the wrong type.
        """
        return self._flavour("python_function", PythonFlavour)

    def is_sklearn(self) -> bool:
        """Return whether MLflow loads the model by its flavour ``sklearn``."""
        python_function = self.python_function()
        return (
            "sklearn" in self.flavors
            and python_function is not None
            and python_function.loader_module == "mlflow.sklearn"
        )

    def brings_code(self) -> bool:
        """Return whether the model has a flavour with Python files of its own."""
        return any(flavour.get("code") for flavour in self.flavors.values())

    def version(self) -> str:
        """Return the version of the model's predictions: the run id or the model id.

        It is the model id if there is no run id, or if the metadata says ``version: model_id``.
        (MLmodel itself does not say whether its run has other models.)  Raises `ModelError` if
        there is no valid id.
        """
        own = self._metadata("version") == "model_id" and self.model_id
        for found in (own, self.run_id, self.model_id, self.model_uuid):
            if found:
                return _identifier(found)
        raise ModelError("MLmodel names neither run nor model: set RUN_ID to the model's version")

    def own_id(self) -> str:
        """Return the model id; empty if there is none.  Raises `ModelError` if it is malformed."""
        return _identifier(self.model_id) if self.model_id else ""

    def target(self) -> str:
        """Return the target of the model, as its metadata state it; empty if they state none."""
        target = self._metadata("target")
        return target if isinstance(target, str) else ""

    def training_rides(self) -> TrainingRides | None:
        """The rides on which the model was trained.

        None if the metadata does not describe them as `TrainingRides`.  Other programs that log
        models may use the same name for something else.
        """
        try:
            return msgspec.convert(self._metadata("training_rides"), TrainingRides | None)
        except msgspec.ValidationError:
            return None

    def _metadata(self, name: str) -> Any:
        return self.metadata.get(name) if isinstance(self.metadata, dict) else None

    def _flavour[T](self, name: str, type_: type[T]) -> T | None:
        if name not in self.flavors:
            return None
        try:
            return msgspec.convert(self.flavors[name], type_)
        except msgspec.ValidationError as exc:
            raise ModelError(f"{NOT_A_MODEL}: in the flavour {name}, {exc}") from exc


def read(text: bytes) -> Description:
    """Return the description in *text*.  Raises `ModelError` if it is malformed or too large."""
    if len(text) > MAX_BYTES:
        raise ModelError(f"MLmodel has {len(text)} bytes; the service reads at most {MAX_BYTES}")
    try:
        _check_limits(text)
        # MLflow reads the file with the same loader. The C loader crashes where nesting is deep.
        return msgspec.convert(yaml.safe_load(text), Description)
    except msgspec.ValidationError as exc:
        raise ModelError(f"{NOT_A_MODEL}: {exc}") from exc
    except ModelError:
        raise
    except Exception as exc:  # PyYAML raises anything for a malformed tag, number or date
        raise ModelError(f"{NOT_A_MODEL}: it is not valid YAML") from exc


def _check_limits(text: bytes) -> None:
    """Raise `ModelError` if loading *text* would take long; this looks at `MAX_EVENTS` at most."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise ModelError(f"{NOT_A_MODEL}: it has YAML aliases; write each value in full")
        if isinstance(event, yaml.ScalarEvent) and not event.style and len(event.value) > MAX_PLAIN:
            raise ModelError(f"{NOT_A_MODEL}: it has a value of more than {MAX_PLAIN} characters")
        if number > MAX_EVENTS or depth > MAX_DEPTH:
            raise ModelError(f"{NOT_A_MODEL}: it has too many values, or they are nested too deep")


def _identifier(value: str | int) -> str:
    small = isinstance(value, str) or 0 <= value < 10**64  # Python refuses to print huge numbers
    if not small or not VERSION.fullmatch(text := str(value)):
        raise ModelError(
            "the run id or model id in MLmodel is malformed; it has 1 to 256 letters, digits,"
            " hyphens and underscores. Set RUN_ID to use another version"
        )
    return text
