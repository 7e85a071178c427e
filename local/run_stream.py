"""Streams rides through a function: a producer, an event source mapping, a reader of the results.

The producer and the mapping run in separate threads.  The calling thread reads the output stream
and the rejects bucket.  An error in any of the three ends the run.  The mapping has the settings of
the scorer in `template.yaml`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING, Any

from event_source_mapping import threads
from event_source_mapping.destinations import deliver_to
from event_source_mapping.faults import faulty, recurring
from event_source_mapping.functions import Handler, in_process, one_at_a_time
from event_source_mapping.identity import Identity
from event_source_mapping.kinesis import KinesisSource

from . import sending
from .aws.kinesis_reader import Reader, Record, event_id, readers
from .aws.lambda_api import ARN
from .aws.server import Embedded
from .messages import Message
from .template import scorer_settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RIDE_EVENTS, PREDICTIONS = "ride_events", "ride_predictions"
SHARDS = 2
MODELS, REJECTS = "ride-models", "ride-rejects"
PER_SECOND = 1000.0
FAILURE_EVERY, SMALL_BATCH = 3, 100  # for runs with failures
PATIENCE_SECONDS = 60  # the run ends after this time without a prediction or a rejection
READ_SECONDS = 0.2  # between two reads of the results
POLL_SECONDS = 0.02  # between two reads of the ride events


@dataclass(frozen=True, slots=True)
class Published:
    """A prediction event on the output stream, and the time at which it arrived there."""

    event: Mapping[str, Any]
    arrived_at: datetime

    @property
    def event_id(self) -> str:
        return str(self.event["source"]["event_id"])

    @property
    def ride_id(self) -> str:
        return str(self.event["prediction"]["ride_id"])

    @property
    def minutes(self) -> float:
        return float(self.event["prediction"]["ride_duration"])

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.event["model"], self.event["version"], self.event_id


@dataclass(slots=True)
class StreamProgress:
    """The records that a run has sent so far, and the results that it has read."""

    sent: dict[str, Message] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    """Event id -> the reason for its rejection."""
    failures: Counter[str] = field(default_factory=Counter)
    """Kind of failure -> the number of invocations that were made to fail in this way."""

    @property
    def predicted(self) -> int:
        """The number of rides with a prediction, which may have been published several times."""
        return len({each.event_id for each in self.published})


def create_resources(aws: Embedded) -> None:
    """Create the streams and the buckets that a run needs."""
    kinesis, s3 = aws.kinesis(), aws.s3()
    for stream in (RIDE_EVENTS, PREDICTIONS):
        kinesis.create_stream(StreamName=stream, ShardCount=SHARDS)
    for bucket in (MODELS, REJECTS):
        s3.create_bucket(Bucket=bucket)
    wait_for_streams(aws)


def wait_for_streams(aws: Embedded) -> None:
    """Wait until both streams can be used."""
    waiter = aws.kinesis().get_waiter("stream_exists")
    for stream in (RIDE_EVENTS, PREDICTIONS):
        waiter.wait(StreamName=stream, WaiterConfig={"Delay": 1})


def run(
    aws: Embedded,
    handler: Handler,
    messages: Sequence[Message],
    *,
    on_progress: Callable[[StreamProgress], None],
    per_second: float = PER_SECOND,
    patience: float = PATIENCE_SECONDS,
    with_failures: bool = False,
) -> StreamProgress:
    """Send *messages* and deliver them to *handler* until all of them are processed.

    Sends *per_second* messages a second, and calls *on_progress* when there are new results.  The
    run also ends after *patience* seconds without a new result.

    *with_failures* makes one in `FAILURE_EVERY` invocations fail, in turn in each way of
    `event_source_mapping.faults`.  Batches are then small, so that each way occurs.
    """
    progress, stop = StreamProgress(), Event()
    with ThreadPoolExecutor(2) as workers:
        producing = workers.submit(
            sending.send,
            messages,
            sending.put_to(aws.kinesis(), RIDE_EVENTS),
            per_second=per_second,
            sent=progress.sent.update,
            stopped=stop.is_set,
        )
        delivering = workers.submit(
            deliver,
            aws,
            handler,
            stop=stop,
            finished=producing.done,
            on_failure=(lambda kind: progress.failures.update([kind])) if with_failures else None,
            **({"batch_size": SMALL_BATCH} if with_failures else {}),
        )
        try:
            _read_results(aws, progress, (producing, delivering), on_progress, patience)
        finally:
            stop.set()
    return progress


def deliver(
    aws: Embedded,
    handler: Handler,
    *,
    stop: Event,
    finished: Callable[[], bool] = lambda: False,
    idle: float = POLL_SECONDS,
    on_failure: Callable[[str], object] | None = None,
    **settings: Any,
) -> None:
    """Deliver ride events to *handler* until *finished* returns True and all are processed.

    Setting *stop* ends the delivery at once.  *idle* is the time in seconds between two reads
    without new records.  *settings* replace those of the template.  There is one instance of the
    function, so invocations do not overlap.

    If *on_failure* is given, invocations are made to fail, and it is called with each kind of
    failure.
    """
    mapping, timeout = scorer_settings(REJECTS, **settings)
    source = KinesisSource(aws.kinesis(), RIDE_EVENTS)
    names = Identity(source.arn, ARN)
    function = one_at_a_time(in_process(handler, names, timeout))
    target = mapping.destination
    threads.run(
        function if on_failure is None else faulty(function, recurring(FAILURE_EVERY), on_failure),
        source,
        mapping,
        names,
        deliver=None if target is None else deliver_to(target, names, aws.s3()),
        finished=finished,
        stop=stop,
        idle=idle,
    )


def arrivals(aws: Embedded) -> dict[str, datetime]:
    """Return the time of arrival of each record on the input stream, by event id."""
    return {
        event_id(reader.shard_id, record.sequence_number): record.arrived_at
        for reader in readers(aws.kinesis(), RIDE_EVENTS)
        for record in _rest(reader)
    }


def rejections(s3: S3Client, seen: set[str]) -> dict[str, str]:
    """Return the reasons for the rejections in the rejects bucket, by event id.

    Objects whose keys are in *seen* are not read.  The keys of the objects that are read now are
    added to *seen*.
    """
    reasons: dict[str, str] = {}
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=REJECTS)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    for key in keys:
        if key not in seen:
            body = s3.get_object(Bucket=REJECTS, Key=key)["Body"].read()
            # A batch that the mapping gave up on has no reasons.
            reasons |= json.loads(body).get("reasons", {})
            seen.add(key)
    return reasons


def _read_results(
    aws: Embedded,
    progress: StreamProgress,
    workers: tuple[Future[None], ...],
    on_progress: Callable[[StreamProgress], None],
    patience: float,
) -> None:
    outputs, s3 = readers(aws.kinesis(), PREDICTIONS), aws.s3()
    seen = set[str]()
    last_result = time.monotonic()
    while True:
        impatient = time.monotonic() - last_result > patience
        # Checked before reading, so that the last round reads all results.
        over = impatient or all(worker.done() for worker in workers)
        published = [
            Published(json.loads(record.data), record.arrived_at)
            for reader in outputs
            for record in _rest(reader)
        ]
        reasons = rejections(s3, set() if over else seen)
        progress.published += published
        # The last round reads every object again, because a retry may have replaced some of them.
        progress.rejected = reasons if over else progress.rejected | reasons
        on_progress(progress)
        for worker in workers:
            if worker.done():
                worker.result()  # raises the error that ended the worker
        if over:
            return
        last_result = time.monotonic() if published or reasons else last_result
        time.sleep(READ_SECONDS)


def _rest(reader: Reader) -> Iterator[Record]:
    while records := reader():
        yield from records
