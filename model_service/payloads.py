"""Reads the payloads of a Kinesis record: the bytes of each ride event in its base64 text.

A record contains a payload, a gzip of a payload, or an aggregate of several user records, which the
Kinesis Producer Library (KPL) writes.  Each user record is a payload or a gzip of a payload.  All
user records of an aggregate have the sequence number of the Kinesis record, so ``#<index>`` is
added to their event ids.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import NamedTuple

from .errors import RideRejected

MAX_PAYLOAD = 1024 * 1024
"""Maximum size of one payload after unzipping, in bytes: a stream's default maximum for records."""

MAX_UNZIPPED = 10 * MAX_PAYLOAD
"""Maximum total size of all gzips in one Kinesis record after unzipping, in bytes."""

UNZIP_STEP = 64 * 1024  # bytes of output
UNZIP_INPUT = 4 * 1024  # bytes of input: what is left of it is copied at the end of each member

MAX_MEMBERS = 1000
"""Maximum number of members of one gzip: each takes time, even if it is empty."""

MAX_USER_RECORDS = 20_000
"""Maximum number of user records in a Kinesis record; 1 MiB has room for fewer ride events."""

MAX_FIELDS = 8 * MAX_USER_RECORDS
"""Maximum number of protobuf fields in a KPL aggregate: a user record has three or four, and each
partition key is another one.  Two bytes can be a field, and each field takes a microsecond."""

GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, 2.3.1
GZIP_PADDING = re.compile(rb"[\0\r\n]*")  # gzip(1) ignores zeros; scripts append line ends
KPL_MAGIC = b"\xf3\x89\x9a\xc2"  # amazon-kinesis-producer, aggregation-format.md
KPL_DIGEST = 16  # bytes of MD5 after the protobuf message
KPL_RECORDS = 3  # AggregatedRecord.records
KPL_DATA = 3  # Record.data

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf wire types


class Payload(NamedTuple):
    """The bytes of one ride event, and its event id."""

    event_id: str
    content: bytes | RideRejected
    """The unzipped bytes, or the reason why they cannot be read."""
    raw: bytes | None = None
    """The bytes before unzipping; None if the Kinesis record itself cannot be read."""


def payloads(data: str, event_id: str) -> Iterator[Payload]:
    """Yield the payloads in a Kinesis record, in order.

    *data* is the record's base64 text, and *event_id* is its event id.  If the record cannot be
    read, there is one payload with the reason; so there is at least one payload for any record.
    """
    try:
        users = _user_records(data, event_id)
    except RideRejected as exc:
        yield Payload(event_id, exc.detached())
        return
    budget = Budget()
    for user_id, raw in users:
        content: bytes | RideRejected
        try:
            content = unzip(raw, budget)
        except RideRejected as exc:
            content = exc.detached()
        yield Payload(user_id, content, raw)


@dataclass(slots=True)
class Budget:
    """The limit on the total size of the gzips in one Kinesis record after unzipping.

    `left` is the number of bytes that may still be unzipped.  This class is mutable, because
    `unzip` decreases `left`.
    """

    left: int = MAX_UNZIPPED


def unzip(data: bytes, budget: Budget) -> bytes:
    """Return *data* unzipped if it is a gzip, or unchanged if it is not.

    A gzip may have several members (RFC 1952, 2.2), and zeros or line ends after each member.

    Raises `RideRejected` if the gzip is damaged, or if its content is larger than `MAX_PAYLOAD` or
    than *budget* allows.
    """
    if not data.startswith(GZIP_MAGIC):
        return data
    unzipped = bytearray()
    at = members = 0
    while at < len(data):
        if not data.startswith(GZIP_MAGIC, at):
            raise RideRejected("gzip has bytes behind its end")
        if members == MAX_MEMBERS:
            raise RideRejected(f"gzip has more than {MAX_MEMBERS} members")
        at = _unzip_member(data, at, unzipped, budget)
        members += 1
        if at < len(data) and (padding := GZIP_PADDING.match(data, at)):
            at = padding.end()
    return bytes(unzipped)


