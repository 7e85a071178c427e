"""Opens text files of rides, which may be compressed, and looks at their first lines.

If a line is neither CSV nor JSON, it does not decide the format, because any line may be damaged.
"""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, cast

import pyarrow as pa

from ...errors import FileError
from ...format_names import format_name
from ...payloads import GZIP_MAGIC

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878, 3.1.1
BZIP2_MAGIC = b"BZh"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_LINE = 16 * 1024 * 1024  # bytes: a record of 10 MiB in base64, and the JSON around it
SAMPLE_LINES, SAMPLE_BYTES = 100, 1024 * 1024  # lines and bytes that decide the format of a file

OTHER_FORMATS = {
    b"PARE": "an encrypted Parquet file: decrypt it",
    b"PAR1": "a compressed Parquet file: decompress it",
    GZIP_MAGIC: "compressed twice: decompress it",
    ZSTD_MAGIC: "compressed twice: decompress it",
    b"\xff\xfe": "text in UTF-16: convert it to UTF-8",
    b"\xfe\xff": "text in UTF-16: convert it to UTF-8",
    b"<": "an HTML or XML page, not the file itself: download it again",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: extract it, or save it as CSV",
    b"\xfd7zXZ": "compressed with xz: decompress it",
    b"\x04\x22\x4d\x18": "compressed with LZ4: decompress it",
    b"ARROW1": "an Arrow or Feather file: convert it to Parquet",
    b"Obj\x01": "an Avro file: convert it to Parquet",
    b"ORC": "an ORC file: convert it to Parquet",
    b"version https://git-lfs": "a pointer of Git LFS: download the file itself",
}
"""First bytes of a file that cannot be read -> its format, and the remedy."""


class Sample(NamedTuple):
    """The beginning of a text file."""

    lines: list[bytes]
    """The first lines that are not empty."""
    skipped: int
    """The number of bytes before the first of these lines."""
    mark: int
    """The length of the byte order mark, or 0."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Yield two open files for *path*: the decompressed text, and the file as it is on disk.

    The position in the second file shows how much of the file has been read.
    """
    with path.open("rb") as raw:
        magic = raw.read(4)
        raw.seek(0)
        with _decompressed(raw, magic) as text:
            yield text, raw


def sample(path: Path) -> Sample:
    """Return the beginning of the file at *path*, without its byte order mark."""
    lines: list[bytes] = []
    skipped = mark = length = 0
    with opened(path) as (text, _):
        for line in iter(partial(text.readline, MAX_LINE), b""):
            if not length and line.startswith(BYTE_ORDER_MARK):
                skipped = mark = len(BYTE_ORDER_MARK)
                line = line[mark:]
            if line.strip():
                lines.append(line)
            elif not lines:
                skipped += len(line)
            length += len(line)
            if len(lines) == SAMPLE_LINES or length >= SAMPLE_BYTES:
                break
    return Sample(lines, skipped, mark)


def check_format(lines: Sequence[bytes], *, name: str) -> None:
    """Raise `FileError` if the file that begins with *lines* has another known format.

    Call this for a file that is neither CSV nor JSON lines.  *name* is its name in error messages.
    """
    first = lines[0].strip(b"\r\n")
    for magic, known in OTHER_FORMATS.items():
        if first.lstrip().startswith(magic):
            raise FileError(f"{name} is {known}")
    if known := format_name(first):
        raise FileError(f"{name} is {known}, and not CSV or lines of JSON in UTF-8: convert it")
    if b"\0" in first:
        raise FileError(f"{name} is a binary file, or text in UTF-16: convert it to UTF-8")
    if first.startswith(b"["):
        raise FileError(
            f"{name} is a JSON array: write one ride on each line, in pandas with"
            ' to_json(orient="records", lines=True, date_format="iso")'
        )
    if first.startswith(b"{"):
        raise FileError(f"{name} does not hold rides: none of its first lines is a JSON object")


def _decompressed(raw: IO[bytes], magic: bytes) -> IO[bytes]:
    if magic.startswith(GZIP_MAGIC):
        return cast(IO[bytes], gzip.open(raw))
    if magic.startswith(BZIP2_MAGIC):
        return cast(IO[bytes], bz2.open(raw))
    if magic.startswith(ZSTD_MAGIC):
        return io.BufferedReader(pa.CompressedInputStream(raw, "zstd"))
    return raw
