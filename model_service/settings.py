"""Reads settings from environment variables, or raises one error that names every fault.

Each settings class has a field for each of its environment variables.  The name of the variable is
the name of the field in capital letters.  A field has its default if the variable is unset or
empty.  Only entry points read the environment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from math import isfinite
from typing import Any, Self

from .errors import SettingsError

NO_REJECTS = "none"
DECISIONS = "decisions"
"""The name of the decisions' function in metrics and in the keys of rejected predictions."""
NO_LOCATION = (
    "is not set: give s3://bucket/prefix, or none to accept that rejected records are lost"
)
MAX_PORT = 65535
LABEL = "(?!-)[a-zA-Z0-9-]{1,63}(?<!-)"  # RFC 1123, 2.1
NAME = rf"{LABEL}(?:\.{LABEL})*\.?"
HOST = rf"({NAME}|\[[0-9a-fA-F:.]+\])"  # a name, an IPv4 address, or an IPv6 address in brackets
PRINTABLE = r"[^\0-\x1f\x7f]"  # also spaces and letters of all languages
MAX_KEY = 1024  # bytes of a key on S3
MAX_PREFIX = 500  # characters; the names that the service adds have up to 500 more
MAX_DEADLINE = 24 * 60 * 60  # seconds; a stream keeps records for a day or longer
BUCKET = "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"

Parser = Callable[[str], Any]
"""A function that converts the text of a variable; raises `ValueError` if the text breaks a rule.

The message of the `ValueError` says the rule.
"""
Faults = dict[str, str]
"""Name of a variable -> its fault, as the end of a sentence that begins with the name."""


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


def _seconds(text: str) -> float:
    seconds = _number(text)
    if not 1 <= seconds <= MAX_DEADLINE:
        raise ValueError(f"must be seconds, from 1 to {MAX_DEADLINE}")
    return seconds


def _names(text: str) -> frozenset[str]:
    names = [name.strip() for name in text.split(",")]
    if len(set(names)) != len(names):
        raise ValueError("must not name a model twice")
    return frozenset(_name(name) for name in names)


def _workers(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text):
        raise ValueError("must be a number of workers, or 0 for one worker per CPU")
    return int(text)


def _matching(pattern: str, rule: str) -> Parser:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {rule}")
        return text

    return parse


def url(text: str) -> str:
    """Return *text*, a URL that botocore accepts as an endpoint.

    Source: `botocore.utils.is_valid_endpoint_url`.  Raises `ValueError` if it is malformed.
    """
    found = re.fullmatch(rf"https?://{HOST}(?::([0-9]{{1,5}}))?([/?#]\S*)?", text)
    if not found or not _is_host(found[1]) or int(found[2] or 0) > MAX_PORT:
        raise ValueError("must be a URL such as http://localhost:4566")
    return text


def _address(text: str) -> str:
    found = re.fullmatch(f"{HOST}:([0-9]{{1,5}})", text)
    if not found or not _is_host(found[1]) or int(found[2]) > MAX_PORT:
        raise ValueError("must be host:port")
    return text


def _is_host(text: str) -> bool:
    """Return whether *text*, which matches `HOST`, is a name or a valid IP address."""
    is_name = text[0] != "[" and not re.fullmatch(r"[0-9.]+", text)
    try:
        return is_name or bool(ip_address(text.strip("[]")))
    except ValueError:
        return False


def _on_s3(pattern: str, rule: str) -> Parser:
    """Return a parser of locations that match *pattern*; a bucket in them must have a valid name.

    *rule* is the end of the error message: "must be *rule*".

    Source: Amazon S3 User Guide, "General purpose bucket naming rules".  Prefixes and suffixes that
    AWS reserves are allowed, because the alias of an access point has one.
    """
    parse = _matching(pattern, rule)

    def parse_location(text: str) -> Any:
        location: str = parse(text)
        if location.startswith("s3://"):
            _bucket(location.removeprefix("s3://").partition("/")[0])
        return location

    return parse_location


def _bucket(text: str) -> str:
    if not re.fullmatch(BUCKET, text) or ".." in text or re.fullmatch(r"[0-9]+(\.[0-9]+){3}", text):
        raise ValueError(
            "must name a bucket by 3 to 63 lower-case letters, digits, dots or hyphens"
        )
    return text


