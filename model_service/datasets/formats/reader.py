"""Reads a file of rides (Parquet, CSV or JSON lines) in chunks of some thousand rows.

The format is recognized from the first bytes of the file, not from its name.  Files of CSV and JSON
lines may be gzipped.  Only one chunk is in memory at a time, and the data around it that the format
makes a reader keep.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...errors import FileError
from ...payloads import GZIP_MAGIC
from ..arrow import texts
from ..schema import RIDES, Parsed, rejections
from . import json_lines, rows
from .columns import ColumnNames, find_columns
from .json_lines import LineKind

CHUNK_ROWS = 16_384
BLOCK = 1024 * 1024  # bytes to read from a file at a time
BYTES = "latin-1"
"""The encoding with which Arrow reads CSV files: any bytes are valid Latin-1.

With UTF-8, a single malformed character would make Arrow refuse the whole file.
"""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_LINE = 16 * 1024 * 1024  # bytes: enough for a record of 10 MiB in base64, within JSON
PARQUET_MAGIC = b"PAR1"


class Chunk(NamedTuple):
    """A sequence of consecutive rows in a file."""

    parse: Callable[[], Parsed]
    """A function that returns the valid and the rejected rows; any thread may call it."""
    rows: int
    """The number of rows."""
    read: float
    """The part of the file, from 0 to 1, that had been read at the end of the chunk."""


def chunks(path: Path, *, name: str, size: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Yield the rows of the file at *path* in order, up to *size* at a time.

    *name* is the name of the file in error messages.
    Raises `FileError` if the file cannot be read or has no rows.
    """
    is_empty = True
    with _file_errors(name):
        for chunk in _chunks(path, name, size):
            is_empty = False
            yield chunk
    if is_empty:
        raise FileError(f"{name} has no rides")


def _chunks(path: Path, name: str, size: int) -> Iterator[Chunk]:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == PARQUET_MAGIC:
        return _parquet(path, name, size)
    with path.open("rb") as raw, _unzipped(raw, magic) as text:
        first = text.readline(MAX_LINE)
        while first and not first.strip():
            first = text.readline(MAX_LINE)
    if not first:
        return iter(())
    if first.lstrip().startswith((b"{", b"[")):
        return _json(path, magic, json_lines.kind_of_file(first, name=name), name, size)
    return _csv(path, magic, name, size)


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


def _csv(path: Path, magic: bytes, name: str, size: int) -> Iterator[Chunk]:
    malformed: list[pa.csv.InvalidRow] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        malformed.append(row)
        return "skip"

    columns = find_columns(_csv_header(path, magic), name=name, text=True)
    with (
        path.open("rb") as raw,
        _unzipped(raw, magic) as text,
        _csv_reader(text, columns, skip) as reader,
    ):
        number, file_size = 2, path.stat().st_size  # row 1 is the header
        for batch in map(_with_original_bytes, reader):
            if number == 2:
                rows.check_numbers(batch, columns, name=name)
            skipped, malformed[:] = [*malformed], []
            row = _row_numbers(number, len(batch), skipped)
            number = number + len(batch) + len(skipped)
            for start in range(0, len(batch), size):
                part, part_rows = batch.slice(start, size), row[start : start + size]
                parse = partial(rows.parse, part, columns, part_rows)
                yield Chunk(parse, len(part), raw.tell() / file_size)
            yield from _malformed_rows(skipped)
        yield from _malformed_rows(malformed)


def _csv_header(path: Path, magic: bytes) -> pa.Schema:
    with path.open("rb") as raw, _unzipped(raw, magic) as text:
        first = text.readline(MAX_LINE)
    with pa.csv.open_csv(pa.BufferReader(first), pa.csv.ReadOptions(encoding=BYTES)) as reader:
        schema: pa.Schema = reader.schema
    return schema


def _csv_reader(
    text: IO[bytes], columns: ColumnNames, skip: Callable[[pa.csv.InvalidRow], str]
) -> pa.csv.CSVStreamingReader:
    names = list(columns.values())
    return pa.csv.open_csv(
        text,
        pa.csv.ReadOptions(use_threads=False, block_size=BLOCK, encoding=BYTES),
        pa.csv.ParseOptions(invalid_row_handler=skip),
        pa.csv.ConvertOptions(
            include_columns=names,
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    )


def _with_original_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return *batch*; convert each column with characters other than ASCII to the file's bytes."""
    columns = [
        column if pc.all(pc.string_is_ascii(column), min_count=0).as_py()
        else texts([cell and cell.encode(BYTES) for cell in column.to_pylist()], pa.binary())
        for column in batch.columns
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _row_numbers(first: int, size: int, skipped: Sequence[pa.csv.InvalidRow]) -> NDArray[np.int64]:
    """Return the numbers of *size* rows from *first* on; leave out those of *skipped* rows."""
    numbers = np.arange(first, first + size + len(skipped), dtype=np.int64)
    return np.setdiff1d(numbers, [row.number for row in skipped], assume_unique=True)[:size]


def _malformed_rows(skipped: Sequence[pa.csv.InvalidRow]) -> Iterator[Chunk]:
    """Yield a chunk with the rejections of *skipped* rows, which have too few or too many cells."""
    if not skipped:
        return
    no_rides = pa.RecordBatch.from_arrays([pa.nulls(0, one.type) for one in RIDES], schema=RIDES)
    rejected = rejections(
        [row.number for row in skipped],
        [None] * len(skipped),
        [f"{row.actual_columns} cells, not {row.expected_columns}" for row in skipped],
        [row.text.encode(BYTES) for row in skipped],
    )
    parsed = Parsed(no_rides, rejected)
    yield Chunk(lambda: parsed, len(skipped), 0)


def _json(path: Path, magic: bytes, kind: LineKind, name: str, size: int) -> Iterator[Chunk]:
    with path.open("rb") as raw, _unzipped(raw, magic) as text:
        number, file_size = 1, path.stat().st_size
        while lines := list(_lines(text, name, size)):
            parse = partial(json_lines.parse, lines, kind, number)
            yield Chunk(parse, len(lines), raw.tell() / file_size)
            number += len(lines)


def _lines(text: IO[bytes], name: str, size: int) -> Iterator[bytes]:
    """Yield the next lines: at most *size* lines, and about `MAX_LINE` bytes."""
    length = 0
    for line in iter(partial(text.readline, MAX_LINE), b""):
        if len(line) == MAX_LINE:
            raise FileError(f"{name} has a line of more than {MAX_LINE} bytes")
        yield line
        size, length = size - 1, length + len(line)
        if not size or length >= MAX_LINE:
            return


@contextmanager
def _unzipped(raw: IO[bytes], magic: bytes) -> Iterator[IO[bytes]]:
    """Yield a file object for the unzipped bytes of *raw*, after any byte order mark.

    *magic* are the first bytes of the file.
    """
    is_zipped = magic.startswith(GZIP_MAGIC)
    with cast(IO[bytes], gzip.open(raw) if is_zipped else nullcontext(raw)) as text:
        if text.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
            text.seek(0)
        yield text


@contextmanager
def _file_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, OSError, pa.ArrowException) as exc:
        if not (reason := getattr(exc, "strerror", None)):  # an error of zlib or Arrow
            raise FileError(f"{name} is damaged or ends too early") from None
        raise FileError(f"cannot read {name}: {reason}") from exc
