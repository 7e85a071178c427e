"""Settings: the environment as one frozen value, or one error that names every fault.

Every field is the environment variable of the same name in capitals; unset and empty mean the
default.  Only entry points read the environment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from .errors import SettingsError

NO_REJECTS = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the stream scorer is told from outside."""

    model_location: str = ""
    model_bucket: str = ""
    mlflow_experiment_id: str = "1"
    run_id: str = ""
    model_sha256: str = ""
    allow_pickled_models: bool = False
    model_name: str = "ride_duration_prediction_model"
    prediction_field: str = "ride_duration"
    prediction_min: float = 0.0
    prediction_max: float = 1440.0
    predictions_stream_name: str = "ride_predictions"
    rejects_location: str = ""
    test_run: bool = False
    return_predictions: bool = True
    kinesis_endpoint_url: str = ""
    log_level: str = "INFO"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """
        >>> Settings.from_env({"MODEL_LOCATION": "build/model", "TEST_RUN": "yes"})
        Traceback (most recent call last):
        model_service.errors.SettingsError: TEST_RUN must be True or False

        Raises `SettingsError`.
        """
        found, faults = _read(cls, environ)
        settings = cls(**found)
        faults = _contradictions(settings) | faults
        if "TEST_RUN" in faults:  # whether rejects have to go anywhere depends on it
            faults.pop("REJECTS_LOCATION", None)
        _raise(faults)
        return settings

    @property
    def model_path(self) -> str:
        """Where the model lies, however that was said."""
        older = (
            f"s3://{self.model_bucket}/{self.mlflow_experiment_id}/{self.run_id}/artifacts/model"
        )
        return self.model_location or older


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What the web service is told from outside."""

    model_location: str = ""
    model_sha256: str = ""
    cost_model_location: str = ""
    cost_model_sha256: str = ""
    allow_pickled_models: bool = False
    prediction_min: float = 0.0
    prediction_max: float = 1440.0
    cost_prediction_min: float = 0.0
    cost_prediction_max: float = 10_000.0
    bind: str = "127.0.0.1:9696"
    web_concurrency: int = 0
    log_level: str = "INFO"
    prometheus_multiproc_dir: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> WebSettings:
        """
        >>> WebSettings.from_env({"BIND": "everywhere"})
        Traceback (most recent call last):
        model_service.errors.SettingsError: MODEL_LOCATION is not set; BIND must be host:port

        Raises `SettingsError`.
        """
        found, faults = _read(cls, environ)
        settings = cls(**found)
        _raise(_pair_contradictions(settings) | faults)
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """What batch scoring is told from outside."""

    model_location: str = ""
    model_sha256: str = ""
    cost_model_location: str = ""
    cost_model_sha256: str = ""
    allow_pickled_models: bool = False
    prediction_min: float = 0.0
    prediction_max: float = 1440.0
    cost_prediction_min: float = 0.0
    cost_prediction_max: float = 10_000.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> BatchSettings:
        """
        >>> BatchSettings.from_env({"MODEL_LOCATION": "build/model", "PREDICTION_MAX": "long"})
        Traceback (most recent call last):
        model_service.errors.SettingsError: PREDICTION_MAX must be a number

        Raises `SettingsError`.
        """
        found, faults = _read(cls, environ)
        settings = cls(**found)
        _raise(_pair_contradictions(settings) | faults)
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """What the batch on a schedule is told beside `BatchSettings`."""

    archive_location: str = ""
    output_location: str = ""
    batch_window: str = ""
    log_level: str = "INFO"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> ScheduleSettings:
        """
        >>> ScheduleSettings.from_env({"ARCHIVE_LOCATION": "a", "OUTPUT_LOCATION": "s3://a/b"})
        Traceback (most recent call last):
        model_service.errors.SettingsError: ARCHIVE_LOCATION must be s3://…; BATCH_WINDOW is not set

        Raises `SettingsError`.
        """
        found, faults = _read(cls, environ)
        needed = ("archive_location", "output_location", "batch_window")
        absent = {name.upper(): "is not set" for name in needed if name not in found}
        _raise(absent | faults)
        return cls(**found)


def _read(cls: type[Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of *cls* that *environ* sets, and the faults by variable."""
    found: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for field in fields(cls):
        name = field.name.upper()
        if not (text := environ.get(name, "").strip()):
            continue
        try:
            found[field.name] = _PARSERS.get(field.name, str)(text)
        except ValueError as exc:
            faults[name] = str(exc)
    return found, faults


