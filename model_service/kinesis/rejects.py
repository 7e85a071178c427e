"""Keeps rejected records on S3, with their bytes and the reasons.

An object has the shape of the one that Lambda itself writes for a failed batch (metadata, and
the original records as ``payload``), so that one reader serves both; ``reasons`` has the reason
of each event id.  Its key follows from the records, so that keeping them twice is the same object.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from ..scoring import TimeLeft
from .records import Record, timestamp

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONDITION = "RidesRejected"
IN_FLIGHT = 4  # writes at once; a batch of one shard needs one

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A ride event that will never be answered, the record it came in, and why."""

    record: Record
    event_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class RejectsKey:
    """The key of an object of rejected records, without the prefix of the rejects location.

    >>> str(RejectsKey("a_model", "ride_events", "shardId-000000000000", "4961", "4963"))
    'a_model/ride_events/shardId-000000000000/4961-4963'
    """

    model: str
    stream: str
    shard: str
    first: str
    """Sequence number of the first record in the object."""
    last: str
    """Sequence number of the last record in the object."""

    def __str__(self) -> str:
        return f"{self.model}/{self.stream}/{self.shard}/{self.first}-{self.last}"

    @classmethod
    def parse(cls, key: str) -> RejectsKey | None:
        """Read *key*, which may begin with a prefix; None if it does not have this layout."""
        parts = re.search(r"([^/]+)/([^/]*)/([^/]*)/(\d+)-(\d+)$", key)
        return cls(*parts.groups()) if parts else None


Keep = Callable[[Sequence[Rejection], TimeLeft], frozenset[int]]
"""Keeps rejections; returns the positions of those that are not known to be kept."""


def discard(rejections: Sequence[Rejection], time_left: TimeLeft) -> frozenset[int]:
    """Keeps nothing: for test runs, and where losing rejected records is accepted."""
    return frozenset()


def connect(location: str, *, model_name: str) -> S3Rejects:
    """A keeper of the rejections of *model_name* under *location*, ``s3://bucket/prefix``."""
    import boto3
    from botocore.config import Config

    quick = Config(
        connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2}
    )
    return S3Rejects(boto3.client("s3", config=quick), location, model_name)


@dataclass(frozen=True, slots=True)
class S3Rejects:
    """A `Keep`; a class because it holds a client."""

    client: S3Client
    location: str
    """s3://bucket/prefix"""
    model_name: str

    def __call__(self, rejections: Sequence[Rejection], time_left: TimeLeft) -> frozenset[int]:
        """Keep *rejections*, an object a shard, stopping when *time_left* allows no more."""
        threads = ThreadPoolExecutor(IN_FLIGHT)
        writes = {}
        for _, shard in groupby(enumerate(rejections), lambda r: _shard(r[1])):
            positions, together = zip(*shard, strict=True)
            writes[threads.submit(self._put, together)] = positions
        done, late = wait(writes, timeout=max(0.0, time_left()))
        threads.shutdown(wait=False, cancel_futures=True)  # a write may be stuck
        failed = late | {write for write in done if not write.result()}
        return frozenset(position for write in failed for position in writes[write])

    def _put(self, rejections: Sequence[Rejection]) -> bool:
        bucket, _, prefix = self.location.removeprefix("s3://").partition("/")
        key = "/".join(filter(None, [prefix.strip("/"), str(self._key(rejections))]))
        body = msgspec.json.encode(failure(rejections, now=datetime.now(UTC)))
        try:
            self.client.put_object(
                Bucket=bucket, Key=key, Body=body, ContentType="application/json"
            )
        except (ClientError, BotoCoreError) as exc:
            logger.error("rejected records cannot be kept, so they will be retried: %s", exc)
            return False
        return True

    def _key(self, rejections: Sequence[Rejection]) -> RejectsKey:
        first, last = rejections[0].record, rejections[-1].record
        numbers = first.sequence_number, last.sequence_number
        return RejectsKey(self.model_name, first.stream, first.shard, *numbers)


def failure(rejections: Sequence[Rejection], *, now: datetime) -> dict[str, Any]:
    """The object for rejections of one shard, in order; each record once."""
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


def _shard(rejection: Rejection) -> tuple[str, str]:
    return rejection.record.stream_arn, rejection.record.shard
