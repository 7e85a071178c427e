"""Makes the records that are sent to the stream of ride events, with broken records between them.

The records depend only on the rides: one ride in `GZIP_EVERY` is compressed, and one in
`BROKEN_EVERY` is followed by a broken record.  The kinds of broken records in `BROKEN` take turns.
A retry does not repair a broken record, so the service must reject each of them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import batched, cycle
from typing import Any

from .kpl import aggregated

GZIP_EVERY = 7  # rides
BROKEN_EVERY = 60  # rides
BOMB_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """A record to send; *broken* describes its defect, and is None if it has no defect."""

    key: str
    data: bytes
    broken: str | None = None
    rides: int = 1
    """The number of rides in the record: several, if it is an aggregate."""


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


def encoded(
    events: Iterable[dict[str, Any]], *, zipped: bool = False, per_record: int = 1
) -> Iterator[Message]:
    """Yield the rides in order as messages, *zipped* if wanted.

    With several rides *per_record*, a message is an aggregate of the Kinesis Producer Library.
    """
    for group in batched(events, per_record, strict=False):
        users = []
        for event in group:
            data = json.dumps(event).encode()
            users.append((str(event["ride_id"]), gzip.compress(data, mtime=0) if zipped else data))
        key, data = users[0]
        if per_record > 1:
            data = aggregated(users)
        yield Message(key, data, rides=len(users))


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
