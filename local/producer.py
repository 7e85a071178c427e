"""Sends rides to a stream, with broken records between them.

The records depend only on the rides: one ride in `GZIP_EVERY` is compressed, and one in
`BROKEN_EVERY` is followed by a broken record.  The kinds of broken records in `BROKEN` take turns.
A retry does not repair a broken record, so the service must reject each of them.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched, cycle
from typing import TYPE_CHECKING, Any

from .aws.kinesis_reader import event_id
from .formatting import many

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

GZIP_EVERY = 7  # rides
BROKEN_EVERY = 60  # rides
MOST_RECORDS = 500  # per PutRecords call; an AWS limit
MOST_BYTES = 5 * 1024 * 1024  # per PutRecords call; all implementations accept this
CALLS_PER_SECOND = 20
ATTEMPTS = 10
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds before a record is sent again
BOMB_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """A record to send; *broken* describes its defect, and is None if it has no defect."""

    key: str
    data: bytes
    broken: str | None = None


Put = Callable[[Sequence[Message]], list[str | None]]
"""A function that sends messages and returns for each its event id, or None if it was refused."""


def ride_event(
    ride_id: int | str, pickup: int, dropoff: int, distance: float, pickup_datetime: str
) -> dict[str, Any]:
    """Return a ride event in the service's input format.

    *pickup* and *dropoff* are TLC zone ids, *distance* is in miles, and *pickup_datetime* is in the
    format of RFC 3339."""
    return {
        "ride": {
            "PULocationID": pickup,
            "DOLocationID": dropoff,
            "trip_distance": distance,
            "pickup_datetime": pickup_datetime,
        },
        "ride_id": ride_id,
    }


def messages(events: Iterable[dict[str, Any]]) -> Iterator[Message]:
    """Yield the rides in order as messages, with broken records between them."""
    kinds = cycle([(kind, make()) for kind, make in BROKEN.items()])
    for number, event in enumerate(events, start=1):
        data = json.dumps(event).encode()
        if number % GZIP_EVERY == 0:
            data = gzip.compress(data, mtime=0)
        yield Message(str(event["ride_id"]), data)
        if number % BROKEN_EVERY == 1:
            kind, broken = next(kinds)
            yield Message(f"broken-{number}", broken, kind)


def send(
    messages: Sequence[Message],
    put: Put,
    *,
    per_second: float,
    sent: Callable[[dict[str, Message]], None],
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Send *messages* with *put*, *per_second* messages a second.

    *sent* is called with the messages of each PutRecords call, by event id.  Sending ends early if
    *stopped* returns True.  Raises `RuntimeError` if the stream refuses a record `ATTEMPTS` times.
    """
    began = time.monotonic()
    count = 0
    for chunk in chunks(messages, max(1, round(per_second / CALLS_PER_SECOND))):
        if stopped():
            return
        time.sleep(max(0.0, began + count / per_second - time.monotonic()))
        sent(_accepted(chunk, put))
        count += len(chunk)


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

    def put(messages: Sequence[Message]) -> list[str | None]:
        response = kinesis.put_records(
            StreamName=stream,
            Records=[{"PartitionKey": each.key, "Data": each.data} for each in messages],
        )
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


def _accepted(chunk: Sequence[Message], put: Put) -> dict[str, Message]:
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
    raise RuntimeError(f"the stream refused {many(len(chunk), 'record')} {ATTEMPTS} times")


def _broken_ride(**changes: Any) -> bytes:
    event = ride_event("broken", 130, 205, 3.66, "2021-03-01T08:15:00")
    event["ride"] |= changes
    return json.dumps(event).encode()


def _without(field: str) -> bytes:
    event = json.loads(_broken_ride())
    del event["ride"][field]
    return json.dumps(event).encode()


def _bomb() -> bytes:
    return gzip.compress(_broken_ride() + b" " * BOMB_BYTES, mtime=0)


def _nested() -> bytes:
    depth = 20_000
    return _broken_ride()[:-1] + b', "notes": ' + b"[" * depth + b"]" * depth + b"}"


BROKEN: Mapping[str, Callable[[], bytes]] = {
    "not JSON": lambda: b"ride 17, from zone 130 to zone 205, 3.66 miles",
    "a field is missing": lambda: _without("trip_distance"),
    "the distance is NaN": lambda: _broken_ride(trip_distance=float("nan")),
    "there is no zone 266": lambda: _broken_ride(DOLocationID=266),
    "the distance is negative": lambda: _broken_ride(trip_distance=-3.66),
    "text for a number": lambda: _broken_ride(PULocationID="130"),
    "nested too deeply": _nested,
    "a gzip bomb": _bomb,
    "gzip that ends early": lambda: gzip.compress(_broken_ride(), mtime=0)[:-12],
    "empty record": lambda: b"",
    "a KPL record with a wrong checksum": lambda: (
        b"\xf3\x89\x9a\xc2" + b"\x0a\x011\x1a\x02\x08\x00" + bytes(16)
    ),
    "bytes that are not UTF-8": lambda: _broken_ride().replace(b"broken", b"\xff\xfe"),
    "no object": lambda: b"[130, 205, 3.66]",
    "no such day": lambda: _broken_ride(pickup_datetime="2021-02-30T08:15:00"),
}
"""Description of the defect of a broken record -> a function that returns the record's bytes."""
