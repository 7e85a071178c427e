"""What comes in and what goes out, and the only code that reads or writes either.

A ride event is parsed once, by its type: whoever holds a `RideEvent` holds a valid one.
Every fault is a `RideRejected` whose message has the path and the rule, never the value.

Times are New York's where they carry no offset.  An hour that occurs twice in autumn means
the first; one that does not exist in spring is taken an hour later.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from . import payloads
from .errors import RideRejected

MAX_INTEGER = 2**53 - 1  # the largest that every JSON reader keeps exact (RFC 8259, 6)
NEW_YORK = ZoneInfo("America/New_York")

Zone = Annotated[int, Meta(ge=1, le=265, description="TLC taxi zone")]
Miles = Annotated[float, Meta(ge=0, lt=1000, description="miles")]
RideId = (
    Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    | Annotated[str, Meta(min_length=1, max_length=128)]
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


class Source(Struct, frozen=True):
    """Which record a prediction answers: its event id, and when it arrived on the stream."""

    event_id: str
    arrived_at: datetime


class Prediction(Struct, frozen=True):
    """A model's answer to one ride, in the unit of its target (minutes, dollars)."""

    model: str
    version: str
    field: str
    value: float
    interval: tuple[float, float] | None
    ride_id: int | str
    source: Source


_decoder = msgspec.json.Decoder(RideEvent)
_encoder = msgspec.json.Encoder()


def decode(data: bytes, arrived_at: datetime | None = None) -> RideEvent:
    """Read one JSON ride event; *arrived_at* stands for a pick-up time that is absent.

    >>> decode(b'{"ride": {"PULocationID": 130, "DOLocationID": 205}, "ride_id": 7}')
    Traceback (most recent call last):
    model_service.errors.RideRejected: Object missing required field `trip_distance` - at `$.ride`

    Raises `RideRejected`.
    """
    try:
        event = _decoder.decode(data)
    except msgspec.DecodeError as exc:
        raise RideRejected(str(exc)) from None
    except UnicodeDecodeError:
        raise RideRejected("JSON is not UTF-8") from None
    except RecursionError:  # in a field that is ignored, too
        raise RideRejected("JSON is nested too deeply") from None
    ride = at(event.ride, arrived_at, path="$.ride")
    return event if ride is event.ride else RideEvent(ride, event.ride_id)


def at(ride: Ride, moment: datetime | None, *, path: str = "$") -> Ride:
    """*ride*, with *moment* for a pick-up time that is absent; *path* is where it was read.

    Raises `RideRejected` where its time has no room to change the time zone.
    """
    if ride.pickup_datetime is UNSET:
        if moment is None:
            return ride
        return Ride(ride.pickup, ride.dropoff, ride.distance, moment)
    if not 1 < ride.pickup_datetime.year < 9999:
        raise RideRejected(f"Expected a year from 2 to 9998 - at `{path}.pickup_datetime`")
    return ride


def new_york(moment: datetime) -> datetime:
    """*moment* on New York's clocks.

    >>> new_york(datetime(2021, 3, 1, 13, 15, tzinfo=UTC)).hour
    8
    >>> new_york(datetime(2021, 3, 14, 2, 30)).hour  # the clocks went from 2 to 3
    3
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=NEW_YORK, fold=0).astimezone(UTC)
    return moment.astimezone(NEW_YORK)


def event_of(prediction: Prediction) -> dict[str, Any]:
    """The prediction event, as plain JSON types."""
    answer: dict[str, Any] = {prediction.field: prediction.value, "ride_id": prediction.ride_id}
    if prediction.interval is not None:
        answer["interval"] = list(prediction.interval)
    return {
        "model": prediction.model,
        "version": prediction.version,
        "prediction": answer,
        "source": {
            "event_id": prediction.source.event_id,
            "arrived_at": timestamp(prediction.source.arrived_at),
        },
    }


def encode(event: dict[str, Any] | list[dict[str, Any]]) -> bytes:
    """A prediction event as the bytes of a record; or several as a JSON list."""
    return _encoder.encode(event)


def timestamp(moment: datetime) -> str:
    """*moment* as it is written in events.

    >>> timestamp(datetime(2022, 6, 2, 8, 5, 14, 132000, tzinfo=UTC))
    '2022-06-02T08:05:14.132Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _events(text: bytes) -> list[tuple[str, bytes]]:
    """The events of a file and where they stand: one a line, or a single one over all of it."""
    lines = [(f"line {n}", line.strip()) for n, line in enumerate(text.splitlines(), start=1)]
    lines = [(where, line) for where, line in lines if line]
    one_a_line = any(line.startswith(b"{") and line.endswith(b"}") for _, line in lines)
    if text.startswith(payloads.GZIP_MAGIC) or (not one_a_line and len(lines) > 1):
        return [("the event", text)]
    return lines


def main(arguments: list[str]) -> int:
    """``python -m model_service.rides check FILE``: what the service would say of each event."""
    if len(arguments) != 2 or arguments[0] != "check":
        print("usage: python -m model_service.rides check FILE", file=sys.stderr)
        return 2
    try:
        events = _events(Path(arguments[1]).read_bytes())
    except OSError as exc:
        print(f"cannot read {arguments[1]}: {exc.strerror}", file=sys.stderr)
        return 2
    if not events:
        print(f"there is no event in {arguments[1]}", file=sys.stderr)
        return 1
    rejected = 0
    for where, data in events:
        try:
            decode(payloads.plain(data, payloads.Budget()))
        except RideRejected as exc:
            rejected += 1
            print(f"{where}: rejected: {exc}")
    print(f"{len(events) - rejected} good, {rejected} rejected")
    return 1 if rejected else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
