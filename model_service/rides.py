"""Defines ride events and the rules for valid ones, and reads them from JSON.

Ride events are checked while they are read, so every `RideEvent` that was read is valid.  For an
invalid event, the reader raises `RideRejected`.  The message has the path of the field and the
rule, never the value.

A pick-up time without an offset is New York local time (see `local_time`).  Its seconds may be
absent, because Java's ``toString()`` leaves them out if they are zero.

Clients write the same value in several ways, and each is read as one value.  A number without a
fraction is an integer, so ``130.0`` is zone 130 (JSON Schema 2020-12, 4.2.3).  ``null`` for an
optional field means that the field is absent.  Therefore JSON is read into the private types below,
and the public types have the values that they mean.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple, overload

import msgspec
from msgspec import Meta, Raw, Struct, field

from .errors import MalformedJson, RideRejected
from .format_names import fault_of_format
from .local_time import FIRST_YEAR, LAST_YEAR, has_room
from .payloads import payloads

MIN_ZONE, MAX_ZONE = 1, 265  # TLC taxi zones
MAX_MILES = 1000  # exclusive
MAX_INTEGER = 2**53 - 1  # the largest integer that every JSON reader reads exactly (RFC 8259, 6)
MAX_ID_LENGTH = 128  # characters

ZONES: Mapping[float, int] = {zone: zone for zone in range(MIN_ZONE, MAX_ZONE + 1)}
"""Every zone by its number; 130.0 finds 130, because equal numbers have equal hashes."""

Zone = Annotated[int, Meta(ge=MIN_ZONE, le=MAX_ZONE, description="TLC taxi zone")]
Miles = Annotated[float, Meta(ge=0, lt=MAX_MILES, description="miles")]
RideId = (
    Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    | Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
)
Moment = Annotated[
    datetime,
    Meta(
        description="RFC 3339, with or without seconds; New York local time where it has no offset"
    ),
]


class Ride(Struct, frozen=True, omit_defaults=True):
    """A ride as it is known when it begins."""

    pickup: Zone = field(name="PULocationID")
    dropoff: Zone = field(name="DOLocationID")
    distance: Miles = field(name="trip_distance")
    pickup_datetime: Moment | None = None


class RideEvent(Struct, frozen=True):
    """The payload of a record on the input stream."""

    ride: Ride
    ride_id: RideId


class BareRide(Ride, frozen=True):
    """A ride as it is known when it begins, with an optional id that the response repeats."""

    ride_id: RideId | None = None


class WrappedRide(Struct, frozen=True):
    """A ride event whose id may be absent."""

    ride: Ride
    ride_id: RideId | None = None


class RideResult(NamedTuple):
    """A ride event read from a record, or the reason why it was rejected."""

    event_id: str
    event: RideEvent | RideRejected
    raw: bytes | None
    """The payload's bytes in the record; None if the record itself cannot be read."""
    ignores_time: bool = False
    """Whether the ride has no pick-up time, but an unknown field that looks like one."""


class _Ride(Struct, gc=False):
    """The JSON of a ride, whose integers may be written with a decimal point."""

    pickup: Zone | float = field(name="PULocationID")
    dropoff: Zone | float = field(name="DOLocationID")
    distance: Miles = field(name="trip_distance")
    pickup_datetime: Moment | None = None


class _BareRide(_Ride):
    ride_id: RideId | float | None = None


class _WrappedRide(Struct):
    ride: _Ride
    ride_id: RideId | float | None = None


class _RideEvent(Struct):
    ride: _Ride
    ride_id: RideId | float


_event = msgspec.json.Decoder(_RideEvent)
_bare = msgspec.json.Decoder(_BareRide)
_wrapped = msgspec.json.Decoder(_WrappedRide)
_fields = msgspec.json.Decoder(dict[str, Raw])
_text = msgspec.json.Decoder(str)