def _unzip_member(data: bytes, at: int, unzipped: bytearray, budget: Budget) -> int:
    """Unzip the gzip member at the position *at* of *data*, and append its content to *unzipped*.

    Returns the position at which the member ends.  Raises `RideRejected` as `unzip` does.
    """
    member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # 16: a gzip header and checksum
    step = given = b""
    # In steps, so that a damaged gzip counts what it yields too. The last step may have no input.
    while not member.eof:
        if not given:
            given = data[at : at + UNZIP_INPUT]
            at += len(given)
        if not given and not step:
            raise RideRejected("gzip ends too early")
        try:
            step = member.decompress(given, UNZIP_STEP)
        except zlib.error:
            raise RideRejected("gzip is damaged") from None
        given = member.unconsumed_tail
        unzipped += step
        budget.left -= len(step)
        if len(unzipped) > MAX_PAYLOAD:
            raise RideRejected(f"gzip holds more than {MAX_PAYLOAD} bytes")
        if budget.left < 0:
            raise RideRejected(f"the record's gzips hold more than {MAX_UNZIPPED} bytes")
    return at - len(member.unused_data)


def _user_records(data: str, event_id: str) -> list[tuple[str, bytes]]:
    """Return the event id and the bytes of each user record in *data*, the base64 of an aggregate.

    If *data* is not an aggregate, the result has one entry: *event_id*, and the bytes of *data*.
    """
    try:
        record = a2b_base64(data, strict_mode=True)
    except ValueError:
        raise RideRejected("data is not base64") from None
    if not record.startswith(KPL_MAGIC):
        return [(event_id, record)]
    return [(f"{event_id}#{index}", user) for index, user in enumerate(_disaggregated(record))]


def _disaggregated(data: bytes) -> list[bytes]:
    """Return the bytes of each user record in a KPL aggregate."""
    message, digest = data[len(KPL_MAGIC) : -KPL_DIGEST], data[-KPL_DIGEST:]
    if hashlib.md5(message, usedforsecurity=False).digest() != digest:
        raise RideRejected("KPL record does not match its checksum")
    try:
        read = count(1)
        bodies = (body for number, body in _fields(message, read) if number == KPL_RECORDS)
        users = [
            dict(_fields(body, read))[KPL_DATA]  # if a field is repeated, protobuf uses the last
            for body in islice(bodies, MAX_USER_RECORDS)
        ]
        too_many = next(bodies, None) is not None
    except LookupError:
        raise RideRejected("KPL record is damaged") from None
    if too_many:
        raise RideRejected(f"KPL record holds more than {MAX_USER_RECORDS} user records")
    if not users:
        raise RideRejected("KPL record holds no user records")
    return users


def _fields(message: bytes, read: Iterator[int]) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each length-delimited field of a protobuf message.

    Other fields are skipped.  *read* counts the fields of the whole aggregate.  Raises
    `IndexError` if the message is cut off or is not protobuf, and `RideRejected` if the aggregate
    has more than `MAX_FIELDS` fields.
    """
    at = 0
    while at < len(message):
        if next(read) > MAX_FIELDS:
            raise RideRejected(f"KPL record holds more than {MAX_FIELDS} fields")
        tag, at = varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            _, at = varint(message, at)
        elif wire_type == BYTES:
            size, at = varint(message, at)
            yield number, message[at : at + size]
            at += size
        elif wire_type in (FIXED32, FIXED64):
            at += 4 if wire_type == FIXED32 else 8
        else:
            raise IndexError("unknown wire type")
    if at > len(message):
        raise IndexError("the last field is cut off")


def varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the protobuf varint at *at*, and where it ends.  Raises `IndexError`."""
    value = shift = 0
    while message[at] & 0x80:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift > 63:  # a varint has ten bytes at most
            raise IndexError("a number is too long")
    return value | message[at] << shift, at + 1
