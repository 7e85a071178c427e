"""Reads Kinesis records from the event of a Lambda invocation."""

from __future__ import annotations

import hashlib
import re
from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ..errors import EventError

STREAM_ARN = re.compile(r":stream/([^/]+)(/consumer/)?")
"""The name of a stream in its ARN, or in the ARN of a consumer with enhanced fan-out.

Source: Service Authorization Reference, "Resource types defined by Amazon Kinesis Data Streams".
"""


REPLAY_MARK = "replay"
"""The key, beside ``Records``, with which a replay marks its events."""


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
        """Return the name of the stream; empty if *stream_arn* is not the ARN of a stream."""
        found = STREAM_ARN.search(self.stream_arn)
        return found[1] if found else ""

    @property
    def is_fanned_out(self) -> bool:
        """Return whether a consumer with enhanced fan-out received the record."""
        return _is_consumer(self.stream_arn)

    @property
    def shard(self) -> str:
        """Return the id of the shard from which the record was read."""
        return self.event_id.partition(":")[0]


class BatchRange(Struct, frozen=True):
    """The part of a stream from which a batch was read; all fields are empty for an empty batch."""

    stream: str = ""
    shard: str = ""
    first_sequence_number: str = ""
    last_sequence_number: str = ""


def batch_range(batch: Sequence[Record]) -> BatchRange:
    """Return the part of the stream from which *batch* was read; a batch is from one shard."""
    if not batch:
        return BatchRange()
    first, last = batch[0], batch[-1]
    return BatchRange(first.stream, first.shard, first.sequence_number, last.sequence_number)


def read(event: dict[str, Any]) -> list[Record]:
    """Return the records in the event of an invocation, in order.

    With enhanced fan-out, Lambda itself splits KPL aggregates, and gives all user records of an
    aggregate the same event id and sequence number.  So a digest of its data is added to the event
    id of such a record.  The position in the batch could not be added instead, because a retried
    batch may begin with another record.

    Raises `EventError` if *event* is not a batch of Kinesis records.
    """
    try:
        batch = msgspec.convert(event, _Batch)
    except msgspec.ValidationError as exc:
        raise EventError(f"not a batch of Kinesis records: {exc}") from None
    return [
        Record(
            sequence_number=envelope.kinesis.sequence_number,
            event_id=_event_id(envelope),
            stream_arn=envelope.eventSourceARN,
            arrived_at=datetime.fromtimestamp(envelope.kinesis.approximate_arrival_timestamp, UTC),
            data=envelope.kinesis.data,
            raw=raw,
        )
        for envelope, raw in zip(batch.Records, event["Records"], strict=True)
    ]


def is_replay(event: Mapping[str, Any]) -> bool:
    """Return whether `operate.replay` sent *event*, and not the event source mapping."""
    return event.get(REPLAY_MARK) is True


def completed(event: Any, now: datetime) -> Any:
    """Return a copy of *event* in which every record has an identity, for test runs.

    In a test run, a record may consist of ``{"kinesis": {"data": "…"}}`` alone.  It gets the event
    id ``test-run:<position>``, its position as its sequence number, the stream ``test-run``, and
    *now* as its time of arrival.  If *event* is not a batch of records, it is returned unchanged.
    """
    try:
        return {
            **event,
            "Records": [
                {
                    "eventID": f"test-run:{position}",
                    "eventSourceARN": "arn:aws:kinesis:::stream/test-run",
                    **record,
                    "kinesis": {
                        "sequenceNumber": str(position),
                        "approximateArrivalTimestamp": now.timestamp(),
                        **record["kinesis"],
                    },
                }
                for position, record in enumerate(event["Records"])
            ],
        }
    except (TypeError, KeyError):  # `read` refuses it, and says why
        return event


def _is_consumer(arn: str) -> bool:
    found = STREAM_ARN.search(arn)
    return bool(found and found[2])


def _event_id(envelope: _Envelope) -> str:
    if not _is_consumer(envelope.eventSourceARN):
        return envelope.eventID
    try:
        data = a2b_base64(envelope.kinesis.data, strict_mode=True)
    except ValueError:  # not base64, so the record will be rejected
        data = envelope.kinesis.data.encode()
    return f"{envelope.eventID}#{short_digest(data)}"


def short_digest(data: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of *data*.

    >>> short_digest(b"")
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(data).hexdigest()[:16]


def utc_now() -> datetime:
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """Return *moment* in the format of prediction events and S3 objects: UTC with milliseconds.

    >>> timestamp(datetime(2022, 6, 2, 8, 5, 14, 132000, tzinfo=UTC))
    '2022-06-02T08:05:14.132Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
