"""Accounts for a batch of records: decides which ride events are published, rejected or retried.

Rule 1: every ride event gets exactly one *fate*: published, rejected, or to be retried.
Rule 2: Lambda delivers again all records from the lowest sequence number that a consumer reports.
        So a consumer reports at most one number, that of the *checkpoint*: the first record with a
        ride event to retry.  A rejection is no reason to report a record: Lambda would deliver the
        record again and again, and the shard would be blocked.
Rule 3: rejections are kept (stored by `rejects`) before anything is published.  If a ride event was
        not read or not scored in time, no rejections of later records are kept.  If a rejection
        cannot be kept, no event of its record or of a later record is published.  Otherwise those
        events would be published again with every retry, until the rejection can be kept.
Rule 4: Lambda delivers the record of the checkpoint and all later records again, so the rejected
        events in these records are to be retried.  Some of their rejections are already kept, and
        may be kept again.  To count kept rejections, count each model and event id once.
Rule 5: the fate of a ride event does not depend on how the records were divided into batches.
Rule 6: every stage uses at most its share of the invocation's time, and leaves the rest to the
        stages that follow.  If one stage used all the time, no event of the batch would be
        published or kept, and Lambda would deliver the same batch until its records expire.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec import Struct

from ..errors import RideRejected
from ..scoring import TimeLeft
from .records import BatchRange, Record
from .rejects import Keep, Rejection

ANSWER_SECONDS = 0.5  # for answering Lambda; a tenth of the time left if that is less
READ_SHARE = 0.4  # of the time left, for reading records
SCORE_SHARE = 0.5  # of the time left, for scoring and for finding rides that make the model fail
KEEP_SECONDS = 5.0  # for keeping rejections; half of the time left if that is less

UNREAD = "no time left to read the record"
UNSCORED = "no time left to score the ride"
NOT_KEPT = "a rejection could not be kept"

logger = logging.getLogger(__name__)


class Item[T](Struct, frozen=True):
    """One ride event of a batch, with its record and its fate so far.

    This is a msgspec struct, because a batch has thousands of items, and creating a frozen
    dataclass takes five times as long.
    """

    position: int
    """The position of the record in the batch."""
    record: Record
    event_id: str
    fate: T | RideRejected | None
    """The result of the last stage, or the rejection; None if the event is to be retried."""
    retry_reason: str = ""
    """The reason for the retry; empty if there is none, or if the publisher reports it."""

    def to_retry(self, reason: str = "") -> Item[T]:
        return Item(self.position, self.record, self.event_id, None, reason)

    def with_fate[U](self, fate: U | RideRejected | None) -> Item[U]:
        return Item(self.position, self.record, self.event_id, fate, self.retry_reason)


@dataclass(frozen=True, slots=True)
class BatchReport[T]:
    """The fates of all ride events in one batch, and measurements."""

    batch: BatchRange
    published: tuple[T, ...]
    rejected: tuple[Rejection, ...]
    to_retry: tuple[str, ...]
    """The ids of the ride events to retry."""
    checkpoint: str | None
    """The sequence number from which Lambda has to deliver again; None if nothing is to retry."""
    latencies_ms: tuple[float, ...]
    """The time from arrival on the stream to publication, for each item of *published*."""
    published_at: datetime
    publish_retries: int
    retry_reasons: Mapping[str, int]
    """The number of entries that the stream refused, by error code, and the number of ride events
    with a `retry_reason`, by that reason."""
    model_ms: float
    publish_ms: float
    ignored_pickup_times: int = 0
    """Ride events without a pick-up time, but with an unknown field that looks like one."""


def work_time(time_left: TimeLeft) -> TimeLeft:
    """Return a function that returns the seconds left for the work.

    They are the seconds that *time_left* returns, minus those that the answer to Lambda needs.
    """
    answer_seconds = min(ANSWER_SECONDS, time_left() / 10)
    return lambda: time_left() - answer_seconds


def share(part: float, time_left: TimeLeft) -> TimeLeft:
    """Return a function that returns the seconds left to one stage.

    The stage may use the share *part*, from 0 to 1, of the time that *time_left* returns now.
    """
    rest = (1 - part) * time_left()
    return lambda: time_left() - rest


def keep_rejections[T](items: Sequence[Item[T]], keep: Keep, time_left: TimeLeft) -> list[Item[T]]:
    """Keep the rejections before the first record with an item to retry; return the new items.

    If *keep* cannot keep a rejection, all items of its record and of later records are to be
    retried.
    """
    unsettled = checkpoint(items)
    rejected = [
        item for item in items if isinstance(item.fate, RideRejected) and item.position < unsettled
    ]
    if not rejected:
        return list(items)
    rest = max(0.0, time_left() - min(KEEP_SECONDS, time_left() / 2))
    not_kept = keep([rejection(item) for item in rejected], lambda: time_left() - rest)
    first = min((rejected[n].position for n in not_kept), default=END)
    return [item.to_retry(NOT_KEPT) if item.position >= first else item for item in items]


def settle[T](items: Sequence[Item[T]]) -> list[Item[T]]:
    """Return the items with their final fates.

    A rejected item at or after the checkpoint is to be retried, because Lambda will deliver its
    record again.
    """
    first = checkpoint(items)
    return [
        item.to_retry() if isinstance(item.fate, RideRejected) and item.position >= first else item
        for item in items
    ]


END = sys.maxsize
"""The checkpoint of a batch with nothing to retry: a position after that of every record."""


def checkpoint[T](items: Sequence[Item[T]]) -> int:
    """Return the position of the first record with an item to retry; `END` if there is none."""
    return next((item.position for item in items if item.fate is None), END)


def rejection[T](item: Item[T]) -> Rejection:
    """Return the rejection to keep for *item*, whose fate is a `RideRejected`."""
    return Rejection(item.record, item.event_id, str(item.fate))


def retry_reasons[T](items: Sequence[Item[T]], refusals: Mapping[str, int]) -> dict[str, int]:
    """Return how often each reason for a retry occurred.

    *refusals* maps the error codes of refused entries to their counts.  The other reasons are in
    *items*.
    """
    reasons = Counter(item.retry_reason for item in items if item.retry_reason)
    return {**refusals, **reasons}


def warn_if_stuck[T](report: BatchReport[T]) -> None:
    """Log an error if a batch made no progress: all of its events must be retried.

    Lambda will deliver the same batch again.
    """
    if report.to_retry and not report.published and not report.rejected:
        logger.error(
            "nothing of this batch was published or kept; Lambda delivers it again from %s: %s",
            report.checkpoint,
            "; ".join(f"{reason} ({count})" for reason, count in report.retry_reasons.items()),
        )
