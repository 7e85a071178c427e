"""A file of rides as chunks of some thousand rows, whatever it is: Parquet, CSV, JSON lines.

What it is, is seen from its first bytes, not from its name; CSV and JSON lines may be gzipped.
No more of it is in memory than a chunk and what its format makes a reader hold.
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
from . import columns as layouts
from . import json_lines
from . import rows as tables
from .columns import Layout

ROWS = 16_384
"""Of a chunk."""
BLOCK = 1024 * 1024  # bytes of a file that are read at once
BYTES = "latin-1"
"""Which has a letter for each byte: Arrow takes no table that is not UTF-8 throughout."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_LINE = 16 * 1024 * 1024  # bytes: a record of 10 MiB in base64, and what is around it
PARQUET_MAGIC = b"PAR1"


class Chunk(NamedTuple):
    """Some rows that follow each other."""

    parse: Callable[[], Parsed]
    """What the rows are; for any thread."""
    rows: int
    read: float
    """How much of the file has been read with it, from 0 to 1."""


def chunks(path: Path, *, name: str, rows: int = ROWS) -> Iterator[Chunk]:
    """The rows of the file at *path*, in order; *name* is what errors call it.

    Raises `FileError` where it cannot be read, or has no rows.
    """
    with _file_errors(name):
        found = _opened(path, name, rows)
        empty = True
        for chunk in found:
            empty = False
            yield chunk
    if empty:
        raise FileError(f"{name} has no rides")


def _opened(path: Path, name: str, rows: int) -> Iterator[Chunk]:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == PARQUET_MAGIC:
        return _parquet(path, name, rows)
    with path.open("rb") as raw, _plain(raw, magic) as text:
        first = text.readline(MAX_LINE)
        while first and not first.strip():
            first = text.readline(MAX_LINE)
    if not first:
        return iter(())
    if first.lstrip().startswith((b"{", b"[")):
        return _json(path, magic, json_lines.kind(first, name=name), rows, name)
    return _csv(path, magic, name, rows)


def _parquet(path: Path, name: str, rows: int) -> Iterator[Chunk]:
    # Not pre-buffered: that holds a row group, which may be all of a file.
    with pq.ParquetFile(path, buffer_size=BLOCK, pre_buffer=False) as file:
        layout = layouts.layout(file.schema_arrow, name=name)
        number, total = 1, file.metadata.num_rows
        columns = list(layout.columns.values())
        for batch in file.iter_batches(rows, columns=columns, use_threads=False):
            row = np.arange(number, number + len(batch), dtype=np.int64)
            number += len(batch)
            yield Chunk(partial(tables.parse, batch, layout, row), len(batch), number / (total + 1))


def _csv(path: Path, magic: bytes, name: str, rows: int) -> Iterator[Chunk]:
    broken: list[pa.csv.InvalidRow] = []

    def note(row: pa.csv.InvalidRow) -> str:
        broken.append(row)
        return "skip"

    layout = layouts.layout(_header(path, magic), name=name, text=True)
    with path.open("rb") as raw, _plain(raw, magic) as text, _reader(text, layout, note) as reader:
        number, size = 2, path.stat().st_size  # the header is the first
        for batch in map(_as_written, reader):
            if number == 2:
                tables.check_text(batch, layout, name=name)
            skipped, broken[:] = [*broken], []
            row = _row_numbers(number, len(batch), skipped)
            number = number + len(batch) + len(skipped)
            for at in range(0, len(batch), rows):
                parse = partial(
                    tables.parse, part := batch.slice(at, rows), layout, row[at:][:rows]
                )
                yield Chunk(parse, len(part), raw.tell() / size)
            yield from _broken(skipped)
        yield from _broken(broken)


def _header(path: Path, magic: bytes) -> pa.Schema:
    with path.open("rb") as raw, _plain(raw, magic) as text:
        first = text.readline(MAX_LINE)
    with pa.csv.open_csv(pa.BufferReader(first), pa.csv.ReadOptions(encoding=BYTES)) as reader:
        schema: pa.Schema = reader.schema
    return schema


def _reader(
    text: IO[bytes], layout: Layout, note: Callable[[pa.csv.InvalidRow], str]
) -> pa.csv.CSVStreamingReader:
    columns = list(layout.columns.values())
    return pa.csv.open_csv(
        text,
        pa.csv.ReadOptions(use_threads=False, block_size=BLOCK, encoding=BYTES),
        pa.csv.ParseOptions(invalid_row_handler=note),
        pa.csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    )


def _as_written(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cells of text as the bytes that they are in the file."""
    columns = [
        column if pc.all(pc.string_is_ascii(column), min_count=0).as_py()
        else texts([cell and cell.encode(BYTES) for cell in column.to_pylist()], pa.binary())
        for column in batch.columns
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _row_numbers(first: int, size: int, skipped: Sequence[pa.csv.InvalidRow]) -> NDArray[np.int64]:
    """Those of *size* rows from *first* on, among which others were skipped."""
    numbers = np.arange(first, first + size + len(skipped), dtype=np.int64)
    return np.setdiff1d(numbers, [row.number for row in skipped], assume_unique=True)[:size]


def _broken(rows: Sequence[pa.csv.InvalidRow]) -> Iterator[Chunk]:
    """Rows of CSV that have too few cells, or too many."""
    if not rows:
        return
    nothing = pa.RecordBatch.from_arrays([pa.nulls(0, one.type) for one in RIDES], schema=RIDES)
    rejected = rejections(
        [row.number for row in rows],
        [None] * len(rows),
        [f"{row.actual_columns} cells, not {row.expected_columns}" for row in rows],
        [row.text.encode(BYTES) for row in rows],
    )
    parsed = Parsed(nothing, rejected)
    yield Chunk(lambda: parsed, len(rows), 0)


def _json(path: Path, magic: bytes, kind: json_lines.Kind, rows: int, name: str) -> Iterator[Chunk]:
    with path.open("rb") as raw, _plain(raw, magic) as text:
        number, size = 1, path.stat().st_size
        while found := list(_lines(text, rows, name)):
            parse = partial(json_lines.parse, found, kind, number)
            yield Chunk(parse, len(found), raw.tell() / size)
            number += len(found)


def _lines(text: IO[bytes], rows: int, name: str) -> Iterator[bytes]:
    """Up to *rows* lines, and fewer where they are long."""
    read = 0
    for line in iter(partial(text.readline, MAX_LINE), b""):
        if len(line) == MAX_LINE:
            raise FileError(f"{name} has a line of more than {MAX_LINE} bytes")
        yield line
        rows, read = rows - 1, read + len(line)
        if not rows or read >= MAX_LINE:
            return


@contextmanager
def _plain(raw: IO[bytes], magic: bytes) -> Iterator[IO[bytes]]:
    """The text of a file that may be gzipped; closing it leaves the file open."""
    zipped = magic.startswith(GZIP_MAGIC)
    with cast(IO[bytes], gzip.open(raw) if zipped else nullcontext(raw)) as text:
        if text.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
            text.seek(0)
        yield text


@contextmanager
def _file_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, OSError, pa.ArrowException) as exc:
        if not (reason := getattr(exc, "strerror", None)):  # zlib's, Arrow's
            raise FileError(f"{name} is damaged, or ends too early") from None
        raise FileError(f"cannot read {name}: {reason}") from exc
