"""Reads Kinesis records from the event of a Lambda invocation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ..errors import EventError


class _Body(Struct, rename="camel"):
    sequence_number: str
    data: str
    approximate_arrival_timestamp: Annotated[float, Meta(ge=0, lt=2**37)]  # year 6325


class _Envelope(Struct):
    kinesis: _Body
    eventID: str
    eventSourceARN: str


class _Batch(Struct):
    Records: list[_Envelope]


class Record(Struct, frozen=True):
    """One Kinesis record; *data* is its base64 text, and *raw* is the dict from Lambda."""

    sequence_number: str
    event_id: str
    stream_arn: str
    arrived_at: datetime
    data: str
    raw: dict[str, Any]

    @property
    def stream(self) -> str:
        """The name of the stream."""
        return self.stream_arn.rpartition("/")[2]

    @property
    def shard(self) -> str:
        """The id of the shard that the record was read from."""
        return self.event_id.partition(":")[0]


def read(event: dict[str, Any]) -> list[Record]:
    """Return the records in the event of an invocation, in order.

    Raises `EventError` if *event* is not a batch of Kinesis records.
    """
    try:
        batch = msgspec.convert(event, _Batch)
    except msgspec.ValidationError as exc:
        raise EventError(f"not a batch of Kinesis records: {exc}") from None
    return [
        Record(
            sequence_number=envelope.kinesis.sequence_number,
            event_id=envelope.eventID,
            stream_arn=envelope.eventSourceARN,
            arrived_at=datetime.fromtimestamp(envelope.kinesis.approximate_arrival_timestamp, UTC),
            data=envelope.kinesis.data,
            raw=raw,
        )
        for envelope, raw in zip(batch.Records, event["Records"], strict=True)
    ]


def timestamp(moment: datetime) -> str:
    """Return *moment* in the format of prediction events and S3 objects: UTC with milliseconds.

    >>> timestamp(datetime(2022, 6, 2, 8, 5, 14, 132000, tzinfo=UTC))
    '2022-06-02T08:05:14.132Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
