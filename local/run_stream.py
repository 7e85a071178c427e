"""Rides through the stream: a producer and a poller at work, and a watcher of what comes out.

The producer and the poller have a thread each; the caller's thread reads the output stream and
the rejects bucket.  Whatever ends one of them ends all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING

from . import producer
from .aws.event_source import Handler, Shard, poll
from .aws.kinesis_reader import Reader, Record, event_id, readers
from .aws.server import Embedded
from .demo.counts import Published
from .producer import Message

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RIDE_EVENTS, PREDICTIONS = "ride_events", "ride_predictions"
SHARDS = 2
MODELS, REJECTS = "ride-models", "ride-rejects"
BATCH_SIZE = 1000
PER_SECOND = 1000.0
PATIENCE_SECONDS = 60  # without a prediction or a rejection, before it is given up
GLANCE_SECONDS = 0.2


class _Stopped(Exception):
    """Ends the poller, which by itself retries for ever."""


@dataclass(slots=True)
class Progress:
    """What has been seen of a run so far."""

    sent: dict[str, Message] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)


def make(aws: Embedded) -> None:
    """The streams and buckets that a run needs."""
    kinesis, s3 = aws.kinesis(), aws.s3()
    for stream in (RIDE_EVENTS, PREDICTIONS):
        kinesis.create_stream(StreamName=stream, ShardCount=SHARDS)
        kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
    for bucket in (MODELS, REJECTS):
        s3.create_bucket(Bucket=bucket)


def run(
    aws: Embedded,
    handler: Handler,
    messages: Sequence[Message],
    *,
    watch: Callable[[Progress], None],
    per_second: float = PER_SECOND,
    patience: float = PATIENCE_SECONDS,
) -> Progress:
    """Send *messages* and deliver them to *handler*, until all are dealt with.

    It also ends after *patience* seconds in which nothing came out.
    """
    progress = Progress()
    stop = Event()
    kinesis = aws.kinesis()
    described = kinesis.describe_stream_summary(StreamName=RIDE_EVENTS)
    arn = described["StreamDescriptionSummary"]["StreamARN"]
    shards = [Shard(reader.shard_id, reader) for reader in readers(aws.kinesis(), RIDE_EVENTS)]
    outputs, s3 = readers(aws.kinesis(), PREDICTIONS), aws.s3()
    with ThreadPoolExecutor(2) as threads:
        sending = threads.submit(
            producer.send,
            messages,
            producer.put_to(kinesis, RIDE_EVENTS),
            per_second=per_second,
            sent=progress.sent.update,
            stopped=stop.is_set,
        )
        polling = threads.submit(_poll, shards, handler, arn, sending, stop)
        try:
            _watch(outputs, s3, progress, (sending, polling), watch, patience)
        finally:
            stop.set()
    return progress


def arrivals(aws: Embedded) -> dict[str, datetime]:
    """When each record of the input stream arrived, by event id."""
    return {
        event_id(reader.shard_id, record.sequence_number): record.arrived_at
        for reader in readers(aws.kinesis(), RIDE_EVENTS)
        for record in _rest(reader)
    }


def rejections(s3: S3Client, seen: set[str]) -> dict[str, str]:
    """Reasons by event id, of the objects whose keys are not in *seen*, which they join."""
    reasons: dict[str, str] = {}
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=REJECTS)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    for key in keys:
        if key not in seen:
            body = s3.get_object(Bucket=REJECTS, Key=key)["Body"].read()
            reasons |= json.loads(body)["reasons"]
            seen.add(key)
    return reasons


def _poll(
    shards: Sequence[Shard], handler: Handler, stream_arn: str, sending: Future[None], stop: Event
) -> None:
    def finished() -> bool:
        if stop.is_set():
            raise _Stopped
        return sending.done()

    poll(shards, handler, stream_arn=stream_arn, batch_size=BATCH_SIZE, finished=finished)


def _watch(
    outputs: Sequence[Reader],
    s3: S3Client,
    progress: Progress,
    workers: tuple[Future[None], ...],
    watch: Callable[[Progress], None],
    patience: float,
) -> None:
    seen = set[str]()
    last_news = time.monotonic()
    while True:
        silent = time.monotonic() - last_news > patience
        over = silent or all(
            worker.done() for worker in workers
        )  # asked first, then read to the end
        news = [
            Published(json.loads(record.data), record.arrived_at)
            for reader in outputs
            for record in _rest(reader)
        ]
        reasons = rejections(s3, set() if over else seen)
        progress.published += news
        # At the end, what lies there counts alone: a retry may have replaced an object.
        progress.rejected = reasons if over else progress.rejected | reasons
        watch(progress)
        for worker in workers:
            if worker.done():
                worker.result()  # raises what ended it
        if over:
            return
        last_news = time.monotonic() if news or reasons else last_news
        time.sleep(GLANCE_SECONDS)


def _rest(reader: Reader) -> Iterator[Record]:
    while records := reader():
        yield from records
