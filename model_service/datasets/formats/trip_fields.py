"""Reads the TLC's fields in a line of JSON: the times and amounts that ride events do not have.

Files that pandas makes of a TLC month have these fields.  By default, pandas writes a time as
milliseconds since 1970, and writes a local time as if it were UTC.  The TLC's times are New York
local times, so a number in a field with one of the TLC's names is read as such a time.  A number in
``pickup_datetime`` is not read, because it may be a local time or an instant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from msgspec import Raw

from ... import local_time, rides
from ...errors import FileError, RideRejected
from ...rides import Ride
from ..timestamps import event_time
from .columns import NAMES
from .rows import AMOUNTS

HASHED = ("dropoff_datetime", *AMOUNTS)
"""The fields that are hashed for the id of a ride without one, in this order (see `rows`)."""
ALIASES = {name.lower(): ours for ours in ("pickup_datetime", *HASHED) for name in NAMES[ours]}
"""Name of a field in lower case -> our name of it."""
TLC_TIME = ("lpep_", "tpep_")
"""The beginnings of the TLC's names of times, of green and yellow taxis."""
MARKS = (b"dropoff_datetime", b"_amount", b"vendorid")
"""A line without these names, in lower case, has none of the fields `HASHED`."""
DIGITS = b"-0123456789"
FIRST_MILLIS, END_MILLIS = 10**12, 10**13
"""The range of times that may be numbers: from 2001-09-09 to 2286-11-20, in milliseconds.  In this
range of years, no number of seconds, microseconds or nanoseconds is within these limits."""


class TripFields(NamedTuple):
    """The fields of a ride that are not in ride events."""

    names: tuple[str, ...] = ()
    """The names of those of `HASHED` that the line has."""
    dropoff: datetime | None = None
    amounts: Mapping[str, float] = {}
    """Those of `AMOUNTS` that are numbers."""


NO_FIELDS = TripFields()

NULL = b"null"

_object = msgspec.json.Decoder(dict[str, Raw])
_number = msgspec.json.Decoder(float)

_Fields = Mapping[str, tuple[str, bytes]]
"""Our name of a field -> its name in a line, and its JSON value."""


def read(ride: Ride, data: bytes, path: Sequence[str]) -> tuple[Ride, TripFields]:
    """Return *ride* and its other fields; the ride gets its pick-up time if a TLC's field has it.

    *ride* is the object at *path* of the line *data*.  Raises `RideRejected` if the pick-up time is
    malformed.  The value of another malformed field is unknown, as in files with columns.
    """
    lowered = data.lower()
    lacks_time = ride.pickup_datetime is None and b"pickup_datetime" in lowered
    if not lacks_time and not any(mark in lowered for mark in MARKS):
        return ride, NO_FIELDS
    fields = _fields(data, path)
    if lacks_time and "pickup_datetime" in fields:
        moment = _time(*fields["pickup_datetime"], path)
        ride = ride if moment is None else rides.with_time(ride, moment)
    names = tuple(name for name in HASHED if name in fields)
    return ride, TripFields(names, _dropoff(fields, path), _amounts(fields))


def check_times(lines: Sequence[bytes], *, name: str) -> None:
    """Check that the pick-up times in *lines*, the first bare rides of a file, are not ambiguous.

    Raises `FileError` if most of the times are numbers that cannot be read.
    """
    found = [field for line in lines if (field := _pickup_field(line))]
    unreadable = [field for field, value in found if _is_ambiguous(field, value)]
    if 2 * len(unreadable) > len(found):
        raise FileError(
            f"{name} has numbers as {unreadable[0]}, and it is not known which time they mean:"
            ' write times as text, in pandas with to_json(date_format="iso")'
        )


def _fields(data: bytes, path: Sequence[str]) -> _Fields:
    """Return the fields in `ALIASES` of the object at *path* of *data*."""
    values: dict[str, Raw] = _object.decode(data)
    for name in path:
        values = _object.decode(values[name])
    fields: dict[str, tuple[str, bytes]] = {}
    for name, value in values.items():
        ours = ALIASES.get(name.lower(), "")
        is_ours = name.lower() == ours.lower() and bytes(value) != NULL  # ours goes first
        if ours and (is_ours or fields.get(ours, (name, NULL))[1] == NULL):
            fields[ours] = name, bytes(value)
    return fields


def _time(name: str, value: bytes, path: Sequence[str]) -> datetime | None:
    """Return the time in the field *name* of the object at *path*; None if it is null.

    Raises `RideRejected` if *value* is not a time.
    """
    if value == NULL:
        return None
    where = ".".join(["$", *path, name])
    if name.lower().startswith(TLC_TIME) and value[:1] in DIGITS:
        millis = _millis(value)
        if millis is None:
            raise RideRejected(f"Expected text, or milliseconds since 1970 - at `{where}`")
        return local_time.EPOCH + timedelta(milliseconds=millis)
    try:
        return event_time(value)
    except RideRejected as exc:
        raise RideRejected(str(exc).replace("$.ride.pickup_datetime", where)) from None


def _millis(value: bytes) -> int | None:
    millis: float = _number.decode(value)
    if not millis.is_integer():
        return None
    return int(millis) if FIRST_MILLIS <= millis < END_MILLIS else None


def _dropoff(fields: _Fields, path: Sequence[str]) -> datetime | None:
    if "dropoff_datetime" not in fields:
        return None
    try:
        return _time(*fields["dropoff_datetime"], path)
    except RideRejected:
        return None


def _amounts(fields: _Fields) -> dict[str, float]:
    found = {}
    for name in AMOUNTS:
        if name in fields:
            with suppress(msgspec.ValidationError):  # null, or not a number
                found[name] = _number.decode(fields[name][1])
    return found


def _pickup_field(line: bytes) -> tuple[str, bytes] | None:
    try:
        return _fields(line, ()).get("pickup_datetime")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the line will be rejected


def _is_ambiguous(field: str, value: bytes) -> bool:
    is_tlc_name = field.lower().startswith(TLC_TIME)
    return value[:1] in DIGITS and not (is_tlc_name and _millis(value))
