"""The settings of a mapping: AWS's names in snake case, AWS's defaults and limits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from .errors import MappingError

PARTIAL_RESPONSES = "ReportBatchItemFailures"
TRIM_HORIZON, LATEST = "TRIM_HORIZON", "LATEST"
UNLIMITED = -1
SHORTEST_AGE = 60  # seconds; AWS refuses a lower maximum age
DAY_HOURS = 24

NOT_SIMULATED = {
    "tumbling_window_in_seconds": (
        "Tumbling windows are not simulated: leave tumbling_window_in_seconds out."
    ),
    "filter_criteria": "Filter criteria are not simulated: leave filter_criteria out.",
    "starting_position_timestamp": (
        "The starting position AT_TIMESTAMP is not simulated: use TRIM_HORIZON or LATEST, without"
        " starting_position_timestamp."
    ),
}
"""Setting -> the message that refuses it."""
DESTINATION_FORM = 'write it as {"OnFailure": {"Destination": arn}}.'
WITHOUT_EFFECT = ("metrics_config", "kms_key_arn", "tags")
"""Settings that change neither the records that a function receives nor their times."""

LIMITS = {
    "batch_size": (1, 10_000),
    "maximum_batching_window_in_seconds": (0, 300),
    "parallelization_factor": (1, 10),
    "maximum_retry_attempts": (UNLIMITED, 10_000),
    "maximum_record_age_in_seconds": (UNLIMITED, 604_800),
    "retention_period_hours": (DAY_HOURS, 8_760),
}


@dataclass(frozen=True, slots=True)
class Destination:
    """The on-failure destination: a bucket on S3, or a standard queue on SQS."""

    arn: str

    @property
    def service(self) -> str:
        """Return the service of the destination: ``s3`` or ``sqs``."""
        return self.arn.split(":")[2]

    @property
    def name(self) -> str:
        """Return the name of the bucket or of the queue."""
        return self.arn.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a mapping.  Raises `MappingError` for a value that AWS would refuse."""

    batch_size: int = 100
    maximum_batching_window_in_seconds: int = 0
    parallelization_factor: int = 1
    """The number of batches of one shard that the function processes at the same time."""
    bisect_batch_on_function_error: bool = False
    maximum_retry_attempts: int = UNLIMITED
    maximum_record_age_in_seconds: int = UNLIMITED
    function_response_types: tuple[str, ...] = ()
    starting_position: str = TRIM_HORIZON
    destination: Destination | None = None
    retention_period_hours: int = DAY_HOURS
    """A setting of the stream: a record that is older has left the stream, and is lost."""

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise MappingError(f"{name} must be a whole number from {low} to {high:,}.")
        if UNLIMITED < self.maximum_record_age_in_seconds < SHORTEST_AGE:
            raise MappingError(
                f"maximum_record_age_in_seconds must be {UNLIMITED}, or at least {SHORTEST_AGE}."
            )
        if not isinstance(self.bisect_batch_on_function_error, bool):
            raise MappingError("bisect_batch_on_function_error must be True or False.")
        if self.function_response_types not in ((), (PARTIAL_RESPONSES,)):
            raise MappingError(f'function_response_types must be [] or ["{PARTIAL_RESPONSES}"].')
        if self.starting_position == "AT_TIMESTAMP":
            raise MappingError(NOT_SIMULATED["starting_position_timestamp"])
        if self.starting_position not in (TRIM_HORIZON, LATEST):
            raise MappingError(f"starting_position must be {TRIM_HORIZON} or {LATEST}.")

    @property
    def reports_failures(self) -> bool:
        """Return whether the function reports failed records in its response."""
        return PARTIAL_RESPONSES in self.function_response_types


def settings_from(keywords: Mapping[str, Any], *, others: Collection[str] = ()) -> Settings:
    """Return the settings for *keywords*: AWS's names in snake case.

    ``destination_config`` has AWS's form, ``{"OnFailure": {"Destination": arn}}``.  *others* are
    the names of the caller's keywords that are no settings; the message about an unknown keyword
    lists them too.  Raises `MappingError` for a setting that does not exist, is not simulated or
    has an invalid value.

    >>> settings_from({"batch_size": 4, "bisect_batch_on_function_error": True}).batch_size
    4
    """
    given = {name: value for name, value in keywords.items() if name not in WITHOUT_EFFECT}
    for name in NOT_SIMULATED:
        if given.pop(name, None):
            raise MappingError(NOT_SIMULATED[name])
    if not given.pop("enabled", True):
        raise MappingError("The mapping is disabled (enabled is False), so it delivers nothing.")
    known = {field.name for field in fields(Settings)} - {"destination"} | {"destination_config"}
    if unknown := sorted(given.keys() - known):
        raise MappingError(_unknown(unknown[0], known, others))
    if "destination_config" in given:
        given["destination"] = destination_from(given.pop("destination_config"))
    types = given.get("function_response_types", ())
    given["function_response_types"] = tuple(types) if isinstance(types, list) else types or ()
    return Settings(**given)


def destination_from(config: Mapping[str, Any] | None) -> Destination | None:
    """Return the destination in *config*, a DestinationConfig of AWS; None if it has none.

    Raises `MappingError` if *config* has another form.
    """
    on_failure = _only("destination_config", config, "OnFailure")
    arn = _only("OnFailure in destination_config", on_failure, "Destination")
    return None if arn is None else destination(arn)


def _only(name: str, value: Any, key: str) -> Any:
    """Return what *value* has under its only *key*; None if *value* is None or empty."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise MappingError(f"{name} must be a dict: {DESTINATION_FORM}")
    if unknown := sorted(str(each) for each in value.keys() - {key}):
        raise MappingError(f"{name} has the unknown key {unknown[0]}: {DESTINATION_FORM}")
    return value.get(key)


def destination(arn: str) -> Destination:
    """Return the destination with the ARN *arn*.

    Raises `MappingError` if *arn* is not that of a bucket or a standard queue.
    """
    parts = arn.split(":") if isinstance(arn, str) else []
    if len(parts) != 6 or parts[0] != "arn" or not parts[5]:
        raise MappingError("The destination must be the ARN of a bucket (S3) or a queue (SQS).")
    if parts[2] not in ("s3", "sqs"):
        raise MappingError(f"Destinations on {parts[2].upper()} are not simulated; use S3 or SQS.")
    if parts[5].endswith(".fifo"):
        raise MappingError("AWS refuses a FIFO queue as the destination; use a standard queue.")
    return Destination(arn)


def _unknown(name: str, settings: Collection[str], others: Collection[str]) -> str:
    """Return the message about a keyword *name* that is not in *settings* and *others*."""
    plain = {known.replace("_", ""): known for known in (*settings, *others)}
    if close := get_close_matches(name.replace("_", "").lower(), plain, n=1, cutoff=0.8):
        return f"{name} is not a setting: did you mean {plain[close[0]]}?"
    known = f"{name} is not a setting; the settings are {', '.join(sorted(settings))}"
    return f"{known}, and the other keywords are {', '.join(others)}." if others else f"{known}."
