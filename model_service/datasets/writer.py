"""Scored rides as Parquet, one partition a month of pick-up, and what was rejected beside them.

The same rides in the same order make the same bytes: row groups hold a fixed number of rows,
however they come.  What is written here is temporary, until its name says otherwise.
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
MOST_OPEN = 64
"""Files at a time, one a month; rides of stray months come to a few."""
UNKNOWN = "__HIVE_DEFAULT_PARTITION__"
"""The month of a ride without a time, as Hive and Spark have it."""
NO_MONTH = -(2**62)
DICTIONARIES = ("PULocationID", "DOLocationID")


class Part(NamedTuple):
    """A file that is written, and the name that it is to have."""

    file: Path
    name: str


def by_month(rides: pa.RecordBatch) -> list[tuple[str, pa.RecordBatch]]:
    """*rides*, split by the month of pick-up in New York."""
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
    """One that is being written, and the rows that wait for a row group to be full."""

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
        """Else its end would be written when it is forgotten, for which there may be no room."""
        self.writer.is_open = False


@dataclass(slots=True)
class Partitions:
    """The files made of one input; it writes, so it is not frozen."""

    scratch: Path
    name: str
    """Of the input."""
    parts: list[Part] = field(default_factory=list)
    _open: dict[str, _File] = field(default_factory=dict)

    def write(self, month: str, rides: pa.RecordBatch) -> None:
        self._to(f"rides/month={month}", rides)

    def reject(self, rejected: pa.RecordBatch) -> None:
        self._to("rejected", rejected)

    def finish(self) -> list[Part]:
        """All that was written, complete."""
        while self._open:
            self._close(next(iter(self._open)))
        return self.parts

    def drop(self) -> None:
        """Forget what was written."""
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
            if len(self._open) == MOST_OPEN:
                self._close(next(iter(self._open)))
            file = self._new(folder, batch.schema)
        self._open[folder] = file  # the latest are the last
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
def writing(scratch: Path, name: str) -> Iterator[Partitions]:
    """The files of one input, gone again where the block fails.  Raises `OutputError`."""
    partitions = Partitions(scratch, name)
    try:
        yield partitions
    except OSError as exc:
        partitions.drop()
        why = os.strerror(exc.errno) if exc.errno else str(exc)  # Arrow's own words are long
        raise OutputError(f"cannot write to {scratch}: {why}") from exc
    except BaseException:  # whatever it is, no half file stays
        partitions.drop()
        raise
