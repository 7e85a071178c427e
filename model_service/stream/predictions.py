"""Predictions, and the prediction events that carry them on the output stream."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from ..kinesis.publisher import Entry
from ..kinesis.records import timestamp


class Source(Struct, frozen=True):
    """The record that a prediction answers: its event id, and when it arrived on the stream."""

    event_id: str
    arrived_at: datetime


class Prediction(Struct, frozen=True):
    """A model's prediction for one ride, in the unit of its target (minutes, dollars)."""

    model: str
    version: str
    field: str
    value: float
    interval: tuple[float, float] | None
    ride_id: int | str
    source: Source


_encoder = msgspec.json.Encoder()


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
    """A prediction event as the bytes of a record; several as a JSON list."""
    return _encoder.encode(event)


def entry(prediction: Prediction) -> Entry:
    """The record of a prediction on the output stream."""
    return Entry(str(prediction.ride_id), encode(event_of(prediction)))