_text = _matching(f"{PRINTABLE}*", "a line of text")
_location = _on_s3(
    rf"(?!s3:){PRINTABLE}{{1,{MAX_KEY}}}|s3://[^/]+(/{PRINTABLE}{{0,{MAX_KEY}}})?",
    "s3://bucket/prefix, or a path",
)
_prefix = _on_s3(rf"s3://[^/]+/{PRINTABLE}{{1,{MAX_PREFIX}}}", "s3://…")
_rejects = _on_s3(
    rf"s3://[^/]+(/{PRINTABLE}{{0,{MAX_PREFIX}}})?|{NO_REJECTS}",
    f"s3://bucket/prefix with a prefix of at most {MAX_PREFIX} characters, or none",
)
# A stream (Kinesis API Reference, CreateStream), or a part of an S3 key and a dimension of metrics.
_name = _matching(
    "(?![.]+$)[a-zA-Z0-9_.-]{1,128}", "1 to 128 letters, digits, underscores, dots or hyphens"
)
# DynamoDB Developer Guide, "Supported data types and naming rules".
_table = _matching(
    "[a-zA-Z0-9_.-]{3,255}", "3 to 255 letters, digits, underscores, dots or hyphens"
)
# A namespace and a dimension of metrics (CloudWatch API Reference, PutMetricData and Dimension).
_namespace = _matching(
    "(?!AWS/)[^:\\s][ -~]{0,254}",
    "at most 255 ASCII characters, and not begin with AWS/ or a colon",
)
_dimension = _matching("[^:\\s][ -~]{0,1023}", "ASCII characters, and not begin with a colon")
_digest = _matching("[0-9a-fA-F]{64}", "64 hexadecimal digits")
_level = _matching("DEBUG|INFO|WARNING|ERROR|CRITICAL", "a level such as INFO")


_region = _matching(rf"(?![0-9]+$){LABEL}", "a region such as us-east-1")
AWS_SETTINGS: Mapping[str, Parser] = {
    "AWS_REGION": _region,
    "AWS_DEFAULT_REGION": _region,
    "AWS_ENDPOINT_URL": url,
    "AWS_ENDPOINT_URL_DYNAMODB": url,
    "AWS_ENDPOINT_URL_KINESIS": url,
    "AWS_ENDPOINT_URL_S3": url,
}
"""Variables that the AWS SDK reads itself; they are checked, so that the error names them."""


