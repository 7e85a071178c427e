"""Processes a batch of predictions within the time of one Lambda invocation.

A batch passes five stages in order: read the predictions, keep the rejections, join them with the
table, publish the decisions, and settle the final fates.  `kinesis.accounting` has the rules.

A record is settled once its prediction waits in the table, or the decision of its ride has been
published.  A ride that is decided already is published again, as the stored bytes: whether they
were published before is not known, because a function may die after it stored a decision.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from ..errors import RideRejected
from ..kinesis import accounting, records
from ..kinesis.accounting import END, READ_SHARE, SCORE_SHARE, UNREAD, BatchReport, Item
from ..kinesis.calls import CallAll, call_in_threads
from ..kinesis.publisher import Entry, Publish, PublishResult
from ..kinesis.records import Record, utc_now
from ..kinesis.rejects import Keep
from ..scoring import TimeLeft
from .decision import Decided, Rules, State, Waiting, advance
from .predictions import Prediction, read
from .store import StoreError

MAX_WRITES = 10
"""Writes of one ride in a batch.  Each refused write means that another function changed the ride,
which ends once it is decided."""

NOT_STORED = "the table did not store the prediction"
LATE = "no time left to store the prediction"

logger = logging.getLogger(__name__)


class Store(Protocol):
    """A function's table; see `store.Table.replace`."""

    def replace(self, ride: str, before: State, after: Waiting | Decided) -> State: ...


@dataclass(frozen=True, slots=True)
class Joined:
    """The result of joining a ride's predictions in a batch with the table."""

    state: Waiting | Decided
    is_new: bool
    """Whether this batch made the decision."""
    writes: int
    """The number of write requests, refused ones included."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one prediction."""

    prediction: Prediction
    joined: Joined | None
    """None for a prediction of a model that no decision waits for."""


def process(
    event: dict[str, Any],
    *,
    rules: Rules,
    store: Store,
    publish: Publish,
    keep: Keep,
    time_left: TimeLeft,
    call_all: CallAll = call_in_threads,
    now: Callable[[], datetime] = utc_now,
    timer: Callable[[], float] = time.perf_counter,
) -> BatchReport[Outcome]:
    """Decide the rides of a batch, publish the decisions, and return a report.

    *event* is the event of a Lambda invocation.  *publish* publishes decisions, and *keep* stores
    rejections.  *now* returns the time in UTC, and *timer* a time in seconds.  In the report,
    ``model_ms`` is the time for the join, and a latency is that of a ride that this batch decided:
    from the arrival of its latest ride event to the publication of the decision.  Raises
    `EventError` if *event* is not a batch of Kinesis records.
    """
    batch = records.read(event)
    work_left = accounting.work_time(time_left)

    items = _read(batch, accounting.share(READ_SHARE, work_left))
    kept = accounting.keep_rejections(items, keep, work_left)
    join = partial(_join, rules=rules, store=store, now=now().timestamp())
    started = timer()
    joined = _store(kept, rules, join, call_all, accounting.share(SCORE_SHARE, work_left))
    stored_at = timer()
    sent, result = _publish(joined, publish, work_left)
    publish_ms = (timer() - stored_at) * 1000
    published_at = now()
    settled = accounting.settle(sent)

    checkpoint = accounting.checkpoint(settled)
    outcomes = tuple(item.fate for item in settled if isinstance(item.fate, Outcome))
    report = BatchReport(
        batch=records.batch_range(batch),
        published=outcomes,
        rejected=tuple(
            accounting.rejection(item) for item in settled if isinstance(item.fate, RideRejected)
        ),
        to_retry=tuple(item.event_id for item in settled if item.fate is None),
        checkpoint=None if checkpoint == END else batch[checkpoint].sequence_number,
        latencies_ms=_latencies(outcomes, published_at),
        published_at=published_at,
        publish_retries=result.retries,
        retry_reasons=accounting.retry_reasons(settled, result.refusals),
        model_ms=(stored_at - started) * 1000,
        publish_ms=publish_ms,
    )
    accounting.warn_if_stuck(report)
    return report


def response(report: BatchReport[Outcome]) -> dict[str, Any]:
    """Return the Lambda function's response: the checkpoint, if there is one."""
    return {
        "batchItemFailures": [{"itemIdentifier": report.checkpoint}] if report.checkpoint else []
    }


