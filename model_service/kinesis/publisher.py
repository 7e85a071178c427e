"""Publishes entries to a Kinesis stream, and reports exactly which entries were not accepted.

A PutRecords call with status 200 may have accepted some of its entries and refused others.  Only
the refused entries are sent again, after increasing pauses, until the deadline.  An entry is not
sent again if its error would occur again.  This is the only retry loop for publishing: the AWS
client makes each call once.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import SystemRandom
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from botocore.parsers import ResponseParserError

from ..scoring import TimeLeft
from .calls import IN_FLIGHT, CallAll, call_in_threads

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

MAX_RECORDS = 500  # per PutRecords call; an AWS limit
MAX_BYTES = 5 * 1024 * 1024  # per call, keys included; AWS's limit is 10 MiB, some emulators' 5
# A pause is random, between zero and a maximum, so that concurrent functions retry at different
# times.
PAUSE_SECONDS = 0.05  # maximum before the first retry; it doubles for each retry ...
MAX_PAUSE_SECONDS = 2.0  # ... up to this value

NO_ANSWER = "NoAnswer"
"""The error code of entries without a reply from Kinesis: the call failed or took too long, or the
reply does not have Kinesis's format."""
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
"""The error codes of entries and calls that may succeed if they are sent again."""

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A record to publish."""

    key: str
    """Partition key."""
    data: bytes


class PublishResult(NamedTuple):
    """The result of publishing entries: the refused entries, the reasons, and the retries."""

    refused: frozenset[int] = frozenset()
    """The positions of the entries that were refused, or may have been refused."""
    retries: int = 0
    """The number of entries that were sent again; an entry counts each time it is sent again."""
    refusals: Mapping[str, int] = MappingProxyType({})
    """How often entries were refused, by error code; an entry counts each time it is refused."""


Publish = Callable[[Sequence[Entry], TimeLeft], PublishResult]
"""A function that publishes entries, retries until the time is up, and returns the result."""


def discard(entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
    """Publish nothing: a `Publish` function for test runs."""
    return PublishResult()


class _Refusal(NamedTuple):
    """The reason why an entry was not accepted."""

    code: str
    shard: str = ""
    """The shard that refused the entry; empty if the reply does not name it."""


def connect(stream: str, *, endpoint_url: str = "") -> KinesisPublisher:
    """Return a publisher to *stream*.

    *endpoint_url* is the endpoint of a Kinesis emulator, or empty for AWS.
    """
    import boto3
    from botocore.config import Config

    once = Config(
        connect_timeout=1,
        read_timeout=5,
        retries={"total_max_attempts": 1},
        max_pool_connections=IN_FLIGHT,
        tcp_keepalive=True,
        parameter_validation=False,  # unnecessary: this module builds all parameters
    )
    client = boto3.client("kinesis", endpoint_url=endpoint_url or None, config=once)
    return KinesisPublisher(client, stream)


@dataclass(frozen=True, slots=True)
class KinesisPublisher:
    """Publishes to one stream: a `Publish` function.  It is a class because it holds a client."""

    client: KinesisClient
    stream: str
    call_all: CallAll = call_in_threads
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = SystemRandom().uniform

    def __call__(self, entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
        """Publish *entries*, and stop when *time_left* returns 0 or less."""
        waiting, final = set(range(len(entries))), set[int]()
        pause, retries = PAUSE_SECONDS, 0
        seen: list[_Refusal] = []
        while waiting and time_left() > 0:
            refused = self._send(entries, sorted(waiting), time_left)
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
        self, entries: Sequence[Entry], positions: Sequence[int], time_left: TimeLeft
    ) -> dict[int, _Refusal]:
        """Send the entries at *positions* once; return the refusals by position."""
        chunks = list(_chunks(entries, positions))
        calls = [partial(self._put, [entries[n] for n in chunk]) for chunk in chunks]
        refused: dict[int, _Refusal] = {}
        for chunk, reply in zip(chunks, self.call_all(calls, time_left()), strict=True):
            # A late call may still succeed.  As nobody knows, its entries count as refused.
            refusals = [_Refusal(NO_ANSWER)] * len(chunk) if reply is None else reply
            refused |= {n: one for n, one in zip(chunk, refusals, strict=True) if one is not None}
        return refused

    def _put(self, entries: Sequence[Entry]) -> list[_Refusal | None]:
        """Send *entries* in one call; return for each entry its refusal, or None if accepted."""
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
        except BotoCoreError as exc:  # for example no credentials: retrying does not help
            code = type(exc).__name__
        except Exception:  # the SDK may raise anything if the reply is not in Kinesis's format
            code = NO_ANSWER
        else:
            if len(refusals) == len(entries):
                return refusals
            code = NO_ANSWER  # the reply did not come from Kinesis
        return [_Refusal(code)] * len(entries)


def _code(exc: ClientError) -> str:
    """Return the error code of a failed call.

    It is `InternalFailure` if Kinesis itself failed, and `NO_ANSWER` if the error is not one of
    Kinesis: botocore then takes the HTTP status for the code.
    """
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    code = exc.response.get("Error", {}).get("Code")
    if status >= 500 or not isinstance(code, str):
        return "InternalFailure"
    return NO_ANSWER if not code or code.isdecimal() else code


def _refusal(entry: Any) -> _Refusal | None:
    """Return the refusal in one entry of a reply; None if the entry has a sequence number."""
    if not isinstance(entry, dict):
        return _Refusal(NO_ANSWER)
    if code := entry.get("ErrorCode"):
        shard = re.search(r"shardId-\d+", str(entry.get("ErrorMessage")))
        return _Refusal(str(code), shard[0] if shard else "")
    number = entry.get("SequenceNumber")
    return None if isinstance(number, str) and number else _Refusal(NO_ANSWER)


def _chunks(entries: Sequence[Entry], positions: Sequence[int]) -> Iterator[list[int]]:
    """Divide *positions* into chunks whose entries fit into one call."""
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
