"""Reads the settings of a mapping from a SAM or CloudFormation template.

A value may be a literal, or a `Ref` to a parameter.  Functions such as `Fn::If`, and loops
(`Fn::ForEach`), need the tools that evaluate them: give their result, or the setting as a keyword.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import MappingError
from .settings import LIMITS

DEFAULT_TIMEOUT = 3  # seconds; Lambda's default
LOOP = "Fn::ForEach::"
NO_VALUE = {"Ref": "AWS::NoValue"}
EVENT_SOURCE = ("stream", "event_source_arn", "function_name")
"""Properties of a mapping that are not settings of it."""
SERVICES = {
    "AWS::S3::Bucket": "s3",
    "AWS::SQS::Queue": "sqs",
    "AWS::SNS::Topic": "sns",
}
PLACEHOLDERS = {
    "s3": "arn:aws:s3:::{}",
    "sqs": "arn:aws:sqs:us-east-1:123456789012:{}",
    "sns": "arn:aws:sns:us-east-1:123456789012:{}",
}
"""ARNs of resources that exist only in the template."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """A function in a template: the settings of its mapping as keywords, and its timeout."""

    keywords: Mapping[str, Any]
    timeout: int
    """Seconds."""
    destination_resource: str | None = None
    """The logical id of the destination, if it is a resource of the template; its ARN in `keywords`
    is then made up."""


def load(path: Path | str) -> dict[str, Any]:
    """Return the template in a file of YAML or JSON, with short forms (``!Ref``) written out."""
    import yaml

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # C is ten times as fast
    loader: Any = type("CloudFormationLoader", (base,), {})
    loader.add_multi_constructor("!", _tagged)
    try:
        found = yaml.load(Path(path).read_text(encoding="utf-8"), loader)
    except OSError as exc:
        raise MappingError(f"The template {path} cannot be read: {exc.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise MappingError(f"The template {path} is neither YAML nor JSON.") from None
    if not isinstance(found, dict) or not isinstance(found.get("Resources"), dict):
        raise MappingError(f"The template {path} has no Resources.")
    return found


def mapping_of(
    template: Mapping[str, Any],
    function: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
    event: str | None = None,
) -> Mapped:
    """Return the mapping of the function with the logical id *function*.

    *parameters* are values for the template's parameters, *given* are settings that replace those
    of the template, and *event* is the name of an event source, if the function has several.
    Raises `MappingError` if the function has no mapping, or if a value in it cannot be read.
    """
    reader = _Reader(template, function, dict(parameters or {}), dict(given or {}))
    properties = reader.source(event)
    keywords = dict(reader.settings(properties))
    return Mapped(
        {**keywords, **reader.given}, reader.timeout(), reader.destination_resource(properties)
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one function of a template."""

    template: Mapping[str, Any]
    function: str
    parameters: Mapping[str, Any]
    given: Mapping[str, Any]

    @property
    def resources(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.template["Resources"]
        return found

    def source(self, event: str | None) -> Mapping[str, Any]:
        """Return the properties of the mapping named *event*; with None, of the only mapping."""
        found = dict(self._sources())
        if event is not None:
            found = {name: properties for name, properties in found.items() if name == event}
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            raise MappingError(
                f"{self.function} reads {len(found)} streams: choose one with event=, of"
                f" {', '.join(found)}."
            )
        if any(name.startswith(LOOP) for name in self.resources):
            raise MappingError(
                f"{self.function} is not in the template, which has loops (Fn::ForEach): give the"
                " template that CloudFormation or the SAM CLI makes of it."
            )
        raise MappingError(
            f"The template has no function {self.function} with a Kinesis event source."
        )

    def settings(self, properties: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield pairs of a keyword of `Settings` and its value in *properties*."""
        source = properties.get("Stream", properties.get("EventSourceArn"))
        if self._is_consumer(source):
            raise MappingError("Enhanced fan-out is not simulated: map the stream itself.")
        hours = self._resource(source).get("Properties", {}).get("RetentionPeriodHours")
        everything = {snake(name): value for name, value in properties.items()}
        everything |= {} if hours is None else {"retention_period_hours": hours}
        for keyword, value in everything.items():
            if keyword in EVENT_SOURCE or keyword in self.given or value == NO_VALUE:
                continue
            if keyword == "destination_config":
                yield keyword, self._destination_config(value)
            else:
                yield keyword, self._number(keyword, self._value(value, keyword))

    def destination_resource(self, properties: Mapping[str, Any]) -> str | None:
        """Return the logical id of the destination, if it is a resource of the template."""
        config = properties.get("DestinationConfig")
        on_failure = config.get("OnFailure") if isinstance(config, dict) else None
        target = on_failure.get("Destination") if isinstance(on_failure, dict) else None
        known = self._resource(target).get("Type") in SERVICES
        return _logical_id(target) if known and "destination_config" not in self.given else None

    def timeout(self) -> int:
        """Return the function's timeout in seconds."""
        settings = self.template.get("Globals", {}).get("Function", {})
        own = self.resources.get(self.function, {}).get("Properties", {})
        value = own.get("Timeout", settings.get("Timeout", DEFAULT_TIMEOUT))
        return int(self._value(value, "timeout"))

    def _sources(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        resource = self.resources.get(self.function, {})
        for name, event in resource.get("Properties", {}).get("Events", {}).items():
            if event.get("Type") == "Kinesis":
                yield name, event["Properties"]
        for name, other in self.resources.items():
            if name.startswith(LOOP) or other.get("Type") != "AWS::Lambda::EventSourceMapping":
                continue
            if self._target(other["Properties"].get("FunctionName")) == self.function:
                yield name, other["Properties"]

    def _target(self, reference: Any) -> str | None:
        """Return the logical id of the function that *reference* means, also through an alias."""
        name = _logical_id(reference)
        alias = self.resources.get(name or "", {})
        if alias.get("Type") in ("AWS::Lambda::Alias", "AWS::Lambda::Version"):
            return self._target(alias["Properties"].get("FunctionName"))
        return name

    def _resource(self, reference: Any) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.resources.get(_logical_id(reference) or "", {})
        return found

    def _is_consumer(self, source: Any) -> bool:
        if isinstance(source, str):
            return "/consumer/" in source
        return self._resource(source).get("Type") == "AWS::Kinesis::StreamConsumer"

    def _destination_config(self, config: Any) -> Any:
        """Return a DestinationConfig with an ARN, which a resource of the template also has."""
        on_failure = config.get("OnFailure") if isinstance(config, dict) else None
        if not isinstance(on_failure, dict) or "Destination" not in on_failure:
            return self._value(config, "destination_config")
        target = on_failure["Destination"]
        kind = self._resource(target).get("Type")
        if kind in SERVICES:
            arn = PLACEHOLDERS[SERVICES[kind]].format(_logical_id(target))
        else:
            arn = self._value(target, "destination_config")
        return {"OnFailure": {"Destination": arn}}

    def _declared(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.template.get("Parameters", {})
        return found

    def _value(self, value: Any, keyword: str) -> Any:
        """Return *value* with its references replaced by the values of parameters."""
        if isinstance(value, list):
            return [self._value(item, keyword) for item in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == {"Ref"}:
            name = value["Ref"]
            if name in self.parameters:
                return self.parameters[name]
            if "Default" in self._declared().get(name, {}):
                return self._declared()[name]["Default"]
            raise MappingError(
                f"{keyword} of {self.function} is the parameter {name}, which has no value: give"
                f" the parameter or {keyword}=."
            )
        if any(name.startswith("Fn::") or name == "Condition" for name in value):
            raise MappingError(
                f"{keyword} of {self.function} is computed by {next(iter(value))}: give {keyword}=."
            )
        return {name: self._value(item, keyword) for name, item in value.items()}

    def _number(self, keyword: str, value: Any) -> Any:
        """Return *value* as a number or truth value, which parameters give as text."""
        if keyword in LIMITS and isinstance(value, str) and re.fullmatch(r"-?\d+", value):
            return int(value)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        return value


def snake(name: str) -> str:
    """Return the name of a template's property in snake case.

    >>> snake("MaximumRetryAttempts"), snake("KMSKeyArn")
    ('maximum_retry_attempts', 'kms_key_arn')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _logical_id(reference: Any) -> str | None:
    """Return the logical id in a `Ref` or a `GetAtt`."""
    if not isinstance(reference, dict) or len(reference) != 1:
        return None
    [(kind, value)] = reference.items()
    if kind == "Fn::GetAtt":
        value = value[0] if isinstance(value, list) else str(value).partition(".")[0]
    elif kind != "Ref":
        return None
    return value if isinstance(value, str) else None


def _tagged(loader: Any, suffix: str, node: Any) -> Any:
    """Return a value with a tag in its long form: ``!Ref x`` as ``{"Ref": "x"}``."""
    import yaml

    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}
