"""AWS Lambda entry point of the archive: converts each record of a stream to a line of JSON.

Without this function, Firehose would write only the bytes of the records.  A line also has the time
of arrival, the partition key, and the event id that the stream scorer uses.  Every record is
archived, whether it is valid or not.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec


class Line(msgspec.Struct, frozen=True):
    """A line of the archive: one record of the stream."""

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
    """Return the archive lines of the records in *event*, in the format of a response to Firehose.

    Raises `msgspec.ValidationError` if *event* was not sent by a Firehose that reads a stream.
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
    # Firehose splits a KPL aggregate into its user records.  The first one has the index 0, and so
    # does a record that is not aggregated.  A record with index 0 is taken for a user record if
    # another record in the batch has the same sequence number.
    index = int(metadata.subsequence_number or 0)
    suffix = f"#{index}" if aggregated or index else ""
    line = Line(
        event_id=f"{metadata.shard_id}:{metadata.sequence_number}{suffix}",
        arrived_at=datetime.fromtimestamp(metadata.approximate_arrival_timestamp / 1000, UTC),
        partition_key=metadata.partition_key,
        data=record.data,
    )
    return msgspec.json.encode(line) + b"\n"
