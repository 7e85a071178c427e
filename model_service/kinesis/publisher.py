"""Publishes entries to a Kinesis stream, and reports exactly which of them were not accepted.

PutRecords may accept some entries of a call and refuse others within one 200.  Only the refused
entries are sent again, with growing pauses, until the deadline; an error that a pause cannot mend
fails its entries at once.  This is the only retry loop of the service: the client itself makes
each call once.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from random import SystemRandom
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from botocore.parsers import ResponseParserError

from ..scoring import TimeLeft

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

MAX_RECORDS = 500  # a PutRecords call; an AWS limit
MAX_BYTES = 5 * 1024 * 1024  # a call, keys included; AWS takes 10 MiB now, some emulators 5
IN_FLIGHT = 4  # calls at once: each waits on the network, not on the processor
PAUSE_SECONDS = 0.05  # before the first retry; doubled for each further one ...
MAX_PAUSE_SECONDS = 2.0  # ... up to here, and then drawn from zero up, so that clones spread

NO_ANSWER = "NoAnswer"
"""The code of entries without an answer of Kinesis: the call failed, is late, or something else
replied."""
NO_TIME = "no time left to publish"

RETRYABLE = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "KMSThrottlingException",
        "ThrottlingException",
        "InternalFailure",
        "InternalFailureException",
        "ServiceUnavailable",
        NO_ANSWER,
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
    refusals: Mapping[str, int] = MappingProxyType({})
    """How often entries were refused, by error code; an entry counts each time it is sent."""


Publish = Callable[[Sequence[Entry], TimeLeft], PublishResult]
"""Publishes entries until the time is up; returns which of them were not accepted."""


def discard(entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
    """A `Publish` for test runs, which publishes nothing."""
    return PublishResult()


class _Refusal(NamedTuple):
    """Why an entry was not accepted."""

    code: str
    shard: str = ""
    """The shard that refused it, where the reply names it."""


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
        waiting, final = set(range(len(entries))), set[int]()
        pause, retries = PAUSE_SECONDS, 0
        seen: list[_Refusal] = []
        while waiting and time_left() > 0:
            refused = self._send(entries, sorted(waiting), threads, time_left)
            seen += refused.values()
            final |= {n for n, refusal in refused.items() if refusal.code not in RETRYABLE}
            waiting = refused.keys() - final
            delay = self.uniform(0, pause)
            if not waiting or delay >= time_left():
                break
            self.sleep(delay)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
            retries += len(waiting)
        if waiting and not seen:
            seen = [_Refusal(NO_TIME)] * len(waiting)
        refusals = Counter(refusal.code for refusal in seen)
        if refusals:
            codes = ", ".join(f"{code} ({count})" for code, count in refusals.most_common())
            shards = ", ".join(sorted({refusal.shard for refusal in seen} - {""}))
            where = f", on {shards}" if shards else ""
            logger.warning("%s refused entries of this batch: %s%s", self.stream, codes, where)
        return PublishResult(frozenset(waiting | final), retries, refusals)

    def _send(
        self,
        entries: Sequence[Entry],
        positions: Sequence[int],
        threads: ThreadPoolExecutor,
        time_left: TimeLeft,
    ) -> dict[int, _Refusal]:
        """Send the entries at *positions* once; the refusals by position."""
        calls = {
            threads.submit(self._put, [entries[n] for n in chunk]): chunk
            for chunk in _chunks(entries, positions)
        }
        done, late = wait(calls, timeout=max(0.0, time_left()))
        # A late call may still succeed; nobody can tell, so its entries count as refused.
        refused = {n: _Refusal(NO_ANSWER) for call in late for n in calls[call]}
        for call in done:
            for n, refusal in zip(calls[call], call.result(), strict=True):
                if refusal is not None:
                    refused[n] = refusal
        return refused

    def _put(self, entries: Sequence[Entry]) -> list[_Refusal | None]:
        """The refusal of each entry, None where it was accepted."""
        try:
            reply = self.client.put_records(
                StreamName=self.stream,
                Records=[{"Data": data, "PartitionKey": key} for key, data in entries],
            )
            refusals = [_refusal(entry) for entry in reply["Records"]]
        except ClientError as exc:
            code = _code(exc)
        except (HTTPClientError, ConnectionError, ResponseParserError):
            code = NO_ANSWER
        except BotoCoreError as exc:  # no credentials, no region: retrying cannot help
            code = type(exc).__name__
        except Exception:  # a reply that is not Kinesis's makes the SDK raise anything
            code = NO_ANSWER
        else:
            if len(refusals) == len(entries):
                return refusals
            code = NO_ANSWER  # the reply did not come from Kinesis
        return [_Refusal(code)] * len(entries)


def _code(exc: ClientError) -> str:
    """The error code of a call that was refused."""
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    code = exc.response.get("Error", {}).get("Code")
    return code if isinstance(code, str) and status < 500 else "InternalFailure"


def _refusal(entry: Any) -> _Refusal | None:
    """Why an entry of a reply was refused; None where it has a sequence number."""
    if not isinstance(entry, dict):
        return _Refusal(NO_ANSWER)
    if code := entry.get("ErrorCode"):
        shard = re.search(r"shardId-\d+", str(entry.get("ErrorMessage")))
        return _Refusal(str(code), shard[0] if shard else "")
    number = entry.get("SequenceNumber")
    return None if isinstance(number, str) and number else _Refusal(NO_ANSWER)


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
