"""Kinesis and S3 in memory, to which the function writes, with every failure that they can have.

Both take the place of an AWS client that has already made its own retries.  If a write takes effect
late, the run applies it at that time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from .clock import Clock
from .faults import UNAVAILABLE, Faults
from .ledger import MADE_UP, Batch, Ledger, Violation

URL = "https://endpoint"
LATENCY = 0.01  # seconds of a call
KINESIS_TIMEOUT, S3_TIMEOUT = 5.0, 2.0  # seconds; the read timeouts of the service's clients
MAX_RECORDS, MAX_BYTES, MAX_KEY = 500, 10 * 1024 * 1024, 256  # limits of PutRecords
THROTTLED = "ProvisionedThroughputExceededException"

Later = Callable[[float, Callable[[], None]], None]
"""A function that takes a time, in seconds since 1970, and a function to call at that time."""


def client_error(code: str, status: int, operation: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )


@dataclass(frozen=True, slots=True)
class OutputStream:
    """The stream of predictions during one invocation."""

    clock: Clock
    faults: Faults
    ledger: Ledger
    batch: Batch
    step: Callable[[], None]
    """Called before and after a call takes effect; it may kill the function."""
    later: Later

    def put_records(self, *, StreamName: str, Records: Sequence[Any]) -> Any:
        size = sum(len(entry["Data"]) + len(entry["PartitionKey"]) for entry in Records)
        keys = {len(entry["PartitionKey"]) for entry in Records}
        if not 0 < len(Records) <= MAX_RECORDS or size > MAX_BYTES or max(keys) > MAX_KEY:
            raise client_error("InvalidArgumentException", 400, "PutRecords")
        self.step()
        fault = self.faults.put_records()
        if fault.endswith(("throttled entries", "failed entries", "in part")):
            return self._in_part(fault, Records)
        is_applied = _is_applied(fault)
        if fault == "timed out, applied late":
            late = self.clock.now + self.faults.details.uniform(1, 60)
            self.later(late, lambda: self.ledger.publish(self.batch, Records))
        elif is_applied:
            self.ledger.publish(self.batch, Records)
        self.clock.advance(_seconds(fault, KINESIS_TIMEOUT, self.faults))
        self.step()
        answers: list[Any] = [_accepted(n) for n in range(len(Records))]
        if not fault or fault == "slower than the deadline, applied":
            return {"Records": answers}
        if fault == "too few answers":
            return {"Records": answers[:-1]}
        if fault == "too many answers":
            return {"Records": [*answers, answers[0]]}
        if fault == "answers without sequence numbers":
            empty = self.faults.details.choice(
                [{}, {"SequenceNumber": None}, {"ShardId": "0"}, None]
            )
            return {"Records": [empty] * len(Records)}
        if fault == "foreign answer":
            return self.faults.details.choice(
                [None, [], {}, {"Records": None}, "<html>", {"Records": []}]
            )
        if fault == "throttled call":
            raise client_error(THROTTLED, 400, "PutRecords")
        raise _error(fault, "PutRecords", self.faults)

    def _in_part(self, fault: str, records: Sequence[Any]) -> Any:
        """Accept only some of *records*."""
        accepted = [self.faults.details.random() < 0.5 for _ in records]
        kept = [record for record, is_in in zip(records, accepted, strict=True) if is_in]
        if kept:
            self.ledger.publish(self.batch, kept)
        self.clock.advance(LATENCY)
        self.step()
        if fault == "503 after it applied in part":
            raise client_error("ServiceUnavailable", 503, "PutRecords")
        code = THROTTLED if fault == "throttled entries" else "InternalFailure"
        refused = {"ErrorCode": code, "ErrorMessage": "shard shardId-000000000007 in 000000000000"}
        return {"Records": [_accepted(n) if is_in else refused for n, is_in in enumerate(accepted)]}


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket of rejected records during one invocation."""

    clock: Clock
    faults: Faults
    ledger: Ledger
    batch: Batch
    step: Callable[[], None]
    later: Later

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> Any:
        if Bucket != "rejects":
            raise Violation(MADE_UP, f"an object is written to the bucket {Bucket}")
        self.step()
        fault = self.faults.put_object()
        if fault == "timed out, applied late":
            late = self.clock.now + self.faults.details.uniform(1, 60)
            self.later(late, lambda: self.ledger.keep(self.batch, Key, Body))
        elif _is_applied(fault):
            self.ledger.keep(self.batch, Key, Body)
        self.clock.advance(_seconds(fault, S3_TIMEOUT, self.faults))
        self.step()
        if not fault or fault == "slower than the deadline, applied":
            return {"ETag": '"etag"'}
        if fault == "foreign answer":
            return self.faults.details.choice([None, {}, {"ETag": ""}, {"ETag": None}, "<html>"])
        if fault == "SlowDown":
            raise client_error("SlowDown", 503, "PutObject")
        raise _error(fault, "PutObject", self.faults)


def _accepted(number: int) -> dict[str, str]:
    return {"SequenceNumber": f"4{number}", "ShardId": "shardId-000000000000"}


def _is_applied(fault: str) -> bool:
    """Return whether a call with this fault takes effect at once."""
    return (
        not fault
        or fault.endswith(("after it applied", ", applied"))
        or fault in ("truncated answer", "too few answers", "too many answers")
    )


def _seconds(fault: str, timeout: float, faults: Faults) -> float:
    """Return how long a call with this fault takes."""
    if fault.startswith("slower"):
        return faults.details.uniform(1, 90)
    if fault.startswith("timed out"):
        return timeout
    if fault == UNAVAILABLE:
        return faults.details.choice([LATENCY, LATENCY, timeout])
    return LATENCY


def _error(fault: str, operation: str, faults: Faults) -> Exception:
    """Return the exception that a call with this fault raises."""
    if fault == "denied":
        return client_error("AccessDeniedException", 400, operation)
    if fault.startswith("500"):
        return client_error("InternalFailure", 500, operation)
    if fault.startswith(("reset", "slower")):
        kinds = (ConnectionClosedError, EndpointConnectionError)
        return faults.details.choice(kinds)(endpoint_url=URL)
    if fault.startswith("timed out"):
        return ReadTimeoutError(endpoint_url=URL)
    if fault == "truncated answer":
        return ResponseParserError("Unable to parse response")
    if fault == UNAVAILABLE:
        return faults.details.choice(
            [
                client_error("ServiceUnavailable", 503, operation),
                EndpointConnectionError(endpoint_url=URL),
            ]
        )
    raise AssertionError(f"no such fault: {fault}")
