"""Defines ride events and the rules for valid ones, and reads them from JSON.

Ride events are checked while they are read, so every `RideEvent` that was read is valid.  The
reader raises `RideRejected` for an invalid one, with a message that has the path of the field and
the rule, never the value.

A pick-up time without an offset is New York's local time (see `local_time`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from .errors import MalformedJson, RideRejected
from .local_time import FIRST_YEAR, LAST_YEAR, has_room
from .payloads import payloads

MIN_ZONE, MAX_ZONE = 1, 265  # TLC taxi zones
MAX_MILES = 1000  # exclusive
MAX_INTEGER = 2**53 - 1  # the largest integer that every JSON reader reads exactly (RFC 8259, 6)
MAX_ID_LENGTH = 128  # characters

Zone = Annotated[int, Meta(ge=MIN_ZONE, le=MAX_ZONE, description="TLC taxi zone")]
Miles = Annotated[float, Meta(ge=0, lt=MAX_MILES, description="miles")]
RideId = (
    Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    | Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
)
Moment = Annotated[
    datetime, Meta(description="RFC 3339; New York local time where it has no offset")
]


class Ride(Struct, frozen=True):
    """A ride as it is known when it begins."""

    pickup: Zone = field(name="PULocationID")
    dropoff: Zone = field(name="DOLocationID")
    distance: Miles = field(name="trip_distance")
    pickup_datetime: Moment | UnsetType = UNSET


class RideEvent(Struct, frozen=True):
    """The payload of a record on the input stream."""

    ride: Ride
    ride_id: RideId


class BareRide(Ride, frozen=True):
    """A ride as it is known when it begins, with an optional id that the response repeats."""

    ride_id: RideId | UnsetType = UNSET


class RideResult(NamedTuple):
    """A ride event read from a record, or the reason why it was rejected."""

    event_id: str
    event: RideEvent | RideRejected
    raw: bytes | None
    """The payload's bytes before unzipping; None if the Kinesis record itself cannot be read."""


_event = msgspec.json.Decoder(RideEvent)
_bare = msgspec.json.Decoder(BareRide)


def read(data: str, event_id: str, arrived_at: datetime | None) -> Iterator[RideResult]:
    """Yield the ride events in a record from a stream or from the archive, in order.

    *data* is the record's base64 text, and *event_id* is its event id.  The pick-up time of a ride
    without one is set to *arrived_at*, unless that is None.
    """
    for payload in payloads(data, event_id):
        event: RideEvent | RideRejected
        if isinstance(payload.content, RideRejected):
            event = payload.content
        else:
            try:
                event = decode(payload.content, arrived_at)
            except RideRejected as exc:
                event = exc.detached()
        yield RideResult(payload.event_id, event, payload.raw)


def decode(data: bytes, arrived_at: datetime | None = None) -> RideEvent:
    """Read one ride event from JSON.  If it has no pick-up time, the time is set to *arrived_at*.

    >>> decode(b'{"ride": {"PULocationID": 130, "DOLocationID": 205}, "ride_id": 7}')
    Traceback (most recent call last):
    model_service.errors.RideRejected: Object missing required field `trip_distance` - at `$.ride`

    Raises `RideRejected` if the event is invalid.
    """
    event: RideEvent = parse(_event, data)
    ride = with_time(event.ride, arrived_at, path="$.ride")
    return event if ride is event.ride else RideEvent(ride, event.ride_id)


def decode_bare(data: bytes | Raw) -> BareRide:
    """Read one bare ride, which is not wrapped in a ride event, from JSON.

    Raises `RideRejected` if the ride is invalid.
    """
    ride: BareRide = parse(_bare, data)
    with_time(ride, None)
    return ride


def with_time(ride: Ride, moment: datetime | None, *, path: str = "$") -> Ride:
    """Return *ride*, with *moment* as its pick-up time if it has none and *moment* is not None.

    *path* is the JSON path of the ride, for the message.  Raises `RideRejected` if the ride's
    pick-up time cannot be converted to another time zone.
    """
    if ride.pickup_datetime is UNSET:
        if moment is None:
            return ride
        return Ride(ride.pickup, ride.dropoff, ride.distance, moment)
    if not has_room(ride.pickup_datetime):
        years = f"{FIRST_YEAR} to {LAST_YEAR}"
        raise RideRejected(f"Expected a year from {years} - at `{path}.pickup_datetime`")
    return ride


def parse(decoder: msgspec.json.Decoder[Any], data: bytes | Raw) -> Any:
    """Decode the JSON in *data* to the type of *decoder*.

    Raises `MalformedJson` if *data* is not JSON, and `RideRejected` if it breaks a rule.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as exc:
        raise RideRejected(str(exc)) from None
    except msgspec.DecodeError as exc:
        raise MalformedJson(str(exc)) from None
    except UnicodeDecodeError:
        raise MalformedJson("JSON is not UTF-8") from None
    except RecursionError:  # also in a field that is ignored
        raise MalformedJson("JSON is nested too deeply") from None


if __name__ == "__main__":  # python -m model_service.rides check FILE
    from runpy import run_module

    run_module("model_service.stream.check", run_name="__main__")
