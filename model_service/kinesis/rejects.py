"""Keeps rejected records: stores them on S3, with their bytes and the reasons for rejection.

The objects have the format in which Lambda itself stores a failed batch on S3: metadata, and the
original records in ``payload``.  So the same code can read both kinds of objects.  In addition,
``reasons`` maps each event id to its reason.  The key of an object depends only on the model and on
the ride events in it, so keeping the same ride events again replaces the object, and nothing else
does: a late write of an earlier version, which rejects fewer rides, cannot remove a rejection.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from ..scoring import TimeLeft
from .calls import CallAll, call_in_threads
from .records import Record, short_digest, timestamp, utc_now
from .storing import stored

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONDITION = "RidesRejected"
MAX_PART_BYTES = 2 * 1024 * 1024  # per object; S3 needs about a second to store this much

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A ride event that is rejected for good, with its record and the reason."""

    record: Record
    event_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class RejectsKey:
    """The key of an object with rejected records, without the prefix of the rejects location.

    >>> str(RejectsKey("a_model", "ride_events", "shardId-000000000000", "4961", "4963"))
    'a_model/ride_events/shardId-000000000000/4961-4963'

    Two objects may begin and end with the same records.  For example, another version of the model
    may reject fewer rides between these records, or other rides of one aggregate.  With enhanced
    fan-out, several records may also have the same sequence number.  So the key ends with a digest
    of the event ids, unless the object has a single rejection, of a record as a whole.
    """

    model: str
    stream: str
    shard: str
    first: str
    """Sequence number of the first record in the object."""
    last: str
    """Sequence number of the last record in the object."""
    digest: str = ""
    """16 hexadecimal digits, or empty."""

    def __str__(self) -> str:
        numbers = f"{self.first}-{self.last}" + (self.digest and f"-{self.digest}")
        return f"{self.model}/{self.stream}/{self.shard}/{numbers}"

    @classmethod
    def parse(cls, key: str) -> RejectsKey | None:
        """Return the parts of *key*, which may begin with a prefix; None for any other key."""
        parts = re.search(r"([^/]+)/([^/]*)/([^/]*)/(\d+)-(\d+)(?:-([0-9a-f]{16}))?$", key)
        return cls(*parts.groups(default="")) if parts else None


Keep = Callable[[Sequence[Rejection], TimeLeft], frozenset[int]]
"""A function that keeps rejections, and returns the positions of those that it may have lost."""


def discard(rejections: Sequence[Rejection], time_left: TimeLeft) -> frozenset[int]:
    """Keep nothing: for test runs, and for services that may lose rejected records."""
    return frozenset()


def connect(location: str, *, model_name: str) -> S3Rejects:
    """Return a function that keeps rejections of *model_name* under *location*.

    *location* is ``s3://bucket/prefix``.
    """
    import boto3
    from botocore.config import Config

    quick = Config(
        connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2}
    )
    return S3Rejects(boto3.client("s3", config=quick), location, model_name)


@dataclass(frozen=True, slots=True)
class S3Rejects:
    """Stores rejections on S3: a `Keep` function.  It is a class because it holds an AWS client."""

    client: S3Client
    location: str
    """The location, as ``s3://bucket/prefix``."""
    model_name: str
    call_all: CallAll = call_in_threads
    now: Callable[[], datetime] = utc_now

    def __call__(self, rejections: Sequence[Rejection], time_left: TimeLeft) -> frozenset[int]:
        """Store *rejections* in one or more objects for each shard; stop when no time is left.

        Returns the positions of the rejections that may not be stored.
        """
        parts = list(_parts(rejections))
        writes = [partial(self._put, [rejections[n] for n in part]) for part in parts]
        kept = self.call_all(writes, time_left())  # None is a late write: nobody knows
        return frozenset(
            n for part, is_kept in zip(parts, kept, strict=True) if not is_kept for n in part
        )

    def _put(self, rejections: Sequence[Rejection]) -> bool:
        body = msgspec.json.encode(failure(rejections, now=self.now()))
        fault = stored(
            self.client, self.location, str(self._key(rejections)), body, "application/json"
        )
        if fault:
            logger.error("rejected records cannot be kept, so they will be retried: %s", fault)
        return not fault

    def _key(self, rejections: Sequence[Rejection]) -> RejectsKey:
        first, last = rejections[0].record, rejections[-1].record
        numbers = first.sequence_number, last.sequence_number
        event_ids = [one.event_id for one in rejections]
        is_whole_record = event_ids == [first.event_id] and not first.is_fanned_out
        digest = "" if is_whole_record else short_digest("\n".join(event_ids).encode())
        return RejectsKey(self.model_name, first.stream, first.shard, *numbers, digest)


def failure(rejections: Sequence[Rejection], *, now: datetime) -> dict[str, Any]:
    """Return the content of an object with *rejections*, which are of one shard and in order.

    A record with several rejections is in the object once.
    """
    records = list({id(r.record): r.record for r in rejections}.values())
    first, last = records[0], records[-1]
    return {
        "requestContext": {"condition": CONDITION, "approximateInvokeCount": 1},
        "version": "1.0",
        "timestamp": timestamp(now),
        "KinesisBatchInfo": {
            "shardId": first.shard,
            "startSequenceNumber": first.sequence_number,
            "endSequenceNumber": last.sequence_number,
            "approximateArrivalOfFirstRecord": timestamp(first.arrived_at),
            "approximateArrivalOfLastRecord": timestamp(last.arrived_at),
            "batchSize": len(records),
            "streamArn": first.stream_arn,
        },
        "payload": json.dumps({"Records": [record.raw for record in records]}),
        "reasons": {rejection.event_id: rejection.reason for rejection in rejections},
    }


def _parts(rejections: Sequence[Rejection]) -> Iterator[list[int]]:
    """Yield the positions of the rejections for each object to write.

    An object has rejections of one shard, all rejections of each of its records, and at most
    `MAX_PART_BYTES` unless it has only one record.
    """
    part: list[int] = []
    size = 0
    for _, group in groupby(range(len(rejections)), lambda n: id(rejections[n].record)):
        positions = list(group)
        record = rejections[positions[0]].record
        more = len(record.data) + sum(len(rejections[n].reason) + 100 for n in positions)
        new_shard = bool(part) and _shard(rejections[part[0]]) != _shard(rejections[positions[0]])
        if part and (new_shard or size + more > MAX_PART_BYTES):
            yield part
            part, size = [], 0
        part += positions
        size += more
    if part:
        yield part


def _shard(rejection: Rejection) -> tuple[str, str]:
    return rejection.record.stream_arn, rejection.record.shard
