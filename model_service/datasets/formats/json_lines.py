"""Lines of JSON to rides: ride events, as the stream has them; the archive's lines; bare rides.

Each is read as the stream reads it (`records`, `rides.decode`), so that no ride is accepted here
and rejected there.  A bare ride is what a ride event has under ``ride``, its id beside that or not
at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import Enum
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET, Raw, Struct, UnsetType

from ... import rides
from ...errors import FileError, RideRejected
from ...rides import Ride
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


class _ArchiveLine(Struct):
    event_id: str
    arrived_at: datetime
    data: str
    partition_key: str = ""


class _Result(NamedTuple):
    """A ride read from a line, or the reason why it was rejected."""

    row: int
    event_id: str | None
    data: bytes
    ride: Ride | RideRejected
    ride_id: int | str | UnsetType = UNSET


_shape = msgspec.json.Decoder(_Shape)
_archive_line = msgspec.json.Decoder(_ArchiveLine)


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
    """The rides of *lines*, which are numbered from *first_row*; empty lines are skipped.

    Where the first line of the file was a bare ride, the kind of each line is found anew: that
    first line may have been a broken event.
    """
    found: list[_Result] = []
    for row, line in enumerate(lines, start=first_row):
        if data := line.strip():
            its_kind = _kind(data) or kind if kind is Kind.BARE else kind
            found += _READERS[its_kind](row, data)
    return Parsed(_rides(found), _rejected(found))


def _event(row: int, data: bytes) -> Iterator[_Result]:
    try:
        event = rides.decode(data)
    except RideRejected as exc:
        yield _Result(row, None, data, exc)
    else:
        yield _Result(row, None, data, event.ride, event.ride_id)


def _bare(row: int, data: bytes) -> Iterator[_Result]:
    try:
        ride = rides.decode_bare(data)
    except RideRejected as exc:
        yield _Result(row, None, data, exc)
    else:
        yield _Result(row, None, data, ride, ride.ride_id)


def _archived(row: int, data: bytes) -> Iterator[_Result]:
    """The ride events of one line of the archive: one, or those of a KPL aggregate."""
    try:
        line: _ArchiveLine = rides.parse(_archive_line, data)
    except RideRejected as exc:
        yield _Result(row, None, data, RideRejected(f"not a line of the archive: {exc}"))
        return
    for event_id, event, raw in rides.read(line.data, line.event_id, line.arrived_at):
        bytes_read = data if raw is None else raw
        if isinstance(event, RideRejected):
            yield _Result(row, event_id, bytes_read, event)
        else:
            yield _Result(row, event_id, bytes_read, event.ride, event.ride_id)


_READERS = {Kind.EVENTS: _event, Kind.ARCHIVE: _archived, Kind.BARE: _bare}


def _rides(found: Sequence[_Result]) -> pa.RecordBatch:
    good = [one for one in found if isinstance(one.ride, Ride)]
    asked = [one.ride for one in found if isinstance(one.ride, Ride)]
    times = moments(
        [None if ride.pickup_datetime is UNSET else ride.pickup_datetime for ride in asked],
        np.array([ride.pickup_datetime is not UNSET for ride in asked], dtype=bool),
    )
    numbers = {
        "PULocationID": np.array([ride.pickup for ride in asked], dtype=np.int64),
        "DOLocationID": np.array([ride.dropoff for ride in asked], dtype=np.int64),
        "trip_distance": np.array([ride.distance for ride in asked], dtype=np.float64),
    }
    ids = [None if one.ride_id is UNSET else str(one.ride_id) for one in good]
    columns = {
        "row": arrow(np.array([one.row for one in good], dtype=np.int64)),
        "ride_id": identified(texts(ids, pa.string()), numbers, times, {}),
        "event_id": texts([one.event_id for one in good], pa.string()),
        **{name: arrow(column) for name, column in numbers.items()},
        "pickup_datetime": instants(times),
        "ride_duration_actual": pa.nulls(len(good), pa.float64()),
        "ride_cost_actual": pa.nulls(len(good), pa.float64()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in RIDES.names], schema=RIDES)


def _rejected(found: Sequence[_Result]) -> pa.RecordBatch:
    bad = [one for one in found if isinstance(one.ride, RideRejected)]
    return rejections(
        [one.row for one in bad],
        [one.event_id for one in bad],
        [str(one.ride) for one in bad],
        [one.data for one in bad],
    )