NO_TIME = re.compile(r"Invalid RFC3339 encoded datetime - at `\$\.([\w.]+)`")
NO_SECONDS = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d)([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
TIME_FIELD = re.compile(rb'"([\w -]{1,64})"\s{0,9}:\s{0,9}(?:"\d{4}-\d\d-\d\d|\d{10})')
"""Matches a field whose value is a date or seconds since 1970.  Its parts have a maximum length, so
that a search takes linear time."""
LIKE_A_PICKUP = re.compile(rb"pick[-_ ]?up", re.IGNORECASE)


def read(data: str, event_id: str, arrived_at: datetime | None) -> Iterator[RideResult]:
    """Yield the result of each ride in a record from a stream or from the archive, in order.

    A result has a ride event, or the rejection of an invalid ride.

    *data* is the record's base64 text, and *event_id* is its event id.  If a ride has no pick-up
    time, its time is set to *arrived_at*, unless *arrived_at* is None.
    """
    for payload in payloads(data, event_id):
        if isinstance(payload.content, RideRejected):
            yield RideResult(payload.event_id, payload.content, payload.raw)
            continue
        try:
            event = decode(payload.content, arrived_at)
        except RideRejected as exc:
            yield RideResult(payload.event_id, exc.detached(), payload.raw)
            continue
        moment = event.ride.pickup_datetime
        has_no_time = moment is None or moment is arrived_at
        ignores_time = has_no_time and _ignores_time(event, payload.content)
        yield RideResult(payload.event_id, event, payload.raw, ignores_time)


def _ignores_time(event: RideEvent, content: bytes) -> bool:
    """Return whether *content*, the JSON of *event*, has an unknown field like a pick-up time."""
    quotes = 12 if isinstance(event.ride_id, str) else 10  # around the names that were read
    if content.count(b'"') <= quotes:
        return False
    return name_like_a_pickup_time(content) is not None


def name_like_a_pickup_time(content: bytes | Raw) -> str | None:
    """Return the name of the first field in *content* that looks like a pick-up time, if any.

    *content* is JSON without a valid ``pickup_datetime``.  The name has at most 64 letters, digits,
    spaces, underscores and hyphens, so a message may repeat it.

    >>> name_like_a_pickup_time(b'{"lpep_pickup_datetime": "2021-03-01 08:15:00"}')
    'lpep_pickup_datetime'
    """
    names = (found[1] for found in TIME_FIELD.finditer(content))
    return next((name.decode() for name in names if LIKE_A_PICKUP.search(name)), None)


def decode(data: bytes, arrived_at: datetime | None = None) -> RideEvent:
    """Read one ride event from JSON.  If it has no pick-up time, the time is set to *arrived_at*.

    >>> decode(b'{"ride": {"PULocationID": 130, "DOLocationID": 205}, "ride_id": 7}')
    Traceback (most recent call last):
    model_service.errors.RideRejected: Object missing required field `trip_distance` - at `$.ride`

    Raises `RideRejected` if the event is invalid.
    """
    event: _RideEvent = parse(_event, data)
    return RideEvent(_ride(event.ride, arrived_at, "$.ride"), _id(event.ride_id))


def decode_bare(data: bytes | Raw, now: datetime | None = None) -> BareRide:
    """Read one bare ride, which is not wrapped in a ride event, from JSON.

    If it has no pick-up time, the time is set to *now*.  Raises `RideRejected` if the ride is
    invalid.
    """
    bare: _BareRide = parse(_bare, data)
    ride = _ride(bare, now, "$")
    return BareRide(
        ride.pickup, ride.dropoff, ride.distance, ride.pickup_datetime, _id(bare.ride_id)
    )


def decode_wrapped(data: bytes | Raw, now: datetime | None = None) -> WrappedRide:
    """Read one ride event, whose id may be absent, from JSON.

    If it has no pick-up time, the time is set to *now*.  Raises `RideRejected` if the event is
    invalid.
    """
    wrapped: _WrappedRide = parse(_wrapped, data)
    return WrappedRide(_ride(wrapped.ride, now, "$.ride"), _id(wrapped.ride_id))


def _ride(json: _Ride, moment: datetime | None, path: str) -> Ride:
    """Return the ride that *json* means, with *moment* as its pick-up time if it has none.

    *path* is the JSON path of the ride, for messages.  Raises `RideRejected`.
    """
    pickup, dropoff = ZONES.get(json.pickup), ZONES.get(json.dropoff)
    if pickup is None or dropoff is None:
        pickup = _whole(json.pickup, MIN_ZONE, MAX_ZONE, f"{path}.PULocationID")
        dropoff = _whole(json.dropoff, MIN_ZONE, MAX_ZONE, f"{path}.DOLocationID")
    ride = Ride(pickup, dropoff, json.distance, json.pickup_datetime or moment)
    return ride if json.pickup_datetime is None else with_time(ride, None, path=path)


@overload
def _id(json: int | float | str) -> int | str: ...
@overload
def _id(json: int | float | str | None) -> int | str | None: ...
def _id(json: int | float | str | None) -> int | str | None:
    """Return the ride id that *json* means.  Raises `RideRejected`."""
    if type(json) is not float:
        return json  # type: ignore[return-value]
    return _whole(json, -MAX_INTEGER, MAX_INTEGER, "$.ride_id")


def _whole(number: float, low: int, high: int, path: str) -> int:
    """Return *number*, of the field at *path*, as an integer from *low* to *high*.

    Raises `RideRejected` where it has a fraction or lies outside.
    """
    whole = int(number)
    if whole == number and low <= whole <= high:
        return whole
    if whole != number:
        raise RideRejected(f"Expected `int`, got `float` - at `{path}`")
    limit = f">= {low}" if whole < low else f"<= {high}"
    raise RideRejected(f"Expected `int` {limit} - at `{path}`")


def with_time(ride: Ride, moment: datetime | None, *, path: str = "$") -> Ride:
    """Return *ride*; if it has no pick-up time, set the time to *moment*, unless this is None.

    *path* is the JSON path of the ride, for the message.  Raises `RideRejected` if the ride's
    pick-up time cannot be converted to another time zone.
    """
    if ride.pickup_datetime is None:
        if moment is None:
            return ride
        return Ride(ride.pickup, ride.dropoff, ride.distance, moment)
    if not has_room(ride.pickup_datetime):
        years = f"{FIRST_YEAR} to {LAST_YEAR}"
        raise RideRejected(f"Expected a year from {years} - at `{path}.pickup_datetime`")
    return ride


def parse(decoder: msgspec.json.Decoder[Any], data: bytes | Raw) -> Any:
    """Decode the JSON in *data* to the type of *decoder*.

    A byte order mark before the JSON is skipped (RFC 8259, 8.1), and the seconds of a time may be
    absent.  Raises `MalformedJson` if *data* is not JSON, and `RideRejected` if it breaks a rule.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as exc:
        completed = _with_seconds(data, str(exc))
        if completed is not None:
            return parse(decoder, completed)
        raise RideRejected(_rule(str(exc))) from None
    except msgspec.DecodeError as exc:
        text = bytes(data)
        if text.startswith(codecs.BOM_UTF8) and not text.startswith(2 * codecs.BOM_UTF8):
            return parse(decoder, text.removeprefix(codecs.BOM_UTF8))
        raise MalformedJson(fault_of_format(text) or str(exc)) from None
    except UnicodeDecodeError:
        raise MalformedJson("JSON is not UTF-8") from None
    except RecursionError:  # also in a field that is ignored
        raise MalformedJson("JSON is nested too deeply") from None


def _rule(message: str) -> str:
    """*message* of msgspec with the types of the public structs instead of the private ones."""
    return message.replace("int | float", "int").replace(" | null`", "`")


def _with_seconds(data: bytes | Raw, fault: str) -> bytes | None:
    """Return *data* with seconds added to the time that the message *fault* is about.

    Returns None if the time lacks more than its seconds.
    """
    path = NO_TIME.fullmatch(fault)
    if path is None:
        return None
    try:
        return _complete(data, path[1].split("."))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # behind the time
        return None


def _complete(data: bytes | Raw, path: Sequence[str]) -> bytes | None:
    """Return *data* with ``:00`` added to the time at *path*; None if the result is not a time."""
    if not path:
        parts = NO_SECONDS.fullmatch(_text.decode(data))
        return parts and f'"{parts[1]}:00{parts[2] or ""}"'.encode()
    name, *rest = path
    fields = _fields.decode(data)
    completed = _complete(fields[name], rest)
    return completed and msgspec.json.encode(fields | {name: Raw(completed)})


if __name__ == "__main__":  # python -m model_service.rides check FILE
    from runpy import run_module

    run_module("model_service.stream.check", run_name="__main__")
