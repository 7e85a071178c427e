"""Reads columns of times, which may be instants, New York local times, or text in RFC 3339."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .. import local_time, rides
from ..errors import RideRejected
from ..local_time import Micros
from .arrow import numpy

Mask = NDArray[np.bool_]

LOCAL = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?$"
"""Matches times that Arrow and msgspec read in the same way.  msgspec reads all other texts, one by
one."""
EVENT = (
    b'{"ride":{"PULocationID":1,"DOLocationID":1,"trip_distance":0,"pickup_datetime":%s},'
    b'"ride_id":1}'
)
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


@dataclass(frozen=True, slots=True)
class Times:
    """A column of n times as arrays of shape (n,)."""

    micros: Micros
    """Microseconds since 1970, of the instant or, if *naive*, of the New York local time."""
    naive: Mask
    """Whether the time has no offset from UTC."""
    known: Mask
    """Whether the cell is not null."""
    valid: Mask
    """Whether the cell is null, or a time in the years 2 to 9998, as `local_time` requires."""


def times(column: pa.Array | None, size: int) -> Times:
    """Return the times in *column*, which has *size* cells.

    If *column* is None or has only nulls, all *size* times are unknown.
    """
    if column is None or pa.types.is_null(column.type):
        no, yes = np.zeros(size, dtype=bool), np.ones(size, dtype=bool)
        return Times(np.zeros(size, dtype=np.int64), no, no, yes)
    if pa.types.is_timestamp(column.type):
        known = numpy(pc.is_valid(column))
        micros = _micros(column)
        naive = np.full(size, column.type.tz is None)
        return Times(micros, naive, known, ~known | _in_range(micros))
    return _texts(column)


def written(column: pa.Array) -> list[str | None]:
    """Return a column of timestamps as text in the format of ride events, for any year."""
    ticks, end = column.cast(pa.int64()).to_pylist(), "Z" if column.type.tz else ""
    times = [None if tick is None else np.datetime64(tick, column.type.unit) for tick in ticks]
    return [None if time is None else f"{time}{end}" for time in times]


def _micros(column: pa.Array) -> Micros:
    """Return the timestamps in *column* as microseconds since 1970.

    A time outside the valid years may become another time outside the valid years.
    """
    ticks: Micros = numpy(column.cast(pa.int64()))
    if column.type.unit == "ns":
        return ticks // 1000 + (ticks % 1000 >= 500)  # half up, as text is read
    each = local_time.SECOND // PER_SECOND[column.type.unit]
    first, end = local_time.FIRST_MICROS // each, local_time.END_MICROS // each
    return np.clip(ticks, first - 1, end) * each  # unclipped, it may need more than 64 bits


def _in_range(micros: Micros) -> Mask:
    return (micros >= local_time.FIRST_MICROS) & (micros < local_time.END_MICROS)


def _texts(column: pa.Array) -> Times:
    known = numpy(pc.is_valid(column))
    if pc.all(pc.match_substring_regex(column, LOCAL), min_count=0).as_py():
        try:
            micros = _micros(column.cast(pa.timestamp("us")))
            naive = np.ones(len(column), dtype=bool)
            return Times(micros, naive, known, ~known | _in_range(micros))
        except pa.ArrowInvalid:
            pass  # one of the texts is not a time, for example 30 February
    return moments([_read(text) for text in column.to_pylist()], known)


def moments(found: list[datetime | None], known: Mask) -> Times:
    """Return the times in *found*, which has None for each null or malformed cell.

    *known*, shape (n,), is False for each null cell.
    """
    read = np.array([moment is not None for moment in found], dtype=bool)
    naive = np.array([moment is not None and moment.tzinfo is None for moment in found], dtype=bool)
    micros = np.array(
        [0 if moment is None else _since_1970(moment) for moment in found], dtype=np.int64
    )
    room = np.array([m is not None and local_time.has_room(m) for m in found], dtype=bool)
    return Times(micros, naive, known, ~known | (read & room))


def _since_1970(moment: datetime) -> int:
    if moment.tzinfo is not None:
        if not local_time.has_room(moment):
            return 0  # converting it to UTC could overflow
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - local_time.EPOCH) // timedelta(microseconds=1)


def event_time(written: bytes) -> datetime | None:
    """Return the time that the JSON value *written* means as the pick-up time of a ride event.

    ``null`` means None.  Raises `RideRejected` if it is not a valid time.
    """
    return rides.decode(EVENT % written).ride.pickup_datetime


def _read(text: str | None) -> datetime | None:
    """Parse *text* by the rules for the time in a ride event; return None if they reject it."""
    if text is None:
        return None
    try:
        return msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        pass  # ride events may have times that msgspec alone does not read
    try:
        return event_time(msgspec.json.encode(text))
    except RideRejected:
        return None
