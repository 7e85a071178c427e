"""Reads a file of rides (Parquet, CSV or JSON lines) in chunks of some thousand rows.

The format is recognized by the content, not by the file name.  CSV and JSON lines may be
compressed.  Only one chunk is in memory at a time, plus what the format requires a reader to hold.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import FileError
from ..schema import Parsed
from . import delimited, json_lines, rows, text, trip_fields
from .chunk import BLOCK, CHUNK_ROWS, Chunk
from .columns import find_columns
from .json_lines import LineKind
from .text import MAX_LINE, Sample

PARQUET_MAGIC = b"PAR1"


class _ParseLines(Protocol):
    def __call__(self, lines: Sequence[bytes], *, first_row: int) -> Parsed: ...


def chunks(
    path: Path, *, name: str, size: int = CHUNK_ROWS, skip_through: int = -1
) -> Iterator[Chunk]:
    """Yield the rows of the file at *path* in order, up to *size* at a time.

    *name* is the name of the file in error messages.  Lines of the archive are left out if their
    sequence number is *skip_through* or less.
    Raises `FileError` if the file cannot be read or has no rows.
    """
    is_empty = True
    with _file_errors(name):
        for chunk in _chunks(path, name, size, skip_through):
            is_empty = False
            yield chunk
    if is_empty:
        raise FileError(f"{name} has no rides")


def _chunks(path: Path, name: str, size: int, skip_through: int) -> Iterator[Chunk]:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == PARQUET_MAGIC:
        return _parquet(path, name, size)
    beginning = text.sample(path)
    if not beginning.lines:
        return iter(())
    if not delimited.is_header(beginning.lines[0]):
        if kind := json_lines.kind_of_file(beginning.lines):
            if kind is LineKind.BARE:
                trip_fields.check_times(beginning.lines, name=name)
            parse = partial(json_lines.parse, kind=kind, skip_through=skip_through)
            return _json(path, beginning, parse, name, size)
        text.check_format(beginning.lines, name=name)
    return delimited.chunks(path, beginning, name=name, size=size)


def _parquet(path: Path, name: str, size: int) -> Iterator[Chunk]:
    # Pre-buffering would read a whole row group into memory, which may be the whole file.
    with pq.ParquetFile(path, buffer_size=BLOCK, pre_buffer=False) as file:
        columns = find_columns(file.schema_arrow, name=name)
        number, total = 1, file.metadata.num_rows
        names = list(columns.values())
        for batch in file.iter_batches(size, columns=names, use_threads=False):
            row = np.arange(number, number + len(batch), dtype=np.int64)
            number += len(batch)
            yield Chunk(partial(rows.parse, batch, columns, row), len(batch), number / (total + 1))


def _json(
    path: Path, beginning: Sample, parse: _ParseLines, name: str, size: int
) -> Iterator[Chunk]:
    with text.opened(path) as (lines_of_file, raw):
        lines_of_file.read(beginning.mark)
        number, file_size = 1, path.stat().st_size
        while lines := list(_lines(lines_of_file, name, size)):
            parse_lines = partial(parse, lines, first_row=number)
            yield Chunk(parse_lines, len(lines), raw.tell() / file_size)
            number += len(lines)


def _lines(file: IO[bytes], name: str, size: int) -> Iterator[bytes]:
    """Yield the next lines of *file*: at most *size* lines, and at most about `MAX_LINE` bytes."""
    length = 0
    for line in iter(partial(file.readline, MAX_LINE), b""):
        if len(line) == MAX_LINE:
            raise FileError(f"{name} has a line of more than {MAX_LINE} bytes")
        yield line
        size, length = size - 1, length + len(line)
        if not size or length >= MAX_LINE:
            return


@contextmanager
def _file_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, OSError, pa.ArrowException) as exc:
        if not (reason := getattr(exc, "strerror", None)):  # an error of zlib or Arrow
            raise FileError(f"{name} is damaged or ends too early") from None
        raise FileError(f"cannot read {name}: {reason}") from exc
