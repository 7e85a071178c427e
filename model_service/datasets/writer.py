"""Writes scored rides, partitioned by month of pick-up, and rejected rows to Parquet files.

The same rides in the same order result in the same bytes, whatever the sizes of the batches,
because all full row groups have the same number of rows.  Files are written to a temporary
directory; the job then moves them to the output.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .. import local_time
from ..errors import OutputError
from .arrow import arrow, numpy

ROW_GROUP = 65_536  # rows
MAX_OPEN = 64
"""Maximum number of open files, one for each month.  A TLC file has rides of only a few months."""
UNKNOWN = "__HIVE_DEFAULT_PARTITION__"
"""The partition of rides without a pick-up time, as named by Hive and Spark."""
NO_MONTH = -(2**62)
DICTIONARIES = ("PULocationID", "DOLocationID")


class Part(NamedTuple):
    """A temporary file, and its future name in the output."""

    file: Path
    name: str


def by_month(rides: pa.RecordBatch) -> list[tuple[str, pa.RecordBatch]]:
    """Return pairs of a month of pick-up, in New York's local time, and the rides of this month.

    The rides of a month are in the same order as in *rides*.
    """
    time = rides["pickup_datetime"]
    shown = local_time.clocks(numpy(time.cast(pa.int64()))).astype("datetime64[us]")
    months = shown.astype("datetime64[M]").astype(np.int64)
    months[numpy(time.is_null())] = NO_MONTH
    different = np.unique(months).tolist()
    if len(different) == 1:
        return [(_name(different[0]), rides)]
    return [(_name(month), rides.filter(arrow(months == month))) for month in different]


def _name(month: int) -> str:
    return UNKNOWN if month == NO_MONTH else str(np.datetime64(month, "M"))


@dataclass(slots=True)
class _File:
    """An open file, and the rows of its next row group, which are written once there are enough."""

    part: Part
    writer: pq.ParquetWriter
    waiting: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0

    def write(self, batch: pa.RecordBatch) -> None:
        while len(batch):
            room = ROW_GROUP - self.rows
            self.waiting.append(batch.slice(0, room))
            self.rows += len(self.waiting[-1])
            batch = batch.slice(room)
            if self.rows == ROW_GROUP:
                self.flush()

    def flush(self) -> None:
        if self.rows:
            self.writer.write_table(pa.Table.from_batches(self.waiting), row_group_size=ROW_GROUP)
        self.waiting, self.rows = [], 0

    def close(self) -> None:
        try:
            self.flush()
            self.writer.close()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Make the writer write no footer when it is deleted, because the disk may be full."""
        self.writer.is_open = False


@dataclass(slots=True)
class PartitionedWriter:
    """Writes the output files of one input."""

    scratch: Path
    name: str
    """The name of the input."""
    parts: list[Part] = field(default_factory=list)
    _open: dict[str, _File] = field(default_factory=dict)

    def write(self, month: str, rides: pa.RecordBatch) -> None:
        self._to(f"rides/month={month}", rides)

    def reject(self, rejected: pa.RecordBatch) -> None:
        self._to("rejected", rejected)

    def finish(self) -> list[Part]:
        """Close all files, and return for each its temporary path and its name in the output."""
        while self._open:
            self._close(next(iter(self._open)))
        return self.parts

    def discard(self) -> None:
        """Delete all files, whether open or closed."""
        for file in self._open.values():
            file.abandon()
            file.part.file.unlink(missing_ok=True)
        for part in self.parts:
            part.file.unlink(missing_ok=True)

    def _to(self, folder: str, batch: pa.RecordBatch) -> None:
        if not len(batch):
            return
        file = self._open.pop(folder, None)
        if file is None:
            if len(self._open) == MAX_OPEN:
                self._close(next(iter(self._open)))
            file = self._new(folder, batch.schema)
        self._open[folder] = file  # at the end, because files are ordered by last use
        file.write(batch)

    def _new(self, folder: str, schema: pa.Schema) -> _File:
        earlier = sum(part.name.startswith(f"{folder}/") for part in self.parts)
        name = f"{folder}/{self.name}{f'-{earlier + 1}' if earlier else ''}.parquet"
        part = Part(self.scratch / name.replace("/", "~"), name)
        dictionaries = [
            name for name in schema.names
            if name in DICTIONARIES or name.endswith(("_model", "_version")) or name == "reason"
        ]  # fmt: skip
        writer = pq.ParquetWriter(
            part.file, schema, compression="zstd", use_dictionary=dictionaries
        )
        return _File(part, writer)

    def _close(self, folder: str) -> None:
        file = self._open.pop(folder)
        self.parts.append(file.part)
        file.close()


@contextmanager
def writing(scratch: Path, name: str) -> Iterator[PartitionedWriter]:
    """Yield a writer for the output files of the input *name*, which it writes to *scratch*.

    If the block fails, the files are deleted.  Raises `OutputError` if the disk cannot be written.
    """
    output = PartitionedWriter(scratch, name)
    try:
        yield output
    except OSError as exc:
        output.discard()
        why = os.strerror(exc.errno) if exc.errno else str(exc)  # Arrow's message is long
        raise OutputError(f"cannot write to {scratch}: {why}") from exc
    except BaseException:  # leave no incomplete file
        output.discard()
        raise
