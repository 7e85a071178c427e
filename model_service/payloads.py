"""The payloads of a Kinesis record: from its base64 text to the bytes of each ride event.

A record holds one of three things: a payload; a gzip of a payload; or an aggregate that the
Kinesis Producer Library (KPL) made of several user records, each of them a payload or a gzip of
one.  User records share their record's sequence number, so each adds ``#<index>`` to its event id.
"""

from __future__ import annotations

import hashlib
import zlib
from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .errors import RideRejected

MAX_PAYLOAD = 1024 * 1024
"""Bytes that a gzip may unzip to: the size of a record that a stream accepts by default."""

MAX_UNZIPPED = 10 * MAX_PAYLOAD
"""Bytes that all the gzips of one record may unzip to together."""

UNZIP_STEP = 64 * 1024  # bytes

MAX_USER_RECORDS = 20_000
"""User records in one record: more than 1 MiB can hold of the shortest ride events."""

GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, 2.3.1
KPL_MAGIC = b"\xf3\x89\x9a\xc2"  # amazon-kinesis-producer, aggregation-format.md
KPL_DIGEST = 16  # bytes of MD5 after the protobuf message
KPL_RECORDS = 3  # AggregatedRecord.records
KPL_DATA = 3  # Record.data

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf wire types


class Payload(NamedTuple):
    """The bytes of one ride event and its identity."""

    event_id: str
    content: bytes | RideRejected
    """The unzipped bytes, or the reason why they cannot be read."""
    raw: bytes | None = None
    """The bytes as they were in the record; None where the record itself cannot be read."""


def payloads(data: str, event_id: str) -> Iterator[Payload]:
    """The payloads of a record in order, from its base64 *data* and its *event_id*.

    At least one payload comes out of any record; where the record cannot be read at all, the one
    payload carries the reason.
    """
    try:
        users = _user_records(data, event_id)
    except RideRejected as exc:
        yield Payload(event_id, exc)
        return
    budget = Budget()
    for user_id, raw in users:
        content: bytes | RideRejected
        try:
            content = unzip(raw, budget)
        except RideRejected as exc:
            content = exc
        yield Payload(user_id, content, raw)


@dataclass(slots=True)
class Budget:
    """Bytes that the gzips of one record may still unzip to; mutable, because it counts down."""

    left: int = MAX_UNZIPPED


def unzip(data: bytes, budget: Budget) -> bytes:
    """The bytes of a payload, unzipped where they are a gzip; unzipped bytes count on *budget*.

    Raises `RideRejected` where the gzip is damaged, or unzips to more than `MAX_PAYLOAD` or the
    budget.
    """
    if not data.startswith(GZIP_MAGIC):
        return data
    member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # 16: a gzip header and checksum
    step = unzipped = b""
    # In steps, so that a damaged gzip counts what it yields too. The last step may have no input.
    while not member.eof and (data or step):
        try:
            step = member.decompress(data, UNZIP_STEP)
        except zlib.error:
            raise RideRejected("gzip is damaged") from None
        data = member.unconsumed_tail
        unzipped += step
        budget.left -= len(step)
        if len(unzipped) > MAX_PAYLOAD:
            raise RideRejected(f"gzip holds more than {MAX_PAYLOAD} bytes")
        if budget.left < 0:
            raise RideRejected(f"the record's gzips hold more than {MAX_UNZIPPED} bytes")
    if not member.eof:
        raise RideRejected("gzip ends too early")
    if member.unused_data:
        raise RideRejected("gzip has bytes behind its end")
    return unzipped


def _user_records(data: str, event_id: str) -> list[tuple[str, bytes]]:
    """Event id and bytes of each user record; of the record itself where it is no aggregate."""
    try:
        record = a2b_base64(data, strict_mode=True)
    except ValueError:
        raise RideRejected("data is not base64") from None
    if not record.startswith(KPL_MAGIC):
        return [(event_id, record)]
    return [(f"{event_id}#{index}", user) for index, user in enumerate(_disaggregated(record))]


def _disaggregated(data: bytes) -> list[bytes]:
    """The user records of a KPL aggregate."""
    message, digest = data[len(KPL_MAGIC) : -KPL_DIGEST], data[-KPL_DIGEST:]
    if hashlib.md5(message, usedforsecurity=False).digest() != digest:
        raise RideRejected("KPL record does not match its checksum")
    try:
        users = [
            dict(_fields(body))[KPL_DATA]  # where a field is repeated, protobuf takes the last
            for number, body in _fields(message)
            if number == KPL_RECORDS
        ]
    except LookupError:
        raise RideRejected("KPL record is damaged") from None
    if not users:
        raise RideRejected("KPL record holds no user records")
    if len(users) > MAX_USER_RECORDS:
        raise RideRejected(f"KPL record holds more than {MAX_USER_RECORDS} user records")
    return users


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each length-delimited field of a protobuf message; skips other fields.

    Raises `IndexError` where the message ends too early or is not protobuf.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            _, at = _varint(message, at)
        elif wire_type == BYTES:
            size, at = _varint(message, at)
            yield number, message[at : at + size]
            at += size
        elif wire_type in (FIXED32, FIXED64):
            at += 4 if wire_type == FIXED32 else 8
        else:
            raise IndexError("unknown wire type")
    if at > len(message):
        raise IndexError("the last field is cut off")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while message[at] & 0x80:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift > 63:  # a varint has ten bytes at most
            raise IndexError("a number is too long")
    return value | message[at] << shift, at + 1
