"""Publishes entries to a Kinesis stream, and reports exactly which of them were not accepted.

PutRecords may accept some entries of a call and refuse others within one 200.  Only the refused
entries are sent again, with growing pauses, until the deadline; an error that a pause cannot mend
fails its entries at once.  This is the only retry loop of the service: the client itself makes
each call once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from ..scoring import TimeLeft

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

MAX_RECORDS = 500  # a PutRecords call; an AWS limit
MAX_BYTES = 5 * 1024 * 1024  # a call, keys included; AWS takes 10 MiB now, some emulators 5
IN_FLIGHT = 4  # calls at once: each waits on the network, not on the processor
PAUSE_SECONDS = 0.05  # before the first retry; doubled for each further one ...
MAX_PAUSE_SECONDS = 2.0  # ... up to here, and then drawn from zero up, so that clones spread

RETRYABLE = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "KMSThrottlingException",
        "ThrottlingException",
        "InternalFailure",
        "InternalFailureException",
        "ServiceUnavailable",
    }
)
"""Error codes of entries and calls that may succeed when sent again."""

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A record to publish."""

    key: str
    """Partition key."""
    data: bytes


class PublishResult(NamedTuple):
    """Which entries of a sequence were accepted."""

    refused: frozenset[int] = frozenset()
    """Positions of the entries that are not known to be on the stream."""
    retries: int = 0
    """The number of entries that were sent again."""


Publish = Callable[[Sequence[Entry], TimeLeft], PublishResult]
"""Publishes entries until the time is up; returns which of them were not accepted."""


def discard(entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
    """A `Publish` for test runs, which publishes nothing."""
    return PublishResult()


class _Refused(NamedTuple):
    retryable: set[int]
    final: set[int]


def connect(stream: str, *, endpoint_url: str = "") -> KinesisPublisher:
    """A publisher to *stream*; *endpoint_url* is another Kinesis endpoint than AWS's."""
    import boto3
    from botocore.config import Config

    once = Config(
        connect_timeout=1,
        read_timeout=5,
        retries={"total_max_attempts": 1},
        max_pool_connections=IN_FLIGHT,
        tcp_keepalive=True,
        parameter_validation=False,  # unnecessary: this module makes the entries
    )
    client = boto3.client("kinesis", endpoint_url=endpoint_url or None, config=once)
    return KinesisPublisher(client, stream)


@dataclass(frozen=True, slots=True)
class KinesisPublisher:
    """A `Publish` to one stream; a class because it holds a client."""

    client: KinesisClient
    stream: str
    in_flight: int = IN_FLIGHT
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = SystemRandom().uniform

    def __call__(self, entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
        """Publish *entries*, stopping when *time_left* allows no more."""
        threads = ThreadPoolExecutor(self.in_flight)
        try:
            return self._publish(entries, threads, time_left)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # a call may be stuck

    def _publish(
        self, entries: Sequence[Entry], threads: ThreadPoolExecutor, time_left: TimeLeft
    ) -> PublishResult:
        refused = _Refused(set(range(len(entries))), set())
        pause, retries = PAUSE_SECONDS, 0
        while refused.retryable and time_left() > 0:
            again = self._send(entries, sorted(refused.retryable), threads, time_left)
            refused = _Refused(again.retryable, refused.final | again.final)
            delay = self.uniform(0, pause)
            if not refused.retryable or delay >= time_left():
                break
            self.sleep(delay)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
            retries += len(refused.retryable)
        return PublishResult(frozenset(refused.retryable | refused.final), retries)

    def _send(
        self,
        entries: Sequence[Entry],
        positions: Sequence[int],
        threads: ThreadPoolExecutor,
        time_left: TimeLeft,
    ) -> _Refused:
        calls = {
            threads.submit(self._put, [entries[n] for n in chunk]): chunk
            for chunk in _chunks(entries, positions)
        }
        done, late = wait(calls, timeout=max(0.0, time_left()))
        # A late call may still succeed; nobody can tell, so its entries count as refused.
        refused = _Refused({position for call in late for position in calls[call]}, set())
        for call in done:
            for position, code in zip(calls[call], call.result(), strict=True):
                if code is not None:
                    (refused.retryable if code in RETRYABLE else refused.final).add(position)
        return refused

    def _put(self, entries: Sequence[Entry]) -> list[str | None]:
        """The error code of each entry, None where it was accepted."""
        try:
            reply = self.client.put_records(
                StreamName=self.stream,
                Records=[{"Data": data, "PartitionKey": key} for key, data in entries],
            )
        except ClientError as exc:
            code = exc.response["Error"]["Code"]
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                code = "InternalFailure"
        except (HTTPClientError, ConnectionError) as exc:
            logger.warning("PutRecords got no answer: %s", type(exc).__name__)
            code = "ServiceUnavailable"
        except BotoCoreError as exc:  # no credentials, no region: retrying cannot help
            code = type(exc).__name__
        else:
            codes = [entry.get("ErrorCode") for entry in reply.get("Records", [])]
            if len(codes) == len(entries):
                return codes
            code = "ServiceUnavailable"  # the reply did not come from Kinesis
        logger.warning("PutRecords failed: %s", code)
        return [code] * len(entries)


def _chunks(entries: Sequence[Entry], positions: Sequence[int]) -> Iterator[list[int]]:
    """*positions* in chunks that fit into one call each."""
    chunk: list[int] = []
    size = 0
    for position in positions:
        entry = entries[position]
        more = len(entry.data) + len(entry.key.encode())
        if chunk and (len(chunk) == MAX_RECORDS or size + more > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(position)
        size += more
    if chunk:
        yield chunk
