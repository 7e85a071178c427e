"""Sends records to a stream at a steady rate, and again if the stream refuses them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import batched, groupby
from typing import TYPE_CHECKING

from event_source_mapping.kinesis import TRANSIENT

from .aws.kinesis_reader import event_id
from .formatting import many
from .messages import Message

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

MOST_RECORDS = 500  # per PutRecords call; an AWS limit
MOST_BYTES = 5 * 1024 * 1024  # per PutRecords call; all implementations accept this
CALLS_PER_SECOND = 20
ATTEMPTS = 10
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds before a record is sent again

Put = Callable[[Sequence[Message]], list[str | None]]
"""A function that sends messages and returns for each its event id, or None if it was refused."""


def send(
    messages: Iterable[Message],
    put: Put,
    *,
    per_second: float,
    sent: Callable[[dict[str, Message]], None],
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Send *messages* at a steady rate of *per_second*; see `send_at`."""
    due = ((number / per_second, message) for number, message in enumerate(messages))
    send_at(due, put, sent=sent, stopped=stopped)


def send_at(
    due: Iterable[tuple[float, Message]],
    put: Put,
    *,
    sent: Callable[[dict[str, Message]], None],
    refused: Callable[[int], object] = lambda count: None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Send messages at their times, which are seconds after the start, in ascending order.

    The messages of the same twentieth of a second are sent together.  *sent* is called with the
    messages of each call by event id, and *refused* with the number of records that are sent again.
    Sending ends early when *stopped* returns True.  A record that is sent again can come after a
    later record with the same partition key, as with any producer that uses PutRecords.

    Raises `RuntimeError` if the stream refuses a record `ATTEMPTS` times.
    """
    began = time.monotonic()
    for tick, group in groupby(due, key=lambda pair: int(pair[0] * CALLS_PER_SECOND)):
        for chunk in chunks([message for _, message in group], MOST_RECORDS):
            if stopped():
                return
            time.sleep(max(0.0, began + tick / CALLS_PER_SECOND - time.monotonic()))
            sent(_accepted(chunk, put, refused))


def chunks(messages: Iterable[Message], most: int) -> Iterator[list[Message]]:
    """Yield *messages* in order, in chunks that one PutRecords call accepts.

    *most* is the maximum number of messages in a chunk.
    """
    for piece in batched(messages, min(most, MOST_RECORDS), strict=False):
        chunk: list[Message] = []
        total = 0
        for message in piece:
            size = len(message.data) + len(message.key.encode())
            if chunk and total + size > MOST_BYTES:
                yield chunk
                chunk, total = [], 0
            chunk.append(message)
            total += size
        yield chunk


def put_to(kinesis: KinesisClient, stream: str) -> Put:
    """Return a function that writes messages to *stream*, as a `Put`."""

    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    def put(messages: Sequence[Message]) -> list[str | None]:
        try:
            response = kinesis.put_records(
                StreamName=stream,
                Records=[{"PartitionKey": each.key, "Data": each.data} for each in messages],
            )
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in TRANSIENT:
                raise
            return [None] * len(messages)
        except (ConnectionError, HTTPClientError):
            return [None] * len(messages)
        return [
            None if entry.get("ErrorCode") else event_id(entry["ShardId"], entry["SequenceNumber"])
            for entry in response["Records"]
        ]

    return put


def pause(attempt: int) -> float:
    """Return the seconds to wait before attempt number *attempt*, counted from 0.

    >>> [pause(attempt) for attempt in range(4)]
    [0.0, 0.05, 0.1, 0.2]
    """
    return min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE) if attempt else 0.0


def _accepted(
    chunk: Sequence[Message], put: Put, refused: Callable[[int], object]
) -> dict[str, Message]:
    """Send *chunk*, and send refused messages again; return the messages by event id."""
    accepted: dict[str, Message] = {}
    for attempt in range(ATTEMPTS):
        time.sleep(pause(attempt))
        identifiers = put(chunk)
        pairs = list(zip(chunk, identifiers, strict=True))
        accepted |= {identifier: message for message, identifier in pairs if identifier}
        chunk = [message for message, identifier in pairs if not identifier]
        if not chunk:
            return accepted
        refused(len(chunk))
    raise RuntimeError(f"the stream refused {many(len(chunk), 'record')} {ATTEMPTS} times")
