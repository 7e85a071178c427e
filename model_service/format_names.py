"""Names the format of data that is not JSON, so that a message can say what was received."""

from __future__ import annotations

import re
import zlib
from binascii import a2b_base64

from .payloads import GZIP_MAGIC, KPL_MAGIC, UNZIP_INPUT, varint

FORMATS = {
    GZIP_MAGIC: "compressed with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",  # RFC 8878, 3.1.1
    b"\xff\x06\x00\x00sNaPpY": "compressed with snappy",  # google/snappy, framing_format.txt
    b"\x82SNAPPY\x00": "compressed with snappy",  # snappy-java's stream
    b"\x04\x22\x4d\x18": "compressed with LZ4",  # lz4_Frame_format.md
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ\x00": "compressed with xz",
    b"PK\x03\x04": "a ZIP archive",  # PKWARE APPNOTE.TXT, 4.3.7
    KPL_MAGIC: "an aggregate of the KPL",
    b"\xff\xfe\x00\x00": "UTF-32 text",  # before UTF-16, whose mark it begins with
    b"\x00\x00\xfe\xff": "UTF-32 text",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
"""Formats that are not JSON, by the bytes that they begin with."""

WHITE_SPACE = b" \t\r\n"  # RFC 8259, 2
ASCII_TEXT = re.compile(rb"[\t\r\n -~]*")
BASE64 = re.compile(rb"[A-Za-z0-9+/_\r\n-]{16,}={0,2}")  # or base64url, RFC 4648, 5
URL_SAFE = bytes.maketrans(b"-_", b"+/")
JSON_IN_UTF_16 = re.compile(rb"\{\0[^\0]\0|\0\{\0[^\0]")
JSON_IN_UTF_32 = re.compile(rb"\{\0\0\0[^\0]\0\0\0|\0\0\0\{\0\0\0[^\0]")


def fault_of_format(data: bytes) -> str:
    """Return a message about *data* that is not JSON: it is empty, or its format has this name.

    Returns an empty text if *data* is in no known format.

    >>> fault_of_format("{}".encode("utf-16"))
    'data is UTF-16 text, not JSON in UTF-8'
    """
    if not data.strip(WHITE_SPACE):
        return "data is empty"
    name = format_name(data)
    return f"data is {name}, not JSON in UTF-8" if name else ""


def format_name(data: bytes) -> str:
    """Return the format of *data*, which is not empty and not JSON; "" if it is not known.

    >>> format_name(b"PK\\3\\4")
    'a ZIP archive'
    """
    for magic, name in FORMATS.items():
        if data.startswith(magic):
            return name
    if JSON_IN_UTF_32.match(data):
        return "UTF-32 text"
    if JSON_IN_UTF_16.match(data):
        return "UTF-16 text"
    if _is_zlib(data):
        return "compressed with zlib"
    if _is_snappy(data):
        return "compressed with snappy"
    if _is_brotli(data):
        return "probably compressed with brotli"
    return "base64 text" if _is_base64(data) else ""


def _is_zlib(data: bytes) -> bool:
    """Return whether *data* begins with a zlib header (RFC 1950, 2.2) and can be unzipped."""
    if data[0] & 0x0F != zlib.DEFLATED or int.from_bytes(data[:2]) % 31:
        return False
    try:
        return bool(zlib.decompressobj().decompress(data[:UNZIP_INPUT], 1))
    except zlib.error:
        return False


def _is_snappy(data: bytes) -> bool:
    """Return whether *data* is a snappy block that begins with a literal which begins with a brace.

    Source: google/snappy, format_description.txt.
    """
    if ASCII_TEXT.fullmatch(data):
        return False
    try:
        _, at = varint(data, 0)  # the size of what was compressed
        tag = data[at]
        at += 1 + max(0, (tag >> 2) - 59)  # the length is in the tag, or in 1 to 4 bytes behind it
        return tag & 3 == 0 and data[at] == ord("{")
    except IndexError:
        return False


def _is_brotli(data: bytes) -> bool:
    """Return whether *data* has the form in which brotli compresses a few kilobytes of JSON.

    A brotli stream has no signature.  It begins with the size of its window, and with the size of
    its first block (RFC 7932, 9.1 and 9.2).  A payload is one block, whose size fits into 16 bits.
    It is the last block, or it is not compressed.
    """
    if len(data) < 4 or data[0] & 1 == 0 or data[0] & 0xE0:
        return False
    is_last = data[0] & 0x10
    size = 1 + int.from_bytes(data[1:3], "little")
    if not is_last:
        return data[2] & 0x80 != 0 and data[3] == ord("{")
    return len(data) - 8 <= size <= 50 * len(data)


def _is_base64(data: bytes) -> bool:
    """Return whether *data* is base64 text of a JSON object, a gzip or an aggregate of the KPL.

    The padding may be absent.
    """
    data = data.strip(WHITE_SPACE)
    if not BASE64.fullmatch(data):
        return False
    digits = data.translate(URL_SAFE, b"\r\n=")
    try:
        decoded = a2b_base64(digits + b"=" * (-len(digits) % 4))
    except ValueError:
        return False
    return decoded.lstrip(WHITE_SPACE).startswith((b"{", GZIP_MAGIC, KPL_MAGIC))
