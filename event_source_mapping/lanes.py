"""The state machine of one lane, which delivers its records in order, one batch at a time.

A shard has as many lanes as the parallelization factor.  A lane is in one of these states:

    empty      no record is waiting
    gathering  records are in `queue`, and the batching window is open
    due        `batches` is not empty, and the first batch is invoked at its `not_before`
    invoking   the function has the first batch

`batches` is a stack.  It has more than one entry only after a split: the left half is delivered
first, and then the right half.  The records in `queue` follow after all batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from math import inf

from .assumed import (
    AGE_ENDS_A_WAIT_ASSUMED,
    LONGEST_PAUSE_ASSUMED,
    PAUSE_AFTER_PROGRESS_ASSUMED,
    PAUSE_GROWTH_ASSUMED,
    REST_AFTER_EXPIRY_IS_NEW_ASSUMED,
    SPLIT_WITHOUT_RETRIES_ASSUMED,
)
from .decisions import (
    AGE_EXCEEDED,
    RETRIES_EXHAUSTED,
    Decision,
    Discard,
    Expired,
    Invoke,
    Progressed,
    Retry,
    Split,
    Succeeded,
)
from .records import PAYLOAD_BYTES, Record
from .settings import UNLIMITED, Settings

FIRST_PAUSE = 0.2  # seconds before the first retry; recorded
HOUR = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that are delivered together, and the number of attempts that had no success."""

    records: tuple[Record, ...]
    request: int
    attempts: int = 0
    """The number of failed attempts; each of them except the first has spent a retry."""
    throttles: int = 0
    """The number of attempts that did not reach the function; they spend no retries."""
    not_before: float = -inf

    @property
    def too_large(self) -> bool:
        """Return whether the batch, which then has one record, is too large for any invocation."""
        return len(self.records) == 1 and self.records[0].event_bytes > PAYLOAD_BYTES


@dataclass(frozen=True, slots=True)
class Lane:
    """The unresolved records of a lane, in the order of the shard."""

    queue: tuple[Record, ...] = ()
    queue_bytes: int = 0
    opened_at: float | None = None
    """The time at which the batching window was opened; None if it is not open."""
    batches: tuple[Batch, ...] = ()
    invoking: bool = False


@dataclass(slots=True)
class Turn:
    """The state of one call of `core.step` for one shard.

    It has the input of the call, and collects the decisions and the records that were resolved.
    """

    settings: Settings
    shard_id: str
    now: float
    requests: Iterator[int]
    """Yields the numbers of new request ids."""
    decisions: list[Decision] = field(default_factory=list)
    invocations: list[Invoke] = field(default_factory=list)
    resolved: list[Record] = field(default_factory=list)


def arrive(lane: Lane, records: tuple[Record, ...]) -> Lane:
    """Return *lane* with *records* at the end of its queue."""
    if not records:
        return lane
    size = sum([record.event_bytes for record in records])
    return Lane(
        lane.queue + records,
        lane.queue_bytes + size,
        lane.opened_at,
        lane.batches,
        lane.invoking,
    )


def proceed(lane: Lane, number: int, turn: Turn) -> Lane:
    """Advance *lane* until it waits for records, a time or the function.

    *number* is the number of the lane.  The decisions are added to *turn*.
    """
    while not lane.invoking:
        if not lane.batches:
            if lane.queue and lane.opened_at is None:
                lane = Lane(lane.queue, lane.queue_bytes, opened_at=turn.now)
            if turn.now < _closes_at(lane, turn.settings):
                return lane
            lane = _form(lane, turn)
        if turn.now < wakes_at(lane, turn.settings):
            return lane
        batch = lane.batches[0]
        if turn.now >= expires_at(batch.records[0], turn.settings):
            lane = _expire(lane, number, turn)
        elif batch.too_large:
            lane = _spend(lane, number, turn, cause="too large", function_error=None)
        else:
            turn.invocations.append(
                Invoke(turn.shard_id, number, batch.request, batch.attempts + 1, batch.records)
            )
            lane = Lane(lane.queue, lane.queue_bytes, None, lane.batches, invoking=True)
    return lane


def wakes_at(lane: Lane, settings: Settings) -> float:
    """Return the time at which *lane* continues by itself; infinity if it waits for an event."""
    if lane.invoking:
        return inf
    if not lane.batches:
        return _closes_at(lane, settings)
    batch = lane.batches[0]
    if not AGE_ENDS_A_WAIT_ASSUMED:
        return batch.not_before
    return min(batch.not_before, expires_at(batch.records[0], settings))


def respond(
    lane: Lane, number: int, turn: Turn, *, done: int, function_error: str | None = None
) -> Lane:
    """Return *lane* after an invocation that processed the first *done* records of its batch.

    *number* is the number of the lane, and *function_error* is the error of a failed invocation.
    """
    batch, rest = lane.batches[0], lane.batches[1:]
    head, tail = batch.records[:done], batch.records[done:]
    turn.resolved += head
    if not tail:
        turn.decisions.append(Succeeded(turn.shard_id, number, batch.request, head))
        return _with_batches(lane, rest)
    if head:
        turn.decisions.append(Progressed(turn.shard_id, number, batch.request, head, tail))
        due = turn.now + PAUSE_AFTER_PROGRESS_ASSUMED
        renewed = Batch(tail, next(turn.requests), not_before=due)
        return _with_batches(lane, (renewed, *rest))
    if len(tail) > 1 and _splits(turn.settings):
        middle = len(tail) // 2
        left, right = tail[:middle], tail[middle:]
        turn.decisions.append(Split(turn.shard_id, number, batch.request, left, right))
        halves = (Batch(left, next(turn.requests)), Batch(right, next(turn.requests)))
        return _with_batches(lane, (*halves, *rest))
    return _spend(lane, number, turn, cause="failed", function_error=function_error)


