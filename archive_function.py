"""AWS Lambda entry point of the archive: converts each record of a stream to a line of JSON.

Firehose alone would write only the payloads, without event ids and arrival times.  A line has the
event id that the stream scorer uses, the time of arrival, the partition key, and the bytes of the
record in base64.  Every record is archived, valid or not.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec


class Line(msgspec.Struct, frozen=True):
    """One record in the archive."""

    event_id: str
    arrived_at: datetime
    partition_key: str
    data: str
    """The bytes of the record in base64."""


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
    """The lines of one batch, as a response to Firehose.

    Raises `msgspec.ValidationError` if the event does not come from a Firehose that reads a stream.
    """
    records = msgspec.convert(event, _Batch).records
    users = Counter(_number(record) for record in records)
    return {
        "records": [
            {
                "recordId": record.record_id,
                "result": "Ok",
                "data": b64encode(_encode(record, aggregated=users[_number(record)] > 1)).decode(),
            }
            for record in records
        ]
    }


def _number(record: _Record) -> tuple[str, str]:
    return record.kinesis_record_metadata.shard_id, record.kinesis_record_metadata.sequence_number


def _encode(record: _Record, *, aggregated: bool) -> bytes:
    metadata = record.kinesis_record_metadata
    # Firehose splits KPL records.  Their first user record has index 0, as a plain record has.
    # Other records with the same sequence number tell them apart, if they are in the same batch.
    index = int(metadata.subsequence_number or 0)
    suffix = f"#{index}" if aggregated or index else ""
    line = Line(
        event_id=f"{metadata.shard_id}:{metadata.sequence_number}{suffix}",
        arrived_at=datetime.fromtimestamp(metadata.approximate_arrival_timestamp / 1000, UTC),
        partition_key=metadata.partition_key,
        data=record.data,
    )
    return msgspec.json.encode(line) + b"\n"
