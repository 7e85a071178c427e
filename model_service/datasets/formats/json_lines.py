"""Lines of JSON to rides: ride events, lines of the archive, or bare rides.

Ride events and lines of the archive are read by the functions that the stream uses, so that no ride
is accepted here and rejected there.  A bare ride is the object under ``ride`` of a ride event, with
or without an id in it.
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

from ... import payloads, rides
from ...errors import EventError, FileError, RideRejected
from ...payloads import Budget, Record
from ...web.quotes import Asked, decode_bare
from ..arrow import arrow, texts
from ..schema import RIDES, Parsed, rejections
from ..timestamps import moments
from .rows import pickup_instants, with_hashes


class Kind(Enum):
    """What each line of a file holds."""

    EVENTS = "ride event"
    ARCHIVE = "record of the archive"
    BARE = "bare ride"


class _Keys(Struct):
    """The keys that tell the kinds apart."""

    ride: Raw | UnsetType = UNSET
    event_id: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


class _ArchiveLine(Struct):
    event_id: str
    arrived_at: datetime
    data: str


class _Decoded(NamedTuple):
    row: int
    event_id: str | None
    data: bytes
    ride: Asked | RideRejected


_keys = msgspec.json.Decoder(_Keys)
_archive_line = msgspec.json.Decoder(_ArchiveLine)


def kind_of_file(first_line: bytes, *, name: str) -> Kind:
    """Return the kind of the file *name* from its first line.

    Raises `FileError` if the line is not a JSON object.
    """
    found = _kind(first_line)
    if found is None:
        raise FileError(f"{name} does not hold rides: its first line is not a JSON object")
    return found


def parse(lines: Sequence[bytes], kind: Kind, first_row: int) -> Parsed:
    """Return the rides and the rejected lines; *lines* are numbered from *first_row*.

    Empty lines are skipped.  In a file of bare rides each line is read as its own kind, because the
    first line may have been an invalid ride event.
    """
    decoded = [
        one
        for row, line in enumerate(lines, start=first_row)
        if (data := line.strip())
        for one in _decode(row, data, (_kind(data) or kind) if kind is Kind.BARE else kind)
    ]
    return Parsed(_rides(decoded), _rejected(decoded))


def _kind(line: bytes) -> Kind | None:
    """Return the kind of a line, or None if it is not a JSON object."""
    try:
        keys = _keys.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if keys.ride is not UNSET:
        return Kind.EVENTS
    return Kind.BARE if keys.data is UNSET or keys.event_id is UNSET else Kind.ARCHIVE


def _decode(row: int, data: bytes, kind: Kind) -> Iterator[_Decoded]:
    """Yield the ride of a line, or the rides that the KPL aggregated in a line of the archive."""
    match kind:
        case Kind.EVENTS:
            yield _Decoded(row, None, data, _ride_event(data))
        case Kind.BARE:
            yield _Decoded(row, None, data, _bare_ride(data))
        case Kind.ARCHIVE:
            yield from _archived_rides(row, data)


def _ride_event(data: bytes, arrived_at: datetime | None = None) -> Asked | RideRejected:
    try:
        event = rides.decode(data, arrived_at)
    except RideRejected as exc:
        return exc
    return Asked(event.ride, event.ride_id)


def _bare_ride(data: bytes) -> Asked | RideRejected:
    try:
        return decode_bare(data)
    except RideRejected as exc:
        return exc
    except EventError as exc:  # not JSON
        return RideRejected(str(exc))


def _archived_rides(row: int, data: bytes) -> Iterator[_Decoded]:
    try:
        line = _archive_line.decode(data)
        record = Record("", line.event_id, "", line.arrived_at, line.data, {})
        found = payloads.payloads(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        yield _Decoded(row, None, data, RideRejected(f"not a line of the archive: {_reason(exc)}"))
        return
    except RideRejected as exc:
        yield _Decoded(row, line.event_id, data, exc)
        return
    budget = Budget()
    for payload in found:
        try:
            ride = _ride_event(payloads.plain(payload.data, budget), line.arrived_at)
        except RideRejected as exc:
            ride = exc
        yield _Decoded(row, payload.event_id, payload.data, ride)


def _reason(exc: Exception) -> str:
    return str(exc) if isinstance(exc, msgspec.DecodeError) else "JSON is not UTF-8 or too deep"


def _rides(decoded: Sequence[_Decoded]) -> pa.RecordBatch:
    valid = [(one, one.ride) for one in decoded if isinstance(one.ride, Asked)]
    found = [asked.ride for _, asked in valid]
    pickup = moments(
        [None if ride.pickup_datetime is UNSET else ride.pickup_datetime for ride in found],
        np.array([ride.pickup_datetime is not UNSET for ride in found], dtype=bool),
    )
    numbers = {
        "PULocationID": np.array([ride.pickup for ride in found], dtype=np.int64),
        "DOLocationID": np.array([ride.dropoff for ride in found], dtype=np.int64),
        "trip_distance": np.array([ride.distance for ride in found], dtype=np.float64),
    }
    ids = [None if asked.ride_id is UNSET else str(asked.ride_id) for _, asked in valid]
    columns = {
        "row": arrow(np.array([one.row for one, _ in valid], dtype=np.int64)),
        "ride_id": with_hashes(texts(ids, pa.string()), numbers, pickup, {}),
        "event_id": texts([one.event_id for one, _ in valid], pa.string()),
        **{name: arrow(column) for name, column in numbers.items()},
        "pickup_datetime": pickup_instants(pickup),
        "ride_duration_actual": pa.nulls(len(valid), pa.float64()),
        "ride_cost_actual": pa.nulls(len(valid), pa.float64()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in RIDES.names], schema=RIDES)


def _rejected(decoded: Sequence[_Decoded]) -> pa.RecordBatch:
    rejected = [one for one in decoded if isinstance(one.ride, RideRejected)]
    return rejections(
        [one.row for one in rejected],
        [one.event_id for one in rejected],
        [str(one.ride) for one in rejected],
        [one.data for one in rejected],
    )