def rides(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Return the outcomes of each ride that was joined, by its id as text."""
    found: dict[str, list[Outcome]] = {}
    for one in outcomes:
        if one.joined is not None:
            found.setdefault(str(one.prediction.ride_id), []).append(one)
    return found


def _read(batch: Sequence[Record], time_left: TimeLeft) -> list[Item[Prediction]]:
    """Return the predictions of at least the first record, and of as many as time allows."""
    items: list[Item[Prediction]] = []
    for position, record in enumerate(batch):
        if position and time_left() <= 0:
            rest = enumerate(batch[position:], position)
            return items + [Item(n, unread, unread.event_id, None, UNREAD) for n, unread in rest]
        items += [
            Item(position, record, result.event_id, result.prediction)
            for result in read(record.data, record.event_id)
        ]
    return items


def _join(
    ride: str, heard: Sequence[Prediction], *, rules: Rules, store: Store, now: float
) -> Joined | str:
    """Join *heard*, the predictions of *ride* in this batch, with the table.

    Returns the fault as a text if the table failed.
    """
    state: State = None
    for writes in range(MAX_WRITES):
        after = advance(state, heard, rules, now)
        assert after is not None  # there is a prediction
        if after == state:  # decided already, or nothing that the table does not have
            return Joined(after, is_new=False, writes=writes)
        try:
            state = store.replace(ride, state, after)
        except StoreError as exc:
            logger.error("predictions cannot be stored, so they will be retried: %s", exc)
            return NOT_STORED
        if state is after:
            return Joined(after, is_new=isinstance(after, Decided), writes=writes + 1)
    return NOT_STORED


def _store(
    items: Sequence[Item[Prediction]],
    rules: Rules,
    join: Callable[[str, Sequence[Prediction]], Joined | str],
    call_all: CallAll,
    time_left: TimeLeft,
) -> list[Item[Outcome]]:
    """Join the predictions of *items* with the table, the rides at the same time."""
    heard: dict[str, list[Prediction]] = {}
    for item in items:
        if isinstance(item.fate, Prediction) and item.fate.model in rules.expected:
            heard.setdefault(str(item.fate.ride_id), []).append(item.fate)
    calls = [partial(join, ride, predictions) for ride, predictions in heard.items()]
    joined = dict(zip(heard, call_all(calls, time_left()), strict=True))
    return [_with_outcome(item, joined, rules) for item in items]


def _with_outcome(
    item: Item[Prediction], joined: Mapping[str, Joined | str | None], rules: Rules
) -> Item[Outcome]:
    prediction = item.fate
    if not isinstance(prediction, Prediction):
        return item.with_fate(prediction)
    if prediction.model not in rules.expected:
        return item.with_fate(Outcome(prediction, None))
    result = joined[str(prediction.ride_id)]
    if isinstance(result, Joined):
        return item.with_fate(Outcome(prediction, result))
    return item.with_fate(None).to_retry(result or LATE)


def _publish(
    items: Sequence[Item[Outcome]], publish: Publish, time_left: TimeLeft
) -> tuple[list[Item[Outcome]], PublishResult]:
    """Publish the decision of each decided ride once; return the items, and the result.

    All predictions of a ride whose decision was refused are to be retried.
    """
    bodies = {
        str(item.fate.prediction.ride_id): item.fate.joined.state.body
        for item in items
        if isinstance(item.fate, Outcome)
        and item.fate.joined is not None
        and isinstance(item.fate.joined.state, Decided)
    }
    result = publish([Entry(ride, body) for ride, body in bodies.items()], time_left)
    refused = {ride for n, ride in enumerate(bodies) if n in result.refused}
    return [
        item.to_retry()
        if isinstance(item.fate, Outcome)
        and item.fate.joined is not None
        and str(item.fate.prediction.ride_id) in refused
        else item
        for item in items
    ], result


def _latencies(outcomes: Sequence[Outcome], published_at: datetime) -> tuple[float, ...]:
    """Return the latency of each ride that this batch decided, in milliseconds."""
    return tuple(
        (published_at - max(one.prediction.arrived_at for one in of_ride)).total_seconds() * 1000
        for of_ride in rides(outcomes).values()
        if of_ride[0].joined and of_ride[0].joined.is_new
    )
