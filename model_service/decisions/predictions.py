"""Reads prediction events, the records that every scorer publishes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from ..errors import RideRejected
from ..payloads import payloads
from ..rides import MAX_ID_LENGTH, MAX_INTEGER, parse

MAX_NAME = 128  # characters of a model, a version and a prediction field, as in `settings`
MAX_EVENT_ID = 256  # characters; Lambda's have 77, and 17 more with enhanced fan-out

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]


class Prediction(Struct, frozen=True, array_like=True):
    """A model's prediction for one ride, in the unit of its target, as it is kept while it waits.

    It is encoded as a JSON array, because an item of less than 1 KB costs one write unit.
    """

    model: str
    version: str
    field: str
    value: float
    interval: tuple[float, float] | None
    ride_id: int | str
    event_id: str
    """The id of the ride event that was scored."""
    arrived_at: datetime
    """When the ride event reached its stream."""

    @property
    def identity(self) -> tuple[str, str, str]:
        """Return what duplicates of a prediction have in common."""
        return self.model, self.version, self.event_id

    @property
    def age(self) -> tuple[datetime, str, str]:
        """Return a key that sorts the predictions of one model, the latest last.

        The event ids of one shard have the order of their sequence numbers.
        """
        return self.arrived_at, self.event_id, self.version


class PredictionResult(NamedTuple):
    """A prediction read from a record, or the reason why it was rejected."""

    event_id: str
    """The event id of the record on the stream of predictions."""
    prediction: Prediction | RideRejected


class _Source(Struct):
    event_id: Annotated[str, Meta(min_length=1, max_length=MAX_EVENT_ID)]
    arrived_at: Annotated[datetime, Meta(tz=True)]


class _Event(Struct):
    model: Name
    version: Name
    prediction: dict[str, Any]
    source: _Source


_event = msgspec.json.Decoder(_Event)


def read(data: str, event_id: str) -> Iterator[PredictionResult]:
    """Yield the predictions in a Kinesis record, in order.

    *data* is the record's base64 text, and *event_id* its event id.
    """
    for payload in payloads(data, event_id):
        found: Prediction | RideRejected
        try:
            if isinstance(payload.content, RideRejected):
                raise payload.content
            found = decode(payload.content)
        except RideRejected as exc:
            found = exc.detached()
        yield PredictionResult(payload.event_id, found)


def decode(data: bytes) -> Prediction:
    """Read one prediction event from JSON.

    The value is the only number in ``prediction`` besides ``ride_id``; its name is the prediction's
    field.  Other fields that are not numbers are ignored, so that the event can grow.  Raises
    `RideRejected` if the event is invalid.
    """
    event: _Event = parse(_event, data)
    answer = event.prediction
    values = {
        name: float(value)
        for name, value in answer.items()
        if name != "ride_id" and type(value) in (int, float)
    }
    if len(values) != 1:
        raise RideRejected("Expected one number besides `ride_id` - at `$.prediction`")
    [(field, value)] = values.items()
    if not 1 <= len(field) <= MAX_NAME:
        raise RideRejected(f"Expected a name of 1 to {MAX_NAME} characters - at `$.prediction`")
    return Prediction(
        model=event.model,
        version=event.version,
        field=field,
        value=value,
        interval=_interval(answer.get("interval"), value),
        ride_id=_ride_id(answer.get("ride_id")),
        event_id=event.source.event_id,
        arrived_at=event.source.arrived_at,
    )


def _ride_id(found: Any) -> int | str:
    """Return the ride id that *found* means, as in ride events.  Raises `RideRejected`."""
    if isinstance(found, str) and 1 <= len(found) <= MAX_ID_LENGTH:
        return found
    if type(found) in (int, float) and found == int(found) and abs(found) <= MAX_INTEGER:
        return int(found)
    raise RideRejected(
        f"Expected an integer within 2^53, or a text of 1 to {MAX_ID_LENGTH} characters"
        " - at `$.prediction.ride_id`"
    )


def _interval(found: Any, value: float) -> tuple[float, float] | None:
    """Return the interval that *found* means, around *value*.  Raises `RideRejected`."""
    if found is None:
        return None
    try:
        low, high = msgspec.convert(found, tuple[float, float])
    except msgspec.ValidationError:
        low, high = 1.0, 0.0
    if not low <= value <= high:
        raise RideRejected(
            "Expected two numbers, one on each side of the value - at `$.prediction.interval`"
        )
    return low, high
