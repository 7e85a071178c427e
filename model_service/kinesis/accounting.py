"""The account of a batch: every ride event of it has exactly one fate.

Rule 1: a ride event is published, rejected, or to be retried.
Rule 2: Lambda retries everything from the lowest sequence number that it is given.  So a consumer
        reports at most one: the *checkpoint*, the first record with a ride event to retry.  A
        rejected record is never reported for itself, or it would block its shard.
Rule 3: rejections are kept before anything is published, up to the first record that is not yet
        settled (not read, or not scored).  Where a rejection cannot be kept, nothing from its
        record on is published: otherwise all of it would be published again on every retry, for
        as long as rejections cannot be kept.
Rule 4: a rejection behind the final checkpoint will be delivered again, so it counts as to be
        retried.  It may have been kept by then; a rejection counts once per model and event id.
Rule 5: the fate of a ride event does not depend on how records were batched.
Rule 6: every stage has a share of the invocation's time, and leaves the rest to the stages that
        follow.  A stage that took all the time would leave the batch unsettled, and the same
        batch would be delivered again until it is too old.
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
from .records import Record
from .rejects import Keep, Rejection

ANSWER_SECONDS = 0.5  # for answering Lambda, or a tenth of what is left if that is less
READ_SHARE = 0.4  # of the time left, for reading records
SCORE_SHARE = 0.5  # of the time left, for scoring and for finding rides that make the model fail
KEEP_SECONDS = 5.0  # for keeping rejections, or half of what is left if that is less

UNREAD = "no time left to read the record"
UNSCORED = "no time left to score the ride"
NOT_KEPT = "a rejection could not be kept"

logger = logging.getLogger(__name__)


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
    retry_reason: str = ""
    """Why it is to be retried, where the publisher does not say it."""

    def to_retry(self, reason: str = "") -> Item[T]:
        return Item(self.position, self.record, self.event_id, None, reason)

    def with_fate[U](self, fate: U | RideRejected | None) -> Item[U]:
        return Item(self.position, self.record, self.event_id, fate, self.retry_reason)


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
    retry_reasons: Mapping[str, int]
    """Entries that the stream refused, by error code, and ride events that were not settled, by
    reason."""
    model_ms: float
    publish_ms: float
    ignored_pickup_times: int = 0
    """Ride events without a pick-up time, but with an unknown field that looks like one."""


def work_time(time_left: TimeLeft) -> TimeLeft:
    """The time left for work, which leaves enough of *time_left* to answer Lambda."""
    answer_seconds = min(ANSWER_SECONDS, time_left() / 10)
    return lambda: time_left() - answer_seconds


def share(part: float, time_left: TimeLeft) -> TimeLeft:
    """The time left until *part* of what is now left has passed."""
    rest = (1 - part) * time_left()
    return lambda: time_left() - rest


def keep_rejections[T](items: Sequence[Item[T]], keep: Keep, time_left: TimeLeft) -> list[Item[T]]:
    """Keep the rejections before the first item that is not settled.

    Where some cannot be kept, everything from the record of the first of them on is to be retried.
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
    """The final fates: rejections behind the checkpoint will be delivered again."""
    first = checkpoint(items)
    return [
        item.to_retry() if isinstance(item.fate, RideRejected) and item.position >= first else item
        for item in items
    ]


END = sys.maxsize
"""The checkpoint of a batch with nothing to retry: behind every record."""


def checkpoint[T](items: Sequence[Item[T]]) -> int:
    """The position of the first record with an item to retry; `END` where there is none."""
    return next((item.position for item in items if item.fate is None), END)


def rejection[T](item: Item[T]) -> Rejection:
    """The rejection that *item* has for its fate."""
    return Rejection(item.record, item.event_id, str(item.fate))


def retry_reasons[T](items: Sequence[Item[T]], refusals: Mapping[str, int]) -> dict[str, int]:
    """Refusals of the stream by error code, and *items* to be retried by reason."""
    reasons = Counter(item.retry_reason for item in items if item.retry_reason)
    return {**refusals, **reasons}


def warn_if_stuck[T](report: BatchReport[T]) -> None:
    """Log an error where a batch made no progress: the same batch will be delivered again."""
    if report.to_retry and not report.published and not report.rejected:
        logger.error(
            "nothing of this batch was published or kept; Lambda delivers it again from %s: %s",
            report.checkpoint,
            "; ".join(f"{reason} ({count})" for reason, count in report.retry_reasons.items()),
        )
