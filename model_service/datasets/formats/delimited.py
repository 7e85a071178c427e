"""Reads rides from CSV files, whose cells are separated by commas, semicolons or tabs.

A file is read in blocks of whole lines.  Cells may be quoted, and a quoted cell may have line
breaks except at the end of a block.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from ...errors import FileError
from ..arrow import arrow, numpy, texts
from ..schema import RIDES, Parsed, rejections
from . import rows, text
from .chunk import BLOCK, Chunk
from .columns import REQUIRED, ColumnNames, find_columns
from .text import MAX_LINE, Sample

DELIMITERS = (",", ";", "\t")
BYTES = "latin-1"
"""Maps each byte to a character, since Arrow reads a CSV file only if all of it is valid text."""
SURPLUS = "\0"
"""Begins the names of the columns that a header does not name."""


def is_header(line: bytes) -> bool:
    """Return whether *line* has the names of all columns that a ride needs."""
    names = {cell.lower() for cell in _cells(line, _delimiter(line))}
    return {column.lower() for column in REQUIRED} <= names


def chunks(path: Path, beginning: Sample, *, name: str, size: int) -> Iterator[Chunk]:
    """Yield the rows of the file at *path*, whose first line is a header, up to *size* at a time.

    *beginning* is the result of `text.sample` for the file, and *name* is the file's name in error
    messages.  Raises `FileError` if a required column is missing, or if none of its cells is a
    number.
    """
    table = _read_header(beginning.lines[0], name)
    number, is_checked, file_size = 2, False, path.stat().st_size  # row 1 is the header
    with text.opened(path) as (lines, raw):
        lines.read(beginning.skipped + len(beginning.lines[0]))
        for block in _blocks(lines, name):
            found = _with_surplus(_parsed(block, table, number), table)
            number += len(found.rows) + len(found.malformed)
            batch = _with_original_bytes(found.cells)
            if len(batch) and not is_checked:
                rows.check_numbers(batch, table.columns, name=name)
                is_checked = True
            for start in range(0, len(batch), size):
                part, part_rows = batch.slice(start, size), found.rows[start : start + size]
                parse = partial(rows.parse, part, table.columns, part_rows)
                yield Chunk(parse, len(part), raw.tell() / file_size)
            if found.malformed:
                yield _malformed_rows(found.malformed)


class _Table(NamedTuple):
    """The columns of a file."""

    names: list[str]
    columns: ColumnNames
    delimiter: str
    surplus: int = 0
    """The number of additional cells in each row, to the right of the header's last column."""


class _Block(NamedTuple):
    """The rows of a block."""

    cells: pa.RecordBatch
    """The columns of rides, as text."""
    rows: NDArray[np.int64]
    """The number of each row in the file."""
    malformed: list[pa.csv.InvalidRow]
    """The rows with too few or too many cells."""


def _read_header(line: bytes, name: str) -> _Table:
    delimiter = _delimiter(line)
    names = _cells(line, delimiter)
    schema = pa.schema([(column, pa.string()) for column in names])
    return _Table(names, find_columns(schema, name=name, text=True), delimiter)


def _delimiter(header: bytes) -> str:
    """Return the delimiter that splits *header* into the most cells."""
    return max(DELIMITERS, key=lambda delimiter: len(_cells(header, delimiter)))


def _cells(line: bytes, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line.decode(BYTES).rstrip("\r\n")], delimiter=delimiter), [])
    except csv.Error:  # a cell is longer than any name
        return []


def _blocks(lines: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield blocks of whole lines, each about `BLOCK` bytes; skip blocks with only empty lines."""
    while block := lines.read(BLOCK):
        if not block.endswith(b"\n"):
            rest = lines.readline(MAX_LINE)
            if len(rest) == MAX_LINE:
                raise FileError(f"{name} has a line of more than {MAX_LINE} bytes")
            block += rest
        if block.strip(b"\r\n"):
            yield block


def _parsed(block: bytes, table: _Table, number: int) -> _Block:
    """Return the rows of *block*, which are numbered from *number*."""
    malformed: list[pa.csv.InvalidRow] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        malformed.append(row._replace(number=number + row.number - 1))
        return "skip"

    surplus = [f"{SURPLUS}{n}" for n in range(table.surplus)]
    included = [*table.columns.values(), *surplus]
    cells = pa.csv.read_csv(
        pa.BufferReader(block),
        pa.csv.ReadOptions(
            use_threads=False,
            block_size=len(block) + 1,
            encoding=BYTES,
            column_names=[*table.names, *surplus],
        ),
        pa.csv.ParseOptions(delimiter=table.delimiter, invalid_row_handler=skip),
        pa.csv.ConvertOptions(
            include_columns=included,
            column_types=dict.fromkeys(included, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    )
    batches = cells.combine_chunks().to_batches() or [
        pa.RecordBatch.from_arrays([pa.nulls(0, pa.string())] * len(included), included)
    ]
    numbers = np.arange(number, number + len(cells) + len(malformed), dtype=np.int64)
    rows = np.setdiff1d(numbers, [row.number for row in malformed], assume_unique=True)
    return _Block(batches[0], rows, malformed)


def _with_surplus(block: _Block, table: _Table) -> _Block:
    """Return *block*; rows whose surplus cells are all empty are no longer malformed in it.

    In the TLC's files of July to December 2016, each row has two empty cells more than the header.
    """
    cells, numbers, malformed = [block.cells], [block.rows], list[pa.csv.InvalidRow]()
    by_surplus = defaultdict[int, list[pa.csv.InvalidRow]](list)
    for row in block.malformed:
        by_surplus[row.actual_columns - row.expected_columns].append(row)
    for surplus, found in by_surplus.items():
        if surplus < 0:
            malformed += found
            continue
        lines = "\n".join(row.text for row in found).encode(BYTES)
        wide = _parsed(lines, table._replace(surplus=surplus), 1).cells
        accepted = np.ones(len(found), dtype=bool)
        for n in range(surplus):
            accepted &= numpy(wide[f"{SURPLUS}{n}"].is_null())
        cells.append(wide.select(block.cells.schema.names).filter(arrow(accepted)))
        numbers.append(np.array([row.number for row in found], dtype=np.int64)[accepted])
        malformed += [row for row, ok in zip(found, accepted.tolist(), strict=True) if not ok]
    if len(cells) == 1:
        return block
    rows = np.concatenate(numbers)
    order = np.argsort(rows)
    malformed.sort(key=lambda row: int(row.number))
    return _Block(pa.concat_batches(cells).take(arrow(order)), rows[order], malformed)


def _with_original_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return *batch*; a column that is not ASCII has the original bytes of the file again."""
    columns = [
        column if pc.all(pc.string_is_ascii(column), min_count=0).as_py()
        else texts([cell and cell.encode(BYTES) for cell in column.to_pylist()], pa.binary())
        for column in batch.columns
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _malformed_rows(malformed: Sequence[pa.csv.InvalidRow]) -> Chunk:
    """Return the rejections of rows that have too few or too many cells."""
    no_rides = pa.RecordBatch.from_arrays([pa.nulls(0, one.type) for one in RIDES], schema=RIDES)
    rejected = rejections(
        [row.number for row in malformed],
        [None] * len(malformed),
        [f"{row.actual_columns} cells, not {row.expected_columns}" for row in malformed],
        [row.text.encode(BYTES) for row in malformed],
    )
    parsed = Parsed(no_rides, rejected)
    return Chunk(lambda: parsed, len(malformed), 0)
