"""Reads rides from lines of JSON: ride events, lines of the archive, or bare rides.

Ride events and lines of the archive are read by the functions that the stream uses, so that batch
and stream accept the same rides.  A bare ride is the object in the field ``ride`` of a ride event;
it may also have a ``ride_id``.  Ride events and bare rides may have the TLC's fields (see
`trip_fields`).  In lines of the archive, these fields are ignored, because the stream ignores them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET, Raw, Struct, UnsetType
from numpy.typing import NDArray

from ... import rides
from ...archive_format import Line
from ...errors import RideRejected
from ...rides import Ride
from ..arrow import arrow, texts
from ..schema import RIDES, Parsed, rejections
from ..timestamps import Times, moments
from . import trip_fields
from .rows import AMOUNTS, actual_values, hashed_columns, pickup_instants, with_hashes
from .trip_fields import NO_FIELDS, TripFields


class LineKind(Enum):
    """The kinds of lines; normally, all lines of a file are of the same kind."""

    EVENTS = "ride event"
    ARCHIVE = "record of the archive"
    BARE = "bare ride"


class _Keys(Struct):
    """The keys by which the kinds of lines are recognized."""

    ride: Raw | UnsetType = UNSET
    event_id: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


class _Decoded(NamedTuple):
    """A ride from a line, or the reason why it was rejected."""

    row: int
    event_id: str | None
    data: bytes
    ride: Ride | RideRejected
    ride_id: int | str | None = None
    fields: TripFields = NO_FIELDS


_keys = msgspec.json.Decoder(_Keys)
_archive_line = msgspec.json.Decoder(Line)


def kind_of_file(first_lines: Sequence[bytes]) -> LineKind | None:
    """Return the kind of a file that begins with *first_lines*; None if no line is a JSON object.

    If more than half of the objects are of the same kind, it is this kind.  Otherwise it is
    `LineKind.BARE`.
    """
    kinds = Counter(kind for line in first_lines if (kind := _kind(line)))
    if not kinds:
        return None
    [(kind, number)] = kinds.most_common(1)
    return kind if 2 * number > kinds.total() else LineKind.BARE


def parse(lines: Sequence[bytes], kind: LineKind, first_row: int, skip_through: int = -1) -> Parsed:
    """Return the rides and the rejected lines in *lines*; empty lines are skipped.

    *kind* is the kind of the file, and *first_row* is the row number of the first line.  In a file
    of bare rides, the kind of each line is found out, because it may have lines of several kinds.
    Lines of the archive with a sequence number up to *skip_through* are skipped, too.
    """
    decoded = [
        one
        for row, line in enumerate(lines, start=first_row)
        if (data := line.strip())
        for one in _decode(
            row, data, (_kind(data) or kind) if kind is LineKind.BARE else kind, skip_through
        )
    ]
    return Parsed(_rides(decoded), _rejected(decoded))


def _kind(line: bytes) -> LineKind | None:
    """Return the kind of a line, or None if it is not a JSON object."""
    try:
        keys = _keys.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if keys.ride is not UNSET:
        return LineKind.EVENTS
    return LineKind.BARE if keys.data is UNSET or keys.event_id is UNSET else LineKind.ARCHIVE


def _decode(row: int, data: bytes, kind: LineKind, skip_through: int) -> Iterator[_Decoded]:
    """Yield the ride in a line; several rides if the line is an archived KPL aggregate."""
    try:
        match kind:
            case LineKind.EVENTS:
                event = rides.decode(data)
                ride, fields = trip_fields.read(event.ride, data, ["ride"])
                yield _Decoded(row, None, data, ride, event.ride_id, fields)
            case LineKind.BARE:
                bare = rides.decode_bare(data)
                ride, fields = trip_fields.read(bare, data, [])
                yield _Decoded(row, None, data, ride, bare.ride_id, fields)
            case LineKind.ARCHIVE:
                yield from _archived_rides(row, data, skip_through)
    except RideRejected as exc:
        yield _Decoded(row, None, data, exc.detached())


def _archived_rides(row: int, data: bytes, skip_through: int) -> Iterator[_Decoded]:
    """Yield the rides in a line of the archive.  Raises `RideRejected` if the line is malformed."""
    try:
        line: Line = rides.parse(_archive_line, data)
    except RideRejected as exc:
        raise RideRejected(f"not a line of the archive: {exc}") from None
    if line.sequence_number <= skip_through:
        return
    for event_id, event, raw, _ in rides.read(line.data, line.event_id, line.arrived_at):
        original = data if raw is None else raw
        if isinstance(event, RideRejected):
            yield _Decoded(row, event_id, original, event)
        else:
            yield _Decoded(row, event_id, original, event.ride, event.ride_id)


def _rides(decoded: Sequence[_Decoded]) -> pa.RecordBatch:
    valid = [one for one in decoded if isinstance(one.ride, Ride)]
    found = [one.ride for one in decoded if isinstance(one.ride, Ride)]
    pickup = _times([ride.pickup_datetime for ride in found])
    dropoff = _times([one.fields.dropoff for one in valid])
    numbers = {
        "PULocationID": np.array([ride.pickup for ride in found], dtype=np.int64),
        "DOLocationID": np.array([ride.dropoff for ride in found], dtype=np.int64),
        "trip_distance": np.array([ride.distance for ride in found], dtype=np.float64),
    }
    amounts = {
        name: np.array([one.fields.amounts.get(name, np.nan) for one in valid], dtype=np.float64)
        for name in AMOUNTS
    }
    columns = {
        "row": arrow(np.array([one.row for one in valid], dtype=np.int64)),
        "ride_id": _ids(valid, numbers, pickup, {"dropoff_datetime": dropoff.micros} | amounts),
        "event_id": texts([one.event_id for one in valid], pa.string()),
        **{name: arrow(column) for name, column in numbers.items()},
        "pickup_datetime": pickup_instants(pickup),
        **actual_values(pickup, dropoff, amounts),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in RIDES.names], schema=RIDES)


def _times(found: list[datetime | None]) -> Times:
    return moments(found, np.array([moment is not None for moment in found], dtype=bool))


def _ids(
    rides: Sequence[_Decoded],
    numbers: Mapping[str, NDArray[Any]],
    pickup: Times,
    hashed: Mapping[str, NDArray[Any]],
) -> pa.Array:
    """Return the ids of *rides*, which are hashes of their fields for rides without one.

    A hash covers only those of the columns *hashed* that the line has, as in files with columns.
    """
    ids = texts([None if one.ride_id is None else str(one.ride_id) for one in rides], pa.string())
    always = hashed_columns(numbers, pickup)
    for names in {one.fields.names for one in rides}:
        some = np.array([one.fields.names == names for one in rides], dtype=bool)
        columns = [column[some] for column in (*always, *(hashed[name] for name in names))]
        ids = pc.replace_with_mask(ids, arrow(some), with_hashes(ids.filter(arrow(some)), columns))
    return ids


def _rejected(decoded: Sequence[_Decoded]) -> pa.RecordBatch:
    rejected = [one for one in decoded if isinstance(one.ride, RideRejected)]
    return rejections(
        [one.row for one in rejected],
        [one.event_id for one in rejected],
        [str(one.ride) for one in rejected],
        [one.data for one in rejected],
    )
