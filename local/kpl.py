"""Writes aggregated records, as the Kinesis Producer Library does.

https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md describes the
format: a magic number, a message of Protocol Buffers, and the MD5 of the message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from model_service.payloads import KPL_DATA, KPL_MAGIC, KPL_RECORDS

KEYS, KEY_INDEX = 1, 1
"""Field numbers: the table of partition keys in the message, and the index in it in a record."""


def aggregated(users: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the bytes of an aggregate of user records, given as partition keys and data."""
    table = {key: number for number, key in enumerate(dict.fromkeys(key for key, _ in users))}
    keys = b"".join(_field(KEYS, key.encode()) for key in table)
    records = b"".join(
        _field(KPL_RECORDS, bytes([KEY_INDEX << 3]) + _varint(table[key]) + _field(KPL_DATA, data))
        for key, data in users
    )
    message = keys + records
    return KPL_MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Return *value* as a variable-length integer of Protocol Buffers.

    >>> _varint(300).hex()
    'ac02'
    """
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
