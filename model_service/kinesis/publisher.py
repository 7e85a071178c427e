"""Sends predictions to a Kinesis stream, and says exactly which of them are not there.

PutRecords may accept some entries of a call and refuse others, within one 200.  The refused are
sent again, and only they, with growing pauses, until the deadline; an error that no pause will
mend fails its entries at once.  This is the only retry loop of the service: the client itself
makes each call once.
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

from ..rides import Prediction, encode, event_of
from ..scoring import TimeLeft

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

MAX_RECORDS = 500  # a PutRecords call; an AWS limit
MAX_BYTES = 5 * 1024 * 1024  # a call, keys included; AWS takes 10 MiB now, some emulators 5
IN_FLIGHT = 4  # calls at once: each waits on the network, not on the processor
PAUSE_SECONDS = 0.05  # before the first retry; doubled for each further one ...
MAX_PAUSE_SECONDS = 2.0  # ... up to here, and then drawn from zero up, so that clones spread

PASSING = frozenset(
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


class Published(NamedTuple):
    """What became of a sequence of predictions."""

    refused: frozenset[int] = frozenset()
    """Positions of those that are not known to be on the stream."""
    retries: int = 0
    """How many entries were sent again."""


Publish = Callable[[Sequence[Prediction], TimeLeft], Published]


def discard(predictions: Sequence[Prediction], time_left: TimeLeft) -> Published:
    """Publishes nothing: for test runs."""
    return Published()


class _Entry(NamedTuple):
    key: str
    data: bytes


class _Refused(NamedTuple):
    passing: set[int]
    for_good: set[int]


def connect(stream: str, *, endpoint_url: str = "") -> KinesisPublisher:
    """A publisher to *stream*, at *endpoint_url* where AWS is not meant."""
    import boto3
    from botocore.config import Config

    once = Config(
        connect_timeout=1,
        read_timeout=5,
        retries={"total_max_attempts": 1},
        max_pool_connections=IN_FLIGHT,
        tcp_keepalive=True,
        parameter_validation=False,  # of no use for entries that we make ourselves
    )
    client = boto3.client("kinesis", endpoint_url=endpoint_url or None, config=once)
    return KinesisPublisher(client, stream)


@dataclass(frozen=True, slots=True)
class KinesisPublisher:
    """A `Publish`; a class because it holds a client."""

    client: KinesisClient
    stream: str
    in_flight: int = IN_FLIGHT
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = SystemRandom().uniform

    def __call__(self, predictions: Sequence[Prediction], time_left: TimeLeft) -> Published:
        """Publish *predictions*, stopping when *time_left* allows no more."""
        entries = [_Entry(str(p.ride_id), encode(event_of(p))) for p in predictions]
        threads = ThreadPoolExecutor(self.in_flight)
        try:
            return self._publish(entries, threads, time_left)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # a call may be stuck

    def _publish(
        self, entries: Sequence[_Entry], threads: ThreadPoolExecutor, time_left: TimeLeft
    ) -> Published:
        refused = _Refused(set(range(len(entries))), set())
        pause, retries = PAUSE_SECONDS, 0
        while refused.passing and time_left() > 0:
            again = self._send(entries, sorted(refused.passing), threads, time_left)
            refused = _Refused(again.passing, refused.for_good | again.for_good)
            delay = self.uniform(0, pause)
            if not refused.passing or delay >= time_left():
                break
            self.sleep(delay)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
            retries += len(refused.passing)
        return Published(frozenset(refused.passing | refused.for_good), retries)

    def _send(
        self,
        entries: Sequence[_Entry],
        positions: Sequence[int],
        threads: ThreadPoolExecutor,
        time_left: TimeLeft,
    ) -> _Refused:
        calls = {
            threads.submit(self._put, [entries[n] for n in chunk]): chunk
            for chunk in _chunks(entries, positions)
        }
        done, late = wait(calls, timeout=max(0.0, time_left()))
        # What is late may still arrive. Nobody knows, so it counts as refused.
        refused = _Refused({position for call in late for position in calls[call]}, set())
        for call in done:
            for position, code in zip(calls[call], call.result(), strict=True):
                if code is not None:
                    (refused.passing if code in PASSING else refused.for_good).add(position)
        return refused

    def _put(self, entries: Sequence[_Entry]) -> list[str | None]:
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
        except BotoCoreError as exc:  # no credentials, no region: no pause will mend it
            code = type(exc).__name__
        else:
            codes = [entry.get("ErrorCode") for entry in reply.get("Records", [])]
            if len(codes) == len(entries):
                return codes
            code = "ServiceUnavailable"  # whoever answered was not Kinesis
        logger.warning("PutRecords failed: %s", code)
        return [code] * len(entries)


def _chunks(entries: Sequence[_Entry], positions: Sequence[int]) -> Iterator[list[int]]:
    """*positions* in runs that one call may carry."""
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
