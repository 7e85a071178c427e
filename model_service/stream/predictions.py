"""Turns predictions into prediction events, the records of the output stream."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from ..kinesis.publisher import Entry
from ..kinesis.records import timestamp


class Source(Struct, frozen=True):
    """The origin of a prediction: the ride event's id, and its record's time of arrival."""

    event_id: str
    arrived_at: datetime


class Prediction(Struct, frozen=True):
    """A model's prediction for one ride, in the unit of its target: minutes or dollars."""

    model: str
    version: str
    field: str
    value: float
    interval: tuple[float, float] | None
    ride_id: int | str
    source: Source


_encoder = msgspec.json.Encoder()


def event_of(prediction: Prediction) -> dict[str, Any]:
    """Return the prediction event of *prediction*, as a dict that can be encoded as JSON."""
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
    """Return the JSON of one prediction event, or of a list of them, as bytes."""
    return _encoder.encode(event)


def entry(prediction: Prediction) -> Entry:
    """Return the entry that publishes *prediction*; its partition key is the ride's id."""
    return Entry(str(prediction.ride_id), encode(event_of(prediction)))
