"""What Lambda's event source mapping does between a Kinesis stream and a function.

Rules that it keeps:

1. A batch is records of one shard, in order: at most `batch_size`, and at most 6 MB as an event.
2. The next batch of a shard begins after the last record that was dealt with.  The function
   says which: no failures means all of them; a failure means that everything from its sequence
   number on is delivered again, from the lowest if there are several.
3. A failure without a sequence number of the batch, a response that is no JSON object, and an
   exception each mean that the whole batch is delivered again.
4. A batch that is delivered again contains what it contained, less what was dealt with; the
   pause before it grows with each attempt that gets no further.  Another
   shard does not wait for it.

Rules of the mapping that it does not have: bisecting a batch, a maximum of attempts or of
record age, a destination on failure, parallelization within a shard, batching and tumbling
windows, filters, new shards after a split, a time limit on the function.  One function instance
serves all shards, so invocations follow one another.
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

PAYLOAD_BYTES = 6_000_000  # of one event; AWS refuses more than 6 MB
ENVELOPE_BYTES = 600  # what an event says about a record beside its data and key
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between attempts
TIMEOUT_SECONDS = 60.0
FUNCTION = "ride-predictions"

Handler = Callable[[dict[str, Any], Any], Any]


@dataclass(frozen=True, slots=True)
class Context:
    """The part of Lambda's context that says how long there is and who was called."""

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
    """A shard and how far its delivery is."""

    shard_id: str
    read: Callable[[int], list[Record]]
    waiting: list[Record] = field(default_factory=list)
    """Read and not dealt with; the checkpoint is just before the first."""
    length: int = 0
    """Records of the batch that is under way; 0 when the next one is still to be cut."""
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
    """Deliver until *finished*, and then whatever is still there.

    A function that never succeeds never lets this end, as it never lets a shard move on;
    what *finished* raises ends it.
    """
    while True:
        last_round = finished()  # asked first: what came before it is then seen by this round
        busy = [
            step(shard, handler, stream_arn=stream_arn, batch_size=batch_size) for shard in shards
        ]
        if not any(busy):
            if last_round and not any(shard.waiting for shard in shards):
                return
            time.sleep(idle)


def step(shard: Shard, handler: Handler, *, stream_arn: str, batch_size: int) -> bool:
    """Deliver one batch, if there is one and its pause is over; True if so."""
    if time.monotonic() < shard.not_before:
        return False
    if len(shard.waiting) < batch_size and not shard.length:
        shard.waiting += shard.read(READ_LIMIT)
    shard.length = shard.length or cut(shard.waiting, batch_size)
    if not shard.length:
        return False
    batch = shard.waiting[: shard.length]
    done = dealt_with(batch, invoke(handler, event(batch, shard.shard_id, stream_arn), stream_arn))
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
    """How many of the records make the next batch."""
    total = 0
    for length, record in enumerate(waiting[:batch_size]):
        total += size(record)
        if total > PAYLOAD_BYTES and length:
            return length
    return min(len(waiting), batch_size)


def size(record: Record) -> int:
    """Bytes that a record takes in an event."""
    return 4 * math.ceil(len(record.data) / 3) + len(record.partition_key) + ENVELOPE_BYTES


def dealt_with(batch: Sequence[Record], response: Any) -> int:
    """How many records of *batch* need not be delivered again.

    >>> from datetime import UTC, datetime
    >>> batch = [Record(number, "key", b"", datetime.now(UTC)) for number in ("7", "8", "9")]
    >>> dealt_with(batch, {"batchItemFailures": [{"itemIdentifier": "8"}]})
    1
    >>> dealt_with(batch, None)
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
    places = {record.sequence_number: place for place, record in enumerate(batch)}
    return min((_place(places, failure) for failure in failures), default=len(batch))


def _place(places: dict[str, int], failure: Any) -> int:
    identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
    return places.get(identifier, 0) if isinstance(identifier, str) else 0


def pause(attempt: int) -> float:
    """Seconds before attempt number *attempt*, the first of which is 0.

    >>> [pause(attempt) for attempt in range(4)]
    [0.0, 0.05, 0.1, 0.2]
    """
    return min(FIRST_PAUSE * 2 ** min(attempt - 1, 30), LONGEST_PAUSE) if attempt else 0.0


def invoke(handler: Handler, batch: dict[str, Any], stream_arn: str) -> Any:
    """The function's response after its way through JSON; `False` if the invocation failed."""
    region, account = stream_arn.split(":")[3:5]
    context = Context(
        deadline=time.monotonic() + TIMEOUT_SECONDS,
        aws_request_id=str(uuid.uuid4()),
        invoked_function_arn=f"arn:aws:lambda:{region}:{account}:function:{FUNCTION}",
    )
    try:
        return json.loads(json.dumps(handler(batch, context)))
    except Exception:  # whatever a function raises is a failed invocation
        logger.warning("the function failed", exc_info=True)
        return False


def event(batch: Sequence[Record], shard_id: str, stream_arn: str) -> dict[str, Any]:
    """The event that the function is invoked with."""
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