def _raise(faults: Mapping[str, str]) -> None:
    if faults:
        raise SettingsError("; ".join(f"{name} {fault}" for name, fault in faults.items()))


def _pair_contradictions(settings: WebSettings | BatchSettings) -> dict[str, str]:
    found = {}
    if not settings.model_location:
        found["MODEL_LOCATION"] = "is not set"
    if settings.cost_model_sha256 and not settings.cost_model_location:
        found["COST_MODEL_LOCATION"] = "is not set, but COST_MODEL_SHA256 is"
    if settings.prediction_min >= settings.prediction_max:
        found["PREDICTION_MIN"] = "must be less than PREDICTION_MAX"
    if settings.cost_prediction_min >= settings.cost_prediction_max:
        found["COST_PREDICTION_MIN"] = "must be less than COST_PREDICTION_MAX"
    return found


def _contradictions(settings: Settings) -> dict[str, str]:
    found = {}
    if not settings.model_location and not (settings.model_bucket and settings.run_id):
        found["MODEL_LOCATION"] = "is not set (nor MODEL_BUCKET together with RUN_ID)"
    if not settings.rejects_location and not settings.test_run:
        found["REJECTS_LOCATION"] = (
            "is not set: s3://bucket/prefix, or none where losing rejected records is accepted"
        )
    if settings.prediction_min >= settings.prediction_max:
        found["PREDICTION_MIN"] = "must be less than PREDICTION_MAX"
    return found


def _flag(text: str) -> bool:
    flags = {"true": True, "false": False}
    if text.lower() not in flags:
        raise ValueError("must be True or False")
    return flags[text.lower()]


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise ValueError("must be a number")
    return number


def _workers(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text):
        raise ValueError("must be a number of workers, or 0 for one a CPU")
    return int(text)


def _matching(pattern: str, rule: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {rule}")
        return text

    return parse


_location = _matching("(?!s3:)[^\0]+|s3://[^/]+(/.*)?", "s3://bucket/prefix, or a path")
_digest = _matching("[0-9a-fA-F]{64}", "64 hexadecimal digits")
_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "model_location": _location,
    "cost_model_location": _location,
    "model_sha256": _digest,
    "cost_model_sha256": _digest,
    "allow_pickled_models": _flag,
    "prediction_field": _matching(
        r"(?!ride_id$|interval$)[A-Za-z_]\w*", "a name, and neither ride_id nor interval"
    ),
    "prediction_min": _number,
    "prediction_max": _number,
    "cost_prediction_min": _number,
    "cost_prediction_max": _number,
    "bind": _matching(r"\S+:[0-9]{1,5}", "host:port"),
    "web_concurrency": _workers,
    "archive_location": _matching("s3://[^/]+/.+", "s3://…"),
    "output_location": _matching("s3://[^/]+/.+", "s3://…"),
    "batch_window": _matching("hour|day|month", "hour, day or month"),
    "rejects_location": _matching(f"s3://[^/]+(/.*)?|{NO_REJECTS}", "s3://bucket/prefix, or none"),
    "test_run": _flag,
    "return_predictions": _flag,
    "kinesis_endpoint_url": _matching("https?://.+", "a URL"),
    "log_level": _matching("DEBUG|INFO|WARNING|ERROR|CRITICAL", "a level such as INFO"),
}
