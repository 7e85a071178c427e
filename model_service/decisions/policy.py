"""The policy: the rules by which a decision is flagged for review, as data.

A policy is a JSON document: ``{"rules": [...]}``.  A rule has a name of its own and one of four
types:

* ``value``: the value of a prediction field is outside its bounds;
* ``ratio``: the value of a field, divided by that of another, is outside its bounds;
* ``interval``: the interval of a field is wider than the maximum;
* ``silence``: an expected model did not speak before the deadline.

A rule about a field that a quote does not have says nothing: ``silence`` is the rule for that.
Rules see predictions alone, which carry no distance.  So no rule can know the price of a mile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from .. import storage
from ..errors import SettingsError
from .predictions import Prediction

MAX_RULES = 20  # so that a decision with all reasons is a small record
MAX_NAME = 64  # characters

Field = Annotated[str, Meta(min_length=1, max_length=128)]


class Reason(Struct, frozen=True):
    """Why a decision is flagged: the name of a rule, what broke it, and the bound of the rule."""

    rule: Annotated[str, Meta(description="the name of a rule of the policy")]
    subject: Annotated[str, Meta(description="the prediction field, or the model that is silent")]
    bound: Annotated[
        float,
        Meta(
            description="the bound that was passed: minutes, dollars, a ratio, or for a silent"
            " model the seconds for which it was waited for"
        ),
    ]


class _Rule(Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$", max_length=MAX_NAME)]


class ValueRule(_Rule, frozen=True, tag="value"):
    """The value of *field* must be from *minimum* to *maximum*."""

    field: Field
    minimum: float | None = None
    maximum: float | None = None


class RatioRule(_Rule, frozen=True, tag="ratio"):
    """The value of *field* divided by that of *per* must be from *minimum* to *maximum*."""

    field: Field
    per: Field
    minimum: float | None = None
    maximum: float | None = None


class IntervalRule(_Rule, frozen=True, tag="interval"):
    """The interval of *field* must not be wider than *maximum*."""

    field: Field
    maximum: Annotated[float, Meta(ge=0)]


class SilenceRule(_Rule, frozen=True, tag="silence"):
    """Every expected model must have spoken."""


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """The rules, in the order in which reasons are given."""

    rules: Annotated[
        tuple[ValueRule | RatioRule | IntervalRule | SilenceRule, ...],
        Meta(max_length=MAX_RULES),
    ] = ()


def load(location: str) -> Policy:
    """Return the policy at *location*, a path or ``s3://bucket/key``; without rules if it is empty.

    Raises `SettingsError` if the file cannot be read, or breaks a rule.
    """
    if not location:
        return Policy()
    folder, _, name = location.rpartition("/")
    if location.startswith(storage.SCHEME):
        return parse(storage.s3_folder(folder, SettingsError).read(name))
    path = Path(location)
    return parse(storage.LocalFolder(path.parent, SettingsError).read(path.name))


def parse(data: bytes) -> Policy:
    """Return the policy in *data*.

    >>> parse(b'{"rules": [{"type": "value", "name": "too_long", "field": "ride_duration"}]}')
    Traceback (most recent call last):
    model_service.errors.SettingsError: DECISION_POLICY: rule too_long has no bound

    Raises `SettingsError` with one sentence for each fault.
    """
    try:
        policy = msgspec.json.decode(data, type=Policy)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise SettingsError(f"DECISION_POLICY is not a policy: {exc}") from None
    faults = [fault for rule in policy.rules for fault in _faults(rule)]
    names = Counter(rule.name for rule in policy.rules)
    faults += [f"two rules have the name {name}" for name, number in names.items() if number > 1]
    if faults:
        raise SettingsError(f"DECISION_POLICY: {'; '.join(faults)}")
    return policy


def _faults(rule: _Rule) -> list[str]:
    if not isinstance(rule, ValueRule | RatioRule):
        return []
    low, high = rule.minimum, rule.maximum
    found = []
    if low is None and high is None:
        found.append(f"rule {rule.name} has no bound")
    if low is not None and high is not None and not low < high:
        found.append(f"the minimum of rule {rule.name} must be less than its maximum")
    if isinstance(rule, RatioRule) and rule.field == rule.per:
        found.append(f"rule {rule.name} divides a field by itself")
    return found


def reasons(
    policy: Policy,
    predictions: Collection[Prediction],
    expected: Collection[str],
    deadline_seconds: float,
) -> tuple[Reason, ...]:
    """Return the reasons for which *policy* flags a decision, in the order of its rules.

    *predictions* are those that the decision rests on, and *expected* the names of the models that
    it should rest on.  *deadline_seconds* is the time for which they were waited for.
    """
    values = {one.field: one.value for one in predictions}
    widths = {one.field: one.interval[1] - one.interval[0] for one in predictions if one.interval}
    silent = sorted(set(expected) - {one.model for one in predictions})
    found: list[Reason] = []
    for rule in policy.rules:
        match rule:
            case SilenceRule():
                found += [Reason(rule.name, model, float(deadline_seconds)) for model in silent]
            case IntervalRule():
                if widths.get(rule.field, 0.0) > rule.maximum:
                    found.append(Reason(rule.name, rule.field, rule.maximum))
            case ValueRule():
                found += _outside(rule, values.get(rule.field))
            case RatioRule():
                found += _outside(rule, _ratio(values, rule))
    return tuple(found)


def _ratio(values: Mapping[str, float], rule: RatioRule) -> float | None:
    """Return the ratio that *rule* is about; infinite if the divisor is 0, None if one is absent.

    Two zeros do not contradict each other.
    """
    one, other = values.get(rule.field), values.get(rule.per)
    if one is None or other is None or one == other == 0:
        return None
    return one / other if other else float("inf")


def _outside(rule: ValueRule | RatioRule, value: float | None) -> list[Reason]:
    if value is None:
        return []
    if rule.maximum is not None and (value > rule.maximum or not isfinite(value)):
        return [Reason(rule.name, rule.field, rule.maximum)]
    if rule.minimum is not None and value < rule.minimum:
        return [Reason(rule.name, rule.field, rule.minimum)]
    return []
