"""Rides as they came: files of ride events or of the archive, one a line, gzipped or not."""

from __future__ import annotations

import gzip
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import UNSET

from model_service import features, rides
from model_service.errors import RideRejected
from model_service.features import RideColumns
from model_service.rides import Ride

from .data.dataset import DataError


class ArchiveLine(msgspec.Struct, frozen=True):
    """What of a line of the archive matters here."""

    arrived_at: datetime
    data: str


def read(paths: Sequence[Path]) -> tuple[RideColumns, int]:
    """The rides of all files in order, and how many lines are none."""
    found, rejected = [], 0
    for path in paths:
        for line in _lines(path):
            try:
                found.append(ride(line))
            except RideRejected:
                rejected += 1
    if not found:
        raise DataError("There is no ride event in these files.")
    return features.columns(found), rejected


def ride(line: bytes) -> Ride:
    """The ride of a line.  Raises `RideRejected`, as the service does."""
    try:
        archived = msgspec.json.decode(line, type=ArchiveLine)
        event = b64decode(archived.data, validate=True)
    except (msgspec.MsgspecError, NotBase64, RecursionError):
        return rides.decode(line).ride
    found = rides.decode(event).ride
    if found.pickup_datetime is UNSET:
        return msgspec.structs.replace(found, pickup_datetime=archived.arrived_at)
    return found


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            yield from (line for line in lines if line.strip())
    except (gzip.BadGzipFile, EOFError) as exc:
        raise DataError(f"{path} is no whole gzip file.") from exc
