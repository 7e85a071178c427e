"""The message about a discarded batch, in the format of an on-failure destination."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from .decisions import Discard
from .identity import Identity
from .lambda_event import event_of

CONTENT_TYPE = "application/octet-stream"


def message(discard: Discard, names: Identity, at: float) -> dict[str, Any]:
    """Return the message about *discard*, as a queue receives it.

    *at* is the time of the message, in seconds since 1970.
    """
    first, last = discard.records[0], discard.records[-1]
    made: dict[str, Any] = {
        "requestContext": {
            "requestId": names.request_id(discard.request),
            "functionArn": names.function_arn,
            "condition": discard.condition,
            "approximateInvokeCount": discard.invoke_count,
        }
    }
    if discard.responded:
        made["responseContext"] = {
            "statusCode": 200,
            "executedVersion": names.executed_version,
            "functionError": discard.function_error,
        }
    return made | {
        "version": "1.0",
        "timestamp": timestamp(at),
        "KinesisBatchInfo": {
            "shardId": discard.shard_id,
            "startSequenceNumber": first.sequence_number,
            "endSequenceNumber": last.sequence_number,
            "approximateArrivalOfFirstRecord": timestamp(first.arrived_at),
            "approximateArrivalOfLastRecord": timestamp(last.arrived_at),
            "batchSize": len(discard.records),
            "streamArn": names.stream_arn,
        },
    }


def message_on_s3(discard: Discard, names: Identity, at: float) -> dict[str, Any]:
    """Return the message about *discard*, as S3 receives it.

    It has the event of the discarded records as JSON text in `payload`.
    """
    event = event_of(discard.records, discard.shard_id, names)
    return message(discard, names, at) | {"payload": json.dumps(event)}


def object_key(discard: Discard, names: Identity, at: float) -> str:
    """Return the key of the S3 object with the message about *discard*.

    *names* identifies the mapping, whose UUID is in the key.  The key also has the time *at*, in
    seconds since 1970, and a UUID that depends on the batch.
    """
    moment = datetime.fromtimestamp(at, UTC)
    first = discard.records[0].sequence_number
    identifier = uuid5(UUID(names.mapping_id), f"{discard.request} {first}")
    return (
        f"aws/lambda/{names.mapping_id}/{discard.shard_id}"
        f"/{moment:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{identifier}"
    )


def timestamp(at: float) -> str:
    """Return *at*, in seconds since 1970, as text in UTC with milliseconds.

    >>> timestamp(1654161514.132)
    '2022-06-02T09:18:34.132Z'
    """
    moment = datetime.fromtimestamp(round(at, 3), UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
