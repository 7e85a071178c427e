"""Emulates Lambda's event source mapping between a Kinesis stream and a function.

It follows these rules:

1. A batch contains records of one shard in order: at most `batch_size`, and at most 6 MB as an
   event.
2. The next batch of a shard begins after the last processed record.  If the function reports no
   failures, all records of the batch are processed.  Otherwise, the record with the lowest failed
   sequence number and all records after it are delivered again.
3. The whole batch is delivered again if the function raises an exception, if its response is not a
   JSON object, or if it reports a failure without a sequence number of the batch.
4. A retried batch contains the same records, except those that were processed.  The pause before a
   retry grows with each attempt without progress.  Other shards do not wait for the retry.

It does not implement these features of the mapping: bisecting a batch, a maximum number of attempts
or record age, an on-failure destination, parallelization within a shard, batching and tumbling
windows, filters, new shards after a split, and a time limit for the function.  One function
instance serves all shards, so invocations do not overlap.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .kinesis_reader import READ_LIMIT, Record, event_id

logger = logging.getLogger(__name__)

PAYLOAD_BYTES = 6_000_000  # per event; AWS refuses more than 6 MB
ENVELOPE_BYTES = 600  # per record, added to the size of its data and key
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between attempts
TIMEOUT_SECONDS = 60.0
FUNCTION = "ride-predictions"

Handler = Callable[[dict[str, Any], Any], Any]


@dataclass(frozen=True, slots=True)
class Context:
    """The part of Lambda's context that contains the deadline and identifies the function."""

    deadline: float
    aws_request_id: str
    invoked_function_arn: str
    function_name: str = FUNCTION
    function_version: str = "$LATEST"
    memory_limit_in_mb: str = "1769"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(1000 * (self.deadline - time.monotonic())))


@dataclass(slots=True)
class Shard:
    """A shard and the state of its delivery."""

    shard_id: str
    read: Callable[[int], list[Record]]
    waiting: list[Record] = field(default_factory=list)
    """Records that were read but not processed; the checkpoint is before the first of them."""
    length: int = 0
    """The number of records in the current batch; 0 if there is no current batch."""
    attempt: int = 0
    not_before: float = 0.0


def poll(
    shards: Sequence[Shard],
    handler: Handler,
    *,
    stream_arn: str,
    batch_size: int,
    finished: Callable[[], bool],
    idle: float = 0.02,
) -> None:
    """Deliver records of *shards* until *finished* returns True, and then all records that remain.

    *idle* is the pause in seconds if no shard has records.  If the function *handler* never
    succeeds, `poll` never returns, because the shard makes no progress.  An exception from
    *finished* ends the delivery.
    """
    while True:
        last_round = finished()  # called first, so that this round sees all earlier records
        busy = [
            step(shard, handler, stream_arn=stream_arn, batch_size=batch_size) for shard in shards
        ]
        if not any(busy):
            if last_round and not any(shard.waiting for shard in shards):
                return
            time.sleep(idle)


def step(shard: Shard, handler: Handler, *, stream_arn: str, batch_size: int) -> bool:
    """Deliver a batch of *shard* to *handler*, and return True; False if no batch is due now."""
    if time.monotonic() < shard.not_before:
        return False
    if len(shard.waiting) < batch_size and not shard.length:
        shard.waiting += shard.read(READ_LIMIT)
    shard.length = shard.length or cut(shard.waiting, batch_size)
    if not shard.length:
        return False
    batch = shard.waiting[: shard.length]
    done = processed(batch, invoke(handler, event(batch, shard.shard_id, stream_arn), stream_arn))
    del shard.waiting[:done]
    shard.length -= done
    if not shard.length:
        shard.attempt = 0
    else:
        shard.attempt = 1 if done else shard.attempt + 1
    shard.not_before = time.monotonic() + pause(shard.attempt)
    if shard.length:
        logger.warning("%s: %d records are delivered again", shard.shard_id, shard.length)
    return True


def cut(waiting: Sequence[Record], batch_size: int) -> int:
    """Return how many of the *waiting* records the next batch has, at most *batch_size*."""
    total = 0
    for length, record in enumerate(waiting[:batch_size]):
        total += size(record)
        if total > PAYLOAD_BYTES and length:
            return length
    return min(len(waiting), batch_size)


def size(record: Record) -> int:
    """Return the number of bytes that a record takes in an event."""
    return 4 * math.ceil(len(record.data) / 3) + len(record.partition_key) + ENVELOPE_BYTES


def processed(batch: Sequence[Record], response: Any) -> int:
    """Return the number of records at the start of *batch* that need not be delivered again.

    *response* is the function's response, decoded from JSON.

    >>> from datetime import UTC, datetime
    >>> batch = [Record(number, "key", b"", datetime.now(UTC)) for number in ("7", "8", "9")]
    >>> processed(batch, {"batchItemFailures": [{"itemIdentifier": "8"}]})
    1
    >>> processed(batch, None)
    3
    """
    if response is None:
        return len(batch)
    if not isinstance(response, dict):
        return 0
    failures = response.get("batchItemFailures")
    if failures is None:
        return len(batch)
    if not isinstance(failures, list):
        return 0
    positions = {batch[n].sequence_number: n for n in reversed(range(len(batch)))}  # first counts
    return min((_position(positions, failure) for failure in failures), default=len(batch))


def _position(positions: dict[str, int], failure: Any) -> int:
    identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
    return positions.get(identifier, 0) if isinstance(identifier, str) else 0


def pause(attempt: int) -> float:
    """Return the seconds to wait before attempt number *attempt*, counted from 0.

    >>> [pause(attempt) for attempt in range(4)]
    [0.0, 0.05, 0.1, 0.2]
    """
    return min(FIRST_PAUSE * 2 ** min(attempt - 1, 30), LONGEST_PAUSE) if attempt else 0.0


def invoke(handler: Handler, batch: dict[str, Any], stream_arn: str) -> Any:
    """Invoke the function *handler* with the event *batch*.

    Returns the function's response, decoded from JSON, or False if the invocation failed.
    """
    region, account = stream_arn.split(":")[3:5]
    context = Context(
        deadline=time.monotonic() + TIMEOUT_SECONDS,
        aws_request_id=str(uuid.uuid4()),
        invoked_function_arn=f"arn:aws:lambda:{region}:{account}:function:{FUNCTION}",
    )
    try:
        return json.loads(json.dumps(handler(batch, context)))
    except Exception:  # any exception of a function is a failed invocation
        logger.warning("the function failed", exc_info=True)
        return False


def event(batch: Sequence[Record], shard_id: str, stream_arn: str) -> dict[str, Any]:
    """Return the event that Lambda sends to the function for *batch*, records of one shard."""
    region, account = stream_arn.split(":")[3:5]
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record.partition_key,
                    "sequenceNumber": record.sequence_number,
                    "data": base64.b64encode(record.data).decode(),
                    "approximateArrivalTimestamp": record.arrived_at.timestamp(),
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": event_id(shard_id, record.sequence_number),
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": f"arn:aws:iam::{account}:role/{FUNCTION}",
                "awsRegion": region,
                "eventSourceARN": stream_arn,
            }
            for record in batch
        ]
    }
