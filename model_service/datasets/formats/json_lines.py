"""Lines of JSON to rides: ride events, as the stream has them; the archive's lines; bare rides.

Each is read as the stream reads it (`records`, `rides.decode`), so that no ride is accepted here
and rejected there.  A bare ride is what a ride event has under ``ride``, its id beside that or not
at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from enum import Enum
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET, Raw, Struct, UnsetType

from ... import payloads as records
from ... import rides
from ...errors import EventError, FileError, RideRejected
from ...payloads import Budget, Record
from ...rides import Ride
from ...web.quotes import Asked, decode_bare
from ..arrow import arrow, texts
from ..schema import RIDES, Parsed, rejections
from ..timestamps import moments
from .rows import identified, instants


class Kind(Enum):
    """What the lines of a file are."""

    EVENTS = "ride events"
    ARCHIVE = "lines of the archive"
    BARE = "bare rides"


class _Shape(Struct):
    ride: Raw | UnsetType = UNSET
    event_id: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


class _Line(Struct):
    event_id: str
    arrived_at: datetime
    data: str
    partition_key: str = ""


class _Found(NamedTuple):
    """A ride, or why it is none, and where it stood."""

    row: int
    event_id: str | None
    data: bytes
    what: Asked | RideRejected


_shape = msgspec.json.Decoder(_Shape)
_line = msgspec.json.Decoder(_Line)


def kind(line: bytes, *, name: str) -> Kind:
    """What the lines of the file *name* are, by its first.

    Raises `FileError` where that is no JSON object.
    """
    found = _kind(line)
    if found is None:
        raise FileError(f"{name} does not hold rides: its first line is no JSON object")
    return found


def _kind(line: bytes) -> Kind | None:
    """What a line is; None where it is no JSON object."""
    try:
        shape = _shape.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if shape.ride is not UNSET:
        return Kind.EVENTS
    return Kind.BARE if shape.data is UNSET or shape.event_id is UNSET else Kind.ARCHIVE


def parse(lines: Sequence[bytes], kind: Kind, first_row: int) -> Parsed:
    """The rides of *lines*, which are numbered from *first_row*; empty ones are passed over.

    Where the first was a bare ride, each is taken for what it is: that may have been a bad event.
    """
    readers = {Kind.EVENTS: _event, Kind.ARCHIVE: _archived, Kind.BARE: _bare}
    found = [
        one
        for row, line in enumerate(lines, start=first_row)
        if (data := line.strip())
        for one in readers[(_kind(data) or kind) if kind is Kind.BARE else kind](row, data)
    ]
    return Parsed(_rides(found), _rejected(found))


def _event(row: int, data: bytes) -> Iterator[_Found]:
    def decode() -> Asked:
        event = rides.decode(data)
        return Asked(event.ride, event.ride_id)

    yield _Found(row, None, data, _or_why(decode))


def _bare(row: int, data: bytes) -> Iterator[_Found]:
    yield _Found(row, None, data, _or_why(lambda: decode_bare(data)))


def _archived(row: int, data: bytes) -> Iterator[_Found]:
    """A line holds one ride event, or those that the KPL put together."""
    try:
        line = _line.decode(data)
        record = Record("", line.event_id, "", line.arrived_at, line.data, {})
        payloads = records.payloads(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        yield _Found(row, None, data, RideRejected(f"not a line of the archive: {_words(exc)}"))
        return
    except RideRejected as exc:
        yield _Found(row, line.event_id, data, exc)
        return
    budget = Budget()
    for payload in payloads:

        def decode(payload: records.Payload = payload) -> Asked:
            event = rides.decode(records.plain(payload.data, budget), line.arrived_at)
            return Asked(event.ride, event.ride_id)

        yield _Found(row, payload.event_id, payload.data, _or_why(decode))


def _or_why(decode: Callable[[], Asked]) -> Asked | RideRejected:
    try:
        return decode()
    except RideRejected as exc:
        return exc
    except EventError as exc:  # no JSON
        return RideRejected(str(exc))


def _words(exc: Exception) -> str:
    return str(exc) if isinstance(exc, msgspec.DecodeError) else "JSON is not UTF-8, or too deep"


def _rides(found: Sequence[_Found]) -> pa.RecordBatch:
    good = [(one, one.what) for one in found if isinstance(one.what, Asked)]
    asked: list[Ride] = [what.ride for _, what in good]
    times = moments(
        [None if ride.pickup_datetime is UNSET else ride.pickup_datetime for ride in asked],
        np.array([ride.pickup_datetime is not UNSET for ride in asked], dtype=bool),
    )
    numbers = {
        "PULocationID": np.array([ride.pickup for ride in asked], dtype=np.int64),
        "DOLocationID": np.array([ride.dropoff for ride in asked], dtype=np.int64),
        "trip_distance": np.array([ride.distance for ride in asked], dtype=np.float64),
    }
    ids = [None if what.ride_id is UNSET else str(what.ride_id) for _, what in good]
    columns = {
        "row": arrow(np.array([one.row for one, _ in good], dtype=np.int64)),
        "ride_id": identified(texts(ids, pa.string()), numbers, times, {}),
        "event_id": texts([one.event_id for one, _ in good], pa.string()),
        **{name: arrow(column) for name, column in numbers.items()},
        "pickup_datetime": instants(times),
        "ride_duration_actual": pa.nulls(len(good), pa.float64()),
        "ride_cost_actual": pa.nulls(len(good), pa.float64()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in RIDES.names], schema=RIDES)


def _rejected(found: Sequence[_Found]) -> pa.RecordBatch:
    bad = [one for one in found if isinstance(one.what, RideRejected)]
    return rejections(
        [one.row for one in bad],
        [one.event_id for one in bad],
        [str(one.what) for one in bad],
        [one.data for one in bad],
    )
