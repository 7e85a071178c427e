"""Decodes the rides in a request, scores them with both models, and makes a quote for each.

`routes` calls this module with the body of a request.  A client sends either a bare ride (the ride
itself) or a wrapped one (a ride event: an object with the ride and its id).  Each model is called
once, for all rides of the request together.  A ride that one of the models rejects gets no quote.

Values in a quote are rounded to hundredths, because more digits would only look exact.  The stream
publishes them unrounded.
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
from . import field_names

MAX_BODY = 1024 * 1024  # bytes in the body of a request
MAX_RIDES = 1000  # in a batch
DIGITS = 2  # after the decimal point of minutes and dollars

Minutes = Annotated[float, Meta(ge=0, description="minutes")]
Dollars = Annotated[float, Meta(ge=0, description="US dollars, without the tip")]
Interval = Annotated[
    tuple[float, float], Meta(description="low and high end of the range that includes the value")
]
Warnings = Annotated[
    list[str],
    Meta(description="fields that were ignored although their names resemble an optional field"),
]
Version = Annotated[str, Meta(description="the MLflow run that made the model")]


class Intervals(Struct, frozen=True):
    """The prediction intervals, from each model that predicts one."""

    duration: Interval | UnsetType = UNSET
    cost: Interval | UnsetType = UNSET


class Versions(Struct, frozen=True):
    """The version of each model that made the predictions."""

    duration: Version
    cost: Version | UnsetType = UNSET


class Quote(Struct, frozen=True, kw_only=True):
    """The predictions of the models for one ride."""

    duration: Minutes
    cost: Dollars | UnsetType = UNSET
    intervals: Intervals | UnsetType = UNSET
    versions: Versions
    ride_id: RideId | UnsetType = UNSET
    warnings: Warnings | UnsetType = UNSET


class QuoteRequest(NamedTuple):
    """A decoded ride, the id that the response repeats, and warnings about names of fields."""

    ride: Ride
    ride_id: int | str | None
    warnings: list[str]


QuoteOutcome = Quote | RideRejected | None
"""A quote, the rejection of the ride, or None if the time ran out before it was scored."""


class _Shape(Struct):
    ride: Raw | UnsetType = UNSET


_shape = msgspec.json.Decoder(_Shape)
_batch = msgspec.json.Decoder(Annotated[list[Raw], Meta(max_length=MAX_RIDES)])


def decode(data: bytes | Raw, now: datetime) -> QuoteRequest:
    """Decode one bare or wrapped ride.  The pick-up time is *now* if the ride has none.

    Raises `MalformedJson` if *data* is not JSON, and `RideRejected` if it is not a valid ride.
    """
    if rides.parse(_shape, data).ride is UNSET:
        bare = rides.decode_bare(data, now)
        return QuoteRequest(bare, bare.ride_id, field_names.warnings(data, wrapped=False))
    wrapped = rides.decode_wrapped(data, now)
    warnings = field_names.warnings(data, wrapped=True)
    return QuoteRequest(wrapped.ride, wrapped.ride_id, warnings)


def decode_batch(data: bytes, now: datetime) -> list[QuoteRequest | RideRejected]:
    """Decode a list of rides.  The result has a `RideRejected` in the place of each invalid ride.

    Raises `MalformedJson` if *data* is not JSON, and `RideRejected` if it is not a list or has more
    than `MAX_RIDES` items.
    """
    return [_decode_one(item, now) for item in rides.parse(_batch, data)]


def quote(
    models: Models, asked: Sequence[QuoteRequest], *, time_left: TimeLeft
) -> list[QuoteOutcome]:
    """Return the outcome of each request in *asked*, in order.

    *time_left* returns the seconds that scoring may still take.  Raises `ModelError` if a model
    fails.
    """
    asked_rides = columns([one.ride for one in asked])
    durations = _score(models.duration, asked_rides, time_left)
    costs: Sequence[ScoreOutcome | UnsetType] = (
        _score(models.cost, asked_rides, time_left) if models.cost else [UNSET] * len(asked)
    )
    cost_version = models.cost.model.version if models.cost else UNSET
    versions = Versions(models.duration.model.version, cost_version)
    return [
        _quote(versions, one, duration, cost)
        for one, duration, cost in zip(asked, durations, costs, strict=True)
    ]


def _quote(
    versions: Versions,
    asked: QuoteRequest,
    duration: ScoreOutcome,
    cost: ScoreOutcome | UnsetType,
) -> QuoteOutcome:
    if not isinstance(duration, Answer):
        return duration
    if cost is not UNSET and not isinstance(cost, Answer):
        return cost
    return Quote(
        duration=round(duration.value, DIGITS),
        cost=UNSET if cost is UNSET else round(cost.value, DIGITS),
        intervals=_intervals(duration, cost),
        versions=versions,
        ride_id=UNSET if asked.ride_id is None else asked.ride_id,
        warnings=asked.warnings or UNSET,
    )


def _intervals(duration: Answer, cost: Answer | UnsetType) -> Intervals | UnsetType:
    of_duration, of_cost = _rounded(duration), UNSET if cost is UNSET else _rounded(cost)
    if of_duration is UNSET and of_cost is UNSET:
        return UNSET
    return Intervals(of_duration, of_cost)


def _rounded(answer: Answer) -> tuple[float, float] | UnsetType:
    if answer.interval is None:
        return UNSET
    low, high = answer.interval
    return round(low, DIGITS), round(high, DIGITS)


def _score(served: Served, asked_rides: RideColumns, time_left: TimeLeft) -> list[ScoreOutcome]:
    return score(served.model, served.target, asked_rides, time_left=time_left).outcomes()


def _decode_one(item: Raw, now: datetime) -> QuoteRequest | RideRejected:
    try:
        return decode(item, now)
    except RideRejected as exc:
        return exc.detached()
