"""Kinesis records as Lambda delivers them, down to the bytes of each ride event.

A record holds base64 of: a payload; or a gzip of one; or an aggregate that the Kinesis Producer
Library (KPL) made of several user records, each a payload or a gzip of one.  User records share
their record's sequence number, and add ``#<index>`` to its event id.
"""

from __future__ import annotations

import hashlib
import zlib
from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from .errors import EventError, RideRejected

MAX_PAYLOAD = 1024 * 1024
"""Bytes that a gzip may grow to: what a stream takes unzipped by default."""

MAX_UNZIPPED = 10 * MAX_PAYLOAD
"""Bytes that all the gzips of one record may grow to."""

UNZIP_STEP = 64 * 1024  # bytes

MAX_USER_RECORDS = 20_000
"""User records of one record: more than a default record can hold of the shortest ride events."""

GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, 2.3.1
KPL_MAGIC = b"\xf3\x89\x9a\xc2"  # amazon-kinesis-producer, aggregation-format.md
KPL_DIGEST = 16  # bytes of MD5 behind the protobuf message
KPL_RECORDS = 3  # AggregatedRecord.records
KPL_DATA = 3  # Record.data

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf wire types


class _Body(Struct, rename="camel"):
    sequence_number: str
    data: str
    approximate_arrival_timestamp: Annotated[float, Meta(ge=0, lt=2**37)]  # year 6325


class _Envelope(Struct):
    kinesis: _Body
    eventID: str
    eventSourceARN: str


class _Batch(Struct):
    Records: list[_Envelope]


class Record(Struct, frozen=True):
    """One Kinesis record, and the dict it came in."""

    sequence_number: str
    event_id: str
    stream_arn: str
    arrived_at: datetime
    data: str
    raw: dict[str, Any]

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.stream_arn.rpartition("/")[2]

    @property
    def shard(self) -> str:
        """The id of the shard that it was read from."""
        return self.event_id.partition(":")[0]


class Payload(NamedTuple):
    """The bytes of one ride event, and its identity."""

    event_id: str
    data: bytes


def read(event: dict[str, Any]) -> list[Record]:
    """The records of an invocation, in order.

    Raises `EventError` where the invocation is no batch of Kinesis records.
    """
    try:
        batch = msgspec.convert(event, _Batch)
    except msgspec.ValidationError as exc:
        raise EventError(f"not a batch of Kinesis records: {exc}") from None
    return [
        Record(
            sequence_number=envelope.kinesis.sequence_number,
            event_id=envelope.eventID,
            stream_arn=envelope.eventSourceARN,
            arrived_at=datetime.fromtimestamp(envelope.kinesis.approximate_arrival_timestamp, UTC),
            data=envelope.kinesis.data,
            raw=raw,
        )
        for envelope, raw in zip(batch.Records, event["Records"], strict=True)
    ]


def payloads(record: Record) -> list[Payload]:
    """What a record holds: its payload, or those of its user records, in order.

    Raises `RideRejected` where the record cannot be read.
    """
    try:
        data = a2b_base64(record.data, strict_mode=True)
    except ValueError:
        raise RideRejected("data is not base64") from None
    if not data.startswith(KPL_MAGIC):
        return [Payload(record.event_id, data)]
    return [
        Payload(f"{record.event_id}#{index}", user_data)
        for index, user_data in enumerate(_user_records(data))
    ]


@dataclass(slots=True)
class Budget:
    """What the gzips of one record may still grow to, in bytes; it counts, so it is not frozen."""

    left: int = MAX_UNZIPPED


def plain(data: bytes, budget: Budget) -> bytes:
    """A payload's bytes, unzipped where they are a gzip; what that yields is taken off *budget*.

    Raises `RideRejected` where that fails, or would pass `MAX_PAYLOAD` or the budget.
    """
    if not data.startswith(GZIP_MAGIC):
        return data
    member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # 16: a gzip header and checksum
    step = unzipped = b""
    # In steps, so that a damaged gzip costs what it yields, too. One may be left without input.
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


def _user_records(data: bytes) -> list[bytes]:
    message, digest = data[len(KPL_MAGIC) : -KPL_DIGEST], data[-KPL_DIGEST:]
    if hashlib.md5(message, usedforsecurity=False).digest() != digest:
        raise RideRejected("KPL record does not match its checksum")
    try:
        users = [
            dict(_fields(body))[KPL_DATA]  # of a field given twice, protobuf takes the last
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
    """The length-delimited fields of a protobuf message; others are passed over.

    Raises `IndexError` where the message ends too early or is no protobuf.
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
