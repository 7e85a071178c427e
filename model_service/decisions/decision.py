"""Decides: predictions of a ride, in any order and number, become one decision.

This module does no input or output.  The item of a ride in the table is nothing, a `Waiting` or a
`Decided`, and `advance` says what follows when predictions arrive.

Law 1: for predictions of one event id and one version of each model that come before the deadline,
       every order and every duplication gives the same bytes.
Law 2: a decision never changes.  The first complete set of predictions decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ..kinesis.records import timestamp
from ..rides import RideId
from .policy import Policy, Reason, reasons
from .predictions import Prediction

REVIEW: Literal["review"] = "review"


class Decision(Struct, frozen=True):
    """What is decided about one ride.

    Delivery is at least once, but a ride has one decision: every copy has the same bytes.
    """

    ride_id: RideId
    quote: Annotated[
        dict[str, float],
        Meta(description="the value of each prediction field: minutes, or US dollars"),
    ]
    intervals: Annotated[
        dict[str, tuple[float, float]],
        Meta(description="low and high of each prediction field whose model gives an interval"),
    ]
    flag: Annotated[
        Literal["review"] | None, Meta(description="review if a rule of the policy was broken")
    ]
    reasons: tuple[Reason, ...]
    complete: Annotated[bool, Meta(description="whether all expected models had spoken")]
    versions: Annotated[dict[str, str], Meta(description="the version of each model")]
    sources: Annotated[
        dict[str, str],
        Meta(description="the id of the ride event that each model scored"),
    ]
    decided_at: Annotated[
        str,
        Meta(description="RFC 3339, the latest arrival among the ride events that were scored"),
    ]


@dataclass(frozen=True, slots=True)
class Rules:
    """What decisions are made by."""

    expected: frozenset[str]
    """The names of the models that a decision waits for."""
    policy: Policy
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """The predictions of a ride that is not complete, at most one of each model."""

    predictions: tuple[Prediction, ...]
    deadline: int
    """When the sweep decides, in seconds since 1970."""
    revision: int = 1
    """The number of times that the item has been written."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, as it is published."""

    body: bytes
    """The decision event as JSON."""
    unpublished_since: int | None = None
    """The deadline of a decision of the sweep that may not be published yet; otherwise None."""


State = Waiting | Decided | None
"""The state of a ride; None before its first prediction."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Decision)


def advance(state: State, heard: Sequence[Prediction], rules: Rules, now: float) -> State:
    """Return the state of a ride after its predictions *heard* arrived; *state* if nothing changes.

    *heard* are of expected models, and there is at least one.  *now* is in seconds since 1970.
    """
    if isinstance(state, Decided):
        return state
    before = state.predictions if state else ()
    predictions = latest([*before, *heard])
    if {one.model for one in predictions} >= rules.expected:
        return Decided(encode(decide(predictions, rules)))
    if state is None:
        return Waiting(predictions, int(now + rules.deadline_seconds) + 1)
    if predictions == state.predictions:
        return state
    return Waiting(predictions, state.deadline, state.revision + 1)


def expire(state: Waiting, rules: Rules) -> Decided:
    """Return the decision for a ride whose deadline has passed, from the predictions there are."""
    return Decided(encode(decide(state.predictions, rules)), unpublished_since=state.deadline)


def latest(predictions: Iterable[Prediction]) -> tuple[Prediction, ...]:
    """Return the latest prediction of each model, in the order of the models' names."""
    found: dict[str, Prediction] = {}
    for one in predictions:
        if one.model not in found or one.age > found[one.model].age:
            found[one.model] = one
    return tuple(found[model] for model in sorted(found))


def decide(predictions: Sequence[Prediction], rules: Rules) -> Decision:
    """Return the decision that rests on *predictions*: one or more, at most one of each model."""
    why = reasons(rules.policy, predictions, rules.expected, rules.deadline_seconds)
    by_field = sorted(predictions, key=lambda one: one.field)
    last = max(predictions, key=lambda one: one.arrived_at)
    return Decision(
        ride_id=last.ride_id,
        quote={one.field: one.value for one in by_field},
        intervals={one.field: one.interval for one in by_field if one.interval},
        flag=REVIEW if why else None,
        reasons=why,
        complete={one.model for one in predictions} >= rules.expected,
        versions={one.model: one.version for one in predictions},
        sources={one.model: one.event_id for one in predictions},
        decided_at=timestamp(last.arrived_at),
    )


def encode(decision: Decision) -> bytes:
    """Return the JSON of *decision*."""
    return _encoder.encode(decision)


def decode(body: bytes) -> Decision:
    """Return the decision in *body*, which `encode` returned.

    A later release may have added fields, which are ignored.
    """
    return _decoder.decode(body)


def rests_on(decision: Decision, prediction: Prediction) -> bool:
    """Return whether *decision* rests on *prediction* or on a duplicate of it."""
    named: Mapping[str, tuple[str, str]] = {
        model: (version, decision.sources[model]) for model, version in decision.versions.items()
    }
    return named.get(prediction.model) == (prediction.version, prediction.event_id)
