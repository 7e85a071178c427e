"""AWS Lambda entry point of the archive: makes each record of a stream a line of JSON.

Firehose alone would write the payloads, and drop which event each was and when it arrived.  A line
has the event id that the stream scorer knows the record by, the time of its arrival, its partition
key, and its bytes in base64, whatever they are: nothing is refused here.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec


class Line(msgspec.Struct, frozen=True):
    """One record, as the archive keeps it."""

    event_id: str
    arrived_at: datetime
    partition_key: str
    data: str
    """Base64."""


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    shard_id: str
    sequence_number: str
    partition_key: str
    approximate_arrival_timestamp: int
    subsequence_number: int | str = 0


class _Record(msgspec.Struct, frozen=True, rename="camel"):
    record_id: str
    data: str
    kinesis_record_metadata: _Metadata


class _Batch(msgspec.Struct, frozen=True):
    records: list[_Record]


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The lines of one batch, in the form that Firehose asks for.

    Raises `msgspec.ValidationError` where the event is not of a Firehose that reads a stream.
    """
    records = msgspec.convert(event, _Batch).records
    users = Counter(_place(record) for record in records)
    return {
        "records": [
            {
                "recordId": record.record_id,
                "result": "Ok",
                "data": b64encode(_encode(record, aggregated=users[_place(record)] > 1)).decode(),
            }
            for record in records
        ]
    }


def _place(record: _Record) -> tuple[str, str]:
    return record.kinesis_record_metadata.shard_id, record.kinesis_record_metadata.sequence_number


def _encode(record: _Record, *, aggregated: bool) -> bytes:
    metadata = record.kinesis_record_metadata
    # Firehose takes KPL records apart, and gives 0 to the first of them as to a plain record; what
    # else has its sequence number tells them apart, unless Firehose put them into two batches.
    index = int(metadata.subsequence_number or 0)
    suffix = f"#{index}" if aggregated or index else ""
    line = Line(
        event_id=f"{metadata.shard_id}:{metadata.sequence_number}{suffix}",
        arrived_at=datetime.fromtimestamp(metadata.approximate_arrival_timestamp / 1000, UTC),
        partition_key=metadata.partition_key,
        data=record.data,
    )
    return msgspec.json.encode(line) + b"\n"
