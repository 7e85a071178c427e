"""Writes a batch of Kinesis records to the archive, within the time of one Lambda invocation.

Rule 1: every record is archived, whether it holds a valid ride event or not.
Rule 2: an object has all records of the batch that are from one shard and arrived in one hour, so
        readers can tell from the names which lines two objects share (see `archive_format`).  For
        this reason, the event source mapping must not divide a shard: its parallelization factor
        must be 1.
Rule 3: if an object cannot be stored, Lambda delivers its first record and all later records again.
        The later records that are already stored are then stored twice, in objects with
        overlapping names.
Rule 4: the same records give the same bytes.
"""

from __future__ import annotations

import gzip
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ..archive_format import Line, ObjectKey
from ..errors import EventError
from ..kinesis import accounting, records
from ..kinesis.calls import CallAll, call_in_threads
from ..kinesis.records import BatchRange, Record, batch_range, utc_now
from ..kinesis.storing import stored
from ..scoring import TimeLeft

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ArchiveObject:
    """An object to store on S3: the lines of some records of a batch."""

    key: ObjectKey
    body: bytes
    """The lines, compressed by gzip."""
    start: int
    """The position of the first record in the batch."""
    records: int
    """The number of records."""


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """The result of archiving a batch: the stored objects, and where Lambda has to continue."""

    objects: tuple[ArchiveObject, ...]
    """The objects that were stored."""
    to_retry: int
    """The number of records in objects that could not be stored."""
    batch: BatchRange
    checkpoint: str | None
    """The sequence number from which Lambda has to deliver again; None if nothing is to retry."""
    finished_at: datetime


Store = Callable[[Sequence[ArchiveObject], TimeLeft], frozenset[int]]
"""A function that stores objects, and returns the positions of those that it may have lost."""


def process(
    event: dict[str, Any],
    *,
    store: Store,
    time_left: TimeLeft,
    now: Callable[[], datetime] = utc_now,
) -> ArchiveReport:
    """Archive a batch, and return a report.

    *event* is the event of a Lambda invocation.  *store* stores the objects.  *time_left* returns
    the seconds that are left for this, and *now* returns the time in UTC.  Raises `EventError` if
    *event* is not a batch of Kinesis records, or if they came with enhanced fan-out: several of
    such records can have one sequence number.
    """
    batch = records.read(event)
    if any(record.is_fanned_out for record in batch):
        raise EventError("the archive must read the stream without enhanced fan-out")
    written = objects(batch)
    lost = store(written, accounting.work_time(time_left))
    start = min((written[n].start for n in lost), default=None)
    return ArchiveReport(
        objects=tuple(one for n, one in enumerate(written) if n not in lost),
        to_retry=sum(written[n].records for n in lost),
        batch=batch_range(batch),
        checkpoint=None if start is None else batch[start].sequence_number,
        finished_at=now(),
    )


def objects(batch: Sequence[Record]) -> list[ArchiveObject]:
    """Return the objects for *batch*: one for each stream, shard and hour of arrival."""
    groups: dict[tuple[str, str, datetime], list[int]] = defaultdict(list)
    for position, record in enumerate(batch):
        hour = record.arrived_at.replace(minute=0, second=0, microsecond=0)
        groups[record.stream, record.shard, hour].append(position)
    return [_object(batch, positions, *group) for group, positions in groups.items()]


def response(report: ArchiveReport) -> dict[str, Any]:
    """Return the Lambda function's response: the checkpoint, if there is one."""
    failures = [] if report.checkpoint is None else [{"itemIdentifier": report.checkpoint}]
    return {"batchItemFailures": failures}


def connect(location: str) -> S3Store:
    """Return a function that stores objects under *location*: ``s3://bucket`` or with a prefix."""
    import boto3
    from botocore.config import Config

    quick = Config(
        connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}
    )
    return S3Store(boto3.client("s3", config=quick), location)


@dataclass(frozen=True, slots=True)
class S3Store:
    """A `Store` function; a class, because it holds an AWS client."""

    client: S3Client
    location: str
    """The location, as ``s3://bucket`` or ``s3://bucket/prefix``."""
    call_all: CallAll = call_in_threads

    def __call__(self, written: Sequence[ArchiveObject], time_left: TimeLeft) -> frozenset[int]:
        """Store the objects *written*; stop when *time_left* is over.

        Returns the positions of the objects that may not be stored.
        """
        puts = [partial(self._put, one) for one in written]
        results = self.call_all(puts, time_left())  # None is a late call: nobody knows
        return frozenset(n for n, is_stored in enumerate(results) if not is_stored)

    def _put(self, one: ArchiveObject) -> bool:
        fault = stored(self.client, self.location, str(one.key), one.body, "application/gzip")
        if fault:
            logger.error("records cannot be archived, so they will be retried: %s", fault)
        return not fault


def _object(
    batch: Sequence[Record], positions: Sequence[int], stream: str, shard: str, hour: datetime
) -> ArchiveObject:
    lines = [_line(batch[position]) for position in positions]
    numbers = [line.sequence_number for line in lines]
    return ArchiveObject(
        key=ObjectKey(stream, hour, shard, min(numbers), max(numbers)),
        body=gzip.compress(b"".join(msgspec.json.encode(line) + b"\n" for line in lines), mtime=0),
        start=positions[0],
        records=len(positions),
    )


def _line(record: Record) -> Line:
    return Line(
        event_id=record.event_id,
        arrived_at=record.arrived_at,
        # A part of a UTF-16 pair cannot be written as UTF-8.
        partition_key=record.raw["kinesis"]
        .get("partitionKey", "")
        .encode(errors="replace")
        .decode(),
        data=record.data,
    )
