"""The event with which Lambda invokes a function for records of a Kinesis stream."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from .identity import Identity
from .records import Record


def event_of(records: Sequence[Record], shard_id: str, names: Identity) -> dict[str, Any]:
    """Return the event for *records* of a shard.

    https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html shows the format.
    """
    region, role, stream = names.region, names.role_arn, names.stream_arn
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record.partition_key,
                    "sequenceNumber": record.sequence_number,
                    "data": base64.b64encode(record.data).decode(),
                    "approximateArrivalTimestamp": record.arrived_at,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{shard_id}:{record.sequence_number}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": role,
                "awsRegion": region,
                "eventSourceARN": stream,
            }
            for record in records
        ]
    }
