"""The account of a batch: every ride event of it has exactly one fate.

Rule 1: a ride event is published, rejected, or to be retried.
Rule 2: Lambda retries everything from the lowest sequence number that it is given.  So a consumer
        reports at most one: the *checkpoint*, the first record with a ride event to retry.  A
        rejected record is never reported for itself, or it would block its shard.
Rule 3: a rejection before the checkpoint is kept.  One behind it will be delivered again, and one
        that could not be kept is to be retried.
Rule 4: what is published and what is kept does not depend on how records were batched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec import Struct

from ..errors import RideRejected
from ..scoring import TimeLeft
from .records import Record
from .rejects import Keep, Rejection

KEEP_SECONDS = 5.0  # for writing rejections, or a quarter of what is left if that is less
ANSWER_SECONDS = 0.5  # for answering Lambda, or a tenth of what is left


class Item[T](Struct, frozen=True):
    """One ride event of a batch: the record that it came in, and its fate so far.

    A struct, because a batch makes thousands of items and a frozen dataclass takes five times as
    long to make.
    """

    position: int
    """The position of the record in the batch."""
    record: Record
    event_id: str
    fate: T | RideRejected | None
    """None: to retry."""

    def with_fate[U](self, fate: U | RideRejected | None) -> Item[U]:
        return Item(self.position, self.record, self.event_id, fate)


@dataclass(frozen=True, slots=True)
class BatchReport[T]:
    """The fates of one batch."""

    published: tuple[T, ...]
    rejected: tuple[Rejection, ...]
    to_retry: tuple[str, ...]
    """Event ids."""
    checkpoint: str | None
    """The sequence number from which Lambda is to deliver again; None where nothing is."""
    latencies_ms: tuple[float, ...]
    """From arrival on the stream to published, for each item of *published*."""
    published_at: datetime
    publish_retries: int
    model_ms: float
    publish_ms: float


def work_time(time_left: TimeLeft) -> TimeLeft:
    """The time left for work, which leaves enough of *time_left* to answer Lambda."""
    answer_seconds = min(ANSWER_SECONDS, time_left() / 10)
    return lambda: time_left() - answer_seconds


def publish_time[T](items: Sequence[Item[T]], work_left: TimeLeft) -> TimeLeft:
    """The time left for publishing, which leaves enough to keep the rejections among *items*."""
    rejected = any(isinstance(item.fate, RideRejected) for item in items)
    keep_seconds = min(KEEP_SECONDS, work_left() / 4) if rejected else 0.0
    return lambda: work_left() - keep_seconds


def settle[T](
    items: Sequence[Item[T]], keep: Keep, time_left: TimeLeft
) -> tuple[list[Item[T]], int | None]:
    """The final fates, once the rejections before the checkpoint are kept, and the checkpoint.

    The checkpoint is the position of a record in the batch; None where every record is settled.
    """
    first = next((item.position for item in items if item.fate is None), None)
    rejected = [
        item
        for item in items
        if isinstance(item.fate, RideRejected) and (first is None or item.position < first)
    ]
    not_kept = keep([rejection(item) for item in rejected], time_left)
    unsettled = [rejected[n].position for n in not_kept] + ([] if first is None else [first])
    if not unsettled:
        return list(items), None
    checkpoint = min(unsettled)
    return [_retried(item, checkpoint) for item in items], checkpoint


def rejection[T](item: Item[T]) -> Rejection:
    """The rejection that *item* has for its fate."""
    return Rejection(item.record, item.event_id, str(item.fate))


def _retried[T](item: Item[T], checkpoint: int) -> Item[T]:
    """*item*, to be retried where it is a rejection that Lambda will deliver again."""
    if isinstance(item.fate, RideRejected) and item.position >= checkpoint:
        return item.with_fate(None)
    return item