def _setting(parse: Parser, default: Any = "") -> Any:
    """Return a field of a settings class; *parse* converts the text of its variable."""
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """The base class of settings: reads the fields from the environment, and checks them."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings in *environ*: name of a variable -> text.

        Raises `SettingsError`, with the names of all faulty variables, if a variable is missing or
        malformed, or if two variables contradict each other.  The variables of `AWS_SETTINGS`
        are checked, too.
        """
        found: dict[str, Any] = {}
        faults: Faults = {}
        for one in fields(cls):
            name = one.name.upper()
            if text := environ.get(name, "").strip():
                try:
                    found[one.name] = one.metadata["parse"](text)
                except ValueError as exc:
                    faults[name] = str(exc)
        for name, parse in AWS_SETTINGS.items():
            if text := environ.get(name, ""):
                try:
                    parse(text)
                except ValueError as exc:
                    faults[name] = str(exc)
        settings = cls(**found)
        faults = settings.contradictions() | faults
        if "TEST_RUN" in faults:  # its value decides whether REJECTS_LOCATION is required
            faults.pop("REJECTS_LOCATION", None)
        if faults:
            raise SettingsError("; ".join(f"{name} {fault}" for name, fault in faults.items()))
        return settings

    def contradictions(self) -> Faults:
        """Return the faults of missing variables and of variables that contradict each other."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(_Settings):
    """Settings of the stream scorer.

    >>> Settings.from_env({"MODEL_LOCATION": "build/model", "TEST_RUN": "yes"})
    Traceback (most recent call last):
    model_service.errors.SettingsError: TEST_RUN must be True or False
    """

    model_location: str = _setting(_location)
    model_bucket: str = _setting(_bucket)
    mlflow_experiment_id: str = _setting(_name, "1")
    run_id: str = _setting(_name)
    model_sha256: str = _setting(_digest)
    allow_pickled_models: bool = _setting(_flag, False)
    model_name: str = _setting(_name, "ride_duration_prediction_model")
    prediction_field: str = _setting(
        _matching(
            "(?!(?:ride_id|interval)$)[A-Za-z_][A-Za-z0-9_]{0,127}",
            "a name other than ride_id and interval",
        ),
        "ride_duration",
    )
    prediction_min: float = _setting(_number, 0.0)
    prediction_max: float = _setting(_number, 1440.0)
    predictions_stream_name: str = _setting(_name, "ride_predictions")
    rejects_location: str = _setting(_rejects)
    test_run: bool = _setting(_flag, False)
    return_predictions: bool = _setting(_flag, True)
    kinesis_endpoint_url: str = _setting(url)
    powertools_metrics_namespace: str = _setting(_namespace, "RidePredictions")
    powertools_service_name: str = _setting(_dimension, "ride-predictions")
    log_level: str = _setting(_level, "INFO")

    @property
    def model_path(self) -> str:
        """Return the location of the model: MODEL_LOCATION, or a run's artifact in MODEL_BUCKET."""
        run = f"{self.mlflow_experiment_id}/{self.run_id}"
        return self.model_location or f"s3://{self.model_bucket}/{run}/artifacts/model"

    def contradictions(self) -> Faults:
        found = {}
        if not self.model_location and not (self.model_bucket and self.run_id):
            found["MODEL_LOCATION"] = "is not set (nor are MODEL_BUCKET and RUN_ID together)"
        if not self.rejects_location and not self.test_run:
            found["REJECTS_LOCATION"] = NO_LOCATION
        return found | _range("PREDICTION", self.prediction_min, self.prediction_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSettings(_Settings):
    """Settings of the archive of a stream.

    >>> ArchiveSettings.from_env({"ARCHIVE_LOCATION": "build/archive"})
    Traceback (most recent call last):
    model_service.errors.SettingsError: ARCHIVE_LOCATION must be s3://bucket, or with a prefix
    """

    archive_location: str = _setting(_on_s3("s3://[^/]+(/.*)?", "s3://bucket, or with a prefix"))
    powertools_metrics_namespace: str = _setting(_namespace, "RidePredictions")
    powertools_service_name: str = _setting(_dimension, "ride-predictions")
    log_level: str = _setting(_level, "INFO")

    def contradictions(self) -> Faults:
        return {} if self.archive_location else {"ARCHIVE_LOCATION": "is not set"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings(_Settings):
    """Settings of the function that joins the models' predictions for a ride into one decision.

    >>> DecisionSettings.from_env({"EXPECTED_MODELS": "one,one", "REJECTS_LOCATION": "none"})
    Traceback (most recent call last):
    model_service.errors.SettingsError: EXPECTED_MODELS must not name a model twice
    """

    expected_models: frozenset[str] = _setting(_names, frozenset())
    decision_deadline_seconds: float = _setting(_seconds, 60.0)
    decision_policy: str = _setting(_location)
    decisions_table_name: str = _setting(_table, "ride_decisions")
    decisions_stream_name: str = _setting(_name, "ride_decisions")
    rejects_location: str = _setting(_rejects)
    kinesis_endpoint_url: str = _setting(url)
    powertools_metrics_namespace: str = _setting(_namespace, "RidePredictions")
    powertools_service_name: str = _setting(_dimension, "ride-predictions")
    log_level: str = _setting(_level, "INFO")

    def contradictions(self) -> Faults:
        found = {}
        if not self.expected_models:
            found["EXPECTED_MODELS"] = "is not set: name the models, separated by commas"
        if not self.rejects_location:
            found["REJECTS_LOCATION"] = NO_LOCATION
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSettings(_Settings):
    """Settings of a duration model and an optional cost model that are served together."""

    model_location: str = _setting(_location)
    model_sha256: str = _setting(_digest)
    cost_model_location: str = _setting(_location)
    cost_model_sha256: str = _setting(_digest)
    allow_pickled_models: bool = _setting(_flag, False)
    prediction_min: float = _setting(_number, 0.0)
    prediction_max: float = _setting(_number, 1440.0)
    cost_prediction_min: float = _setting(_number, 0.0)
    cost_prediction_max: float = _setting(_number, 10_000.0)

    def contradictions(self) -> Faults:
        found = {}
        if not self.model_location:
            found["MODEL_LOCATION"] = "is not set"
        if self.cost_model_sha256 and not self.cost_model_location:
            found["COST_MODEL_LOCATION"] = "is not set, but COST_MODEL_SHA256 is"
        found |= _range("PREDICTION", self.prediction_min, self.prediction_max)
        return found | _range("COST_PREDICTION", self.cost_prediction_min, self.cost_prediction_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings(PairSettings):
    """Settings of the web service.

    >>> WebSettings.from_env({"BIND": "everywhere"})
    Traceback (most recent call last):
    model_service.errors.SettingsError: MODEL_LOCATION is not set; BIND must be host:port
    """

    bind: str = _setting(_address, "127.0.0.1:9696")
    web_concurrency: int = _setting(_workers, 0)
    log_level: str = _setting(_level, "INFO")
    prometheus_multiproc_dir: str = _setting(_text)
    decisions_table_name: str = _setting(_table)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings(PairSettings):
    """Settings of batch scoring.

    >>> BatchSettings.from_env({"MODEL_LOCATION": "build/model", "PREDICTION_MAX": "long"})
    Traceback (most recent call last):
    model_service.errors.SettingsError: PREDICTION_MAX must be a number
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings(_Settings):
    """Settings of scheduled batch scoring, in addition to `BatchSettings`.

    >>> ScheduleSettings.from_env({"ARCHIVE_LOCATION": "a", "OUTPUT_LOCATION": "s3://bucket/b"})
    Traceback (most recent call last):
    model_service.errors.SettingsError: ARCHIVE_LOCATION must be s3://…; BATCH_WINDOW is not set
    """

    archive_location: str = _setting(_prefix)
    output_location: str = _setting(_prefix)
    batch_window: str = _setting(_matching("hour|day|month", "hour, day or month"))
    powertools_metrics_namespace: str = _setting(_namespace, "RidePredictions")
    powertools_service_name: str = _setting(_dimension, "ride-predictions")
    log_level: str = _setting(_level, "INFO")

    def contradictions(self) -> Faults:
        needed = ("archive_location", "output_location", "batch_window")
        return {name.upper(): "is not set" for name in needed if not getattr(self, name)}


def _range(prefix: str, minimum: float, maximum: float) -> Faults:
    if minimum < maximum:
        return {}
    return {f"{prefix}_MIN": f"must be less than {prefix}_MAX"}
