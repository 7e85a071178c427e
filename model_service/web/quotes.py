"""A quote: how long a ride will take and what it will cost, as the web service answers.

A ride comes bare, or wrapped like a ride event with its id beside it.  Each target is one model
call, however many rides there are; a ride that any model rejects has no quote.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from .. import rides
from ..errors import RideRejected
from ..features import RideColumns, columns
from ..models.served import Models, Served
from ..rides import Ride, RideId
from ..scoring import Answer, ScoreOutcome, TimeLeft, score

MAX_BODY = 1024 * 1024  # bytes of a request
MAX_RIDES = 1000  # of a batch

Minutes = Annotated[float, Meta(ge=0, description="minutes")]
Dollars = Annotated[float, Meta(ge=0, description="US dollars, without the tip")]
Interval = Annotated[tuple[float, float], Meta(description="low and high, around the value")]
Version = Annotated[str, Meta(description="the MLflow run that the model came from")]


class WrappedRide(Struct, frozen=True):
    """A ride in the shape of a ride event."""

    ride: Ride
    ride_id: RideId | UnsetType = UNSET


class Intervals(Struct, frozen=True):
    """Of the models that have them."""

    duration: Interval | UnsetType = UNSET
    cost: Interval | UnsetType = UNSET


class Versions(Struct, frozen=True):
    """Of the models that answered."""

    duration: Version
    cost: Version | UnsetType = UNSET


class Quote(Struct, frozen=True, kw_only=True):
    """What the models say of one ride."""

    duration: Minutes
    cost: Dollars | UnsetType = UNSET
    intervals: Intervals | UnsetType = UNSET
    versions: Versions
    ride_id: RideId | UnsetType = UNSET


class Asked(NamedTuple):
    """A ride, and the id to send back."""

    ride: Ride
    ride_id: int | str | UnsetType


QuoteOutcome = Quote | RideRejected | None
"""The outcome for one ride; None where there was no time left to ask the models."""


class _Shape(Struct):
    ride: Raw | UnsetType = UNSET


_shape = msgspec.json.Decoder(_Shape)
_wrapped = msgspec.json.Decoder(WrappedRide)
_batch = msgspec.json.Decoder(Annotated[list[Raw], Meta(max_length=MAX_RIDES)])


def decode(data: bytes | Raw, now: datetime) -> Asked:
    """Read one ride, bare or wrapped; *now* stands for a pick-up time that is absent.

    Raises `MalformedJson` where *data* is not JSON, `RideRejected` where it is not a valid ride.
    """
    if rides.parse(_shape, data).ride is UNSET:
        bare = rides.decode_bare(data)
        return Asked(rides.with_time(bare, now), bare.ride_id)
    wrapped: WrappedRide = rides.parse(_wrapped, data)
    return Asked(rides.with_time(wrapped.ride, now, path="$.ride"), wrapped.ride_id)


def decode_batch(data: bytes, now: datetime) -> list[Asked | RideRejected]:
    """Read a list of rides; each is a ride, or the reason why it is rejected.

    Raises `MalformedJson` where *data* is not JSON, `RideRejected` where it is not a list, or one
    of more than `MAX_RIDES`.
    """
    return [_decode_one(item, now) for item in rides.parse(_batch, data)]


def quote(models: Models, asked: Sequence[Asked], *, time_left: TimeLeft) -> list[QuoteOutcome]:
    """One outcome a ride, in order.  Raises `ModelError` where a model is at fault."""
    asked_rides = columns([one.ride for one in asked])
    durations = _score(models.duration, asked_rides, time_left)
    costs: Sequence[ScoreOutcome | UnsetType] = (
        _score(models.cost, asked_rides, time_left) if models.cost else [UNSET] * len(asked)
    )
    cost_version = models.cost.model.version if models.cost else UNSET
    versions = Versions(models.duration.model.version, cost_version)
    return [
        _quote(versions, one.ride_id, duration, cost)
        for one, duration, cost in zip(asked, durations, costs, strict=True)
    ]


def _quote(
    versions: Versions,
    ride_id: int | str | UnsetType,
    duration: ScoreOutcome,
    cost: ScoreOutcome | UnsetType,
) -> QuoteOutcome:
    if not isinstance(duration, Answer):
        return duration
    if cost is not UNSET and not isinstance(cost, Answer):
        return cost
    return Quote(
        duration=duration.value,
        cost=UNSET if cost is UNSET else cost.value,
        intervals=_intervals(duration, cost),
        versions=versions,
        ride_id=ride_id,
    )


def _intervals(duration: Answer, cost: Answer | UnsetType) -> Intervals | UnsetType:
    of_cost = UNSET if cost is UNSET or cost.interval is None else cost.interval
    if duration.interval is None and of_cost is UNSET:
        return UNSET
    return Intervals(UNSET if duration.interval is None else duration.interval, of_cost)


def _score(served: Served, asked_rides: RideColumns, time_left: TimeLeft) -> list[ScoreOutcome]:
    return score(served.model, served.target, asked_rides, time_left=time_left).outcomes()


def _decode_one(item: Raw, now: datetime) -> Asked | RideRejected:
    try:
        return decode(item, now)
    except RideRejected as exc:
        return exc