def throttle(lane: Lane, number: int, turn: Turn) -> Lane:
    """Return *lane* after an invocation that did not reach the function.

    *number* is the number of the lane.  The decisions are added to *turn*.
    """
    batch = lane.batches[0]
    return _later(lane, replace(batch, throttles=batch.throttles + 1), number, turn, "throttled")


def expires_at(record: Record, settings: Settings) -> float:
    """Return the time after which *record* is no longer delivered, in seconds since 1970."""
    kept = record.arrived_at + settings.retention_period_hours * HOUR
    if settings.maximum_record_age_in_seconds == UNLIMITED:
        return kept
    return min(kept, record.arrived_at + settings.maximum_record_age_in_seconds)


def pause(tries: int) -> float:
    """Return the seconds between attempt number *tries*, counted from 1, and the next attempt.

    >>> [pause(tries) for tries in (1, 2, 3, 20)]
    [0.2, 0.4, 0.8, 60.0]
    """
    grown = FIRST_PAUSE * PAUSE_GROWTH_ASSUMED ** min(tries - 1, 60)
    return min(grown, LONGEST_PAUSE_ASSUMED)


def _with_batches(lane: Lane, batches: tuple[Batch, ...]) -> Lane:
    """Return *lane* with other *batches*, none of which is being invoked."""
    return Lane(lane.queue, lane.queue_bytes, batches=batches)


def _splits(settings: Settings) -> bool:
    left = settings.maximum_retry_attempts != 0 or SPLIT_WITHOUT_RETRIES_ASSUMED
    return settings.bisect_batch_on_function_error and left


def _closes_at(lane: Lane, settings: Settings) -> float:
    """Return the time at which the records in the queue become a batch."""
    if not lane.queue:
        return inf
    if lane.opened_at is None:
        return -inf
    if len(lane.queue) >= settings.batch_size or lane.queue_bytes > PAYLOAD_BYTES:
        return -inf
    closes = lane.opened_at + settings.maximum_batching_window_in_seconds
    if not AGE_ENDS_A_WAIT_ASSUMED:
        return closes
    return min(closes, expires_at(lane.queue[0], settings))


def _form(lane: Lane, turn: Turn) -> Lane:
    """Return *lane* with a batch from the start of its queue.

    A batch has at most `batch_size` records, and at most `PAYLOAD_BYTES` bytes as an event.  A
    record that is larger than this is a batch of its own.
    """
    if lane.queue_bytes <= PAYLOAD_BYTES and len(lane.queue) <= turn.settings.batch_size:
        return Lane(batches=(Batch(lane.queue, next(turn.requests)),))
    size = length = 0
    for record in lane.queue[: turn.settings.batch_size]:
        if length and size + record.event_bytes > PAYLOAD_BYTES:
            break
        size += record.event_bytes
        length += 1
    return Lane(
        queue=lane.queue[length:],
        queue_bytes=lane.queue_bytes - size,
        batches=(Batch(lane.queue[:length], next(turn.requests)),),
    )


def _expire(lane: Lane, number: int, turn: Turn) -> Lane:
    """Return *lane* without the records at the start of its batch that have reached their limit."""
    batch, others = lane.batches[0], lane.batches[1:]
    old = tuple(takewhile(lambda r: turn.now >= expires_at(r, turn.settings), batch.records))
    rest = batch.records[len(old) :]
    turn.resolved += old
    turn.decisions.append(
        Discard(
            turn.shard_id,
            number,
            batch.request,
            old,
            AGE_EXCEEDED,
            invoke_count=max(1, batch.attempts),
            responded=False,
            function_error=None,
        )
        if _age_ends_first(turn.settings)
        else Expired(turn.shard_id, number, batch.request, old)
    )
    if not rest:
        return _with_batches(lane, others)
    if REST_AFTER_EXPIRY_IS_NEW_ASSUMED:
        return _with_batches(lane, (Batch(rest, next(turn.requests)), *others))
    return _with_batches(lane, (replace(batch, records=rest), *others))


def _age_ends_first(settings: Settings) -> bool:
    """Return whether records reach their age limit before they leave the stream."""
    age = settings.maximum_record_age_in_seconds
    return age != UNLIMITED and age <= settings.retention_period_hours * HOUR


def _spend(lane: Lane, number: int, turn: Turn, *, cause: str, function_error: str | None) -> Lane:
    """Return *lane* after a failed attempt: its batch has spent a retry, or is discarded."""
    batch = replace(lane.batches[0], attempts=lane.batches[0].attempts + 1)
    retries = turn.settings.maximum_retry_attempts
    if retries == UNLIMITED or batch.attempts <= retries:
        return _later(lane, batch, number, turn, cause)
    turn.resolved += batch.records
    turn.decisions.append(
        Discard(
            turn.shard_id,
            number,
            batch.request,
            batch.records,
            RETRIES_EXHAUSTED,
            invoke_count=batch.attempts,
            responded=cause == "failed",
            function_error=function_error,
        )
    )
    return _with_batches(lane, lane.batches[1:])


def _later(lane: Lane, batch: Batch, number: int, turn: Turn, cause: str) -> Lane:
    """Return *lane* with its first batch due again after a pause."""
    due = turn.now + pause(batch.attempts + batch.throttles)
    turn.decisions.append(
        Retry(turn.shard_id, number, batch.request, batch.attempts, due, batch.records, cause)
    )
    return _with_batches(lane, (replace(batch, not_before=due), *lane.batches[1:]))
