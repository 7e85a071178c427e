"""The decisions of the core.

`Open`, `Invoke`, `Discard` and `Checkpoint` ask the driver to do something.  All other decisions
say what has happened; a driver may show them, and need not do anything else.
"""

from __future__ import annotations

from dataclasses import dataclass

from .records import Record

RETRIES_EXHAUSTED, AGE_EXCEEDED = "RetryAttemptsExhausted", "RecordAgeExceeded"


@dataclass(frozen=True, slots=True)
class Open:
    """Start to read a shard: after *sequence_number* if it is given, otherwise from *position*."""

    shard_id: str
    position: str
    """``TRIM_HORIZON`` or ``LATEST``."""
    sequence_number: str | None = None


@dataclass(frozen=True, slots=True)
class Invoke:
    """Invoke the function with *records*, and report `Answered`, `Failed` or `Throttled`."""

    shard_id: str
    lane: int
    request: int
    """The number of the request id; it stays the same if an unchanged batch is retried."""
    attempt: int
    """The number of this invocation of the batch, counted from 1; throttles do not count."""
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Discard:
    """Send a message about *records* to the destination, if there is one."""

    shard_id: str
    lane: int
    request: int
    records: tuple[Record, ...]
    condition: str
    """`RETRIES_EXHAUSTED` or `AGE_EXCEEDED`."""
    invoke_count: int
    """The approximateInvokeCount of the message; it is 1 if the function was not invoked."""
    responded: bool
    """Whether the message has a `responseContext`."""
    function_error: str | None
    """``Unhandled`` if the function raised an exception in the last invocation; it is part of the
    `responseContext`."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All records of the shard up to and including *sequence_number* are resolved."""

    shard_id: str
    sequence_number: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The function processed all *records* of a batch."""

    shard_id: str
    lane: int
    request: int
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Progressed:
    """The function processed the records *done*; *rest* is a new batch, which is due at once."""

    shard_id: str
    lane: int
    request: int
    done: tuple[Record, ...]
    rest: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """A failed batch is split in halves, which are two new batches; *left* is due at once."""

    shard_id: str
    lane: int
    request: int
    left: tuple[Record, ...]
    right: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """The same batch is due again at the time *at*: attempt number *attempt* had no success."""

    shard_id: str
    lane: int
    request: int
    attempt: int
    at: float
    records: tuple[Record, ...]
    cause: str
    """``failed``, ``throttled`` or ``too large``."""


@dataclass(frozen=True, slots=True)
class Expired:
    """*records* have left the stream, because its retention period is over, and are lost."""

    shard_id: str
    lane: int
    request: int
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """A closed shard has no more records; its children may be read."""

    shard_id: str


Decision = (
    Open
    | Invoke
    | Discard
    | Checkpoint
    | Succeeded
    | Progressed
    | Split
    | Retry
    | Expired
    | Finished
)
