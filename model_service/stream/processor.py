"""Processes a batch of Kinesis records within the time of one Lambda invocation.

A batch passes five stages in order: read the records, score the rides, keep the rejections, publish
the predictions, and settle the final fates.  Each stage takes the items of the batch and returns
them with new fates; `kinesis.accounting` has the rules.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ..errors import RideRejected
from ..features import columns
from ..kinesis import accounting, records
from ..kinesis.accounting import END, READ_SHARE, SCORE_SHARE, UNREAD, UNSCORED, BatchReport, Item
from ..kinesis.publisher import Publish, PublishResult
from ..kinesis.records import Record, utc_now
from ..kinesis.rejects import Keep
from ..rides import RideEvent, read
from ..scoring import Model, Target, TimeLeft, score
from .predictions import Prediction, Source, encode, entry, event_of

MAX_RESPONSE = 5_000_000  # bytes; Lambda retries the whole batch if its response exceeds 6 MB


def process(
    event: dict[str, Any],
    *,
    model: Model,
    target: Target,
    publish: Publish,
    keep: Keep,
    time_left: TimeLeft,
    now: Callable[[], datetime] = utc_now,
    timer: Callable[[], float] = time.perf_counter,
) -> BatchReport[Prediction]:
    """Score a batch, publish the predictions, and return a report, within *time_left*.

    *event* is the event of a Lambda invocation.  *publish* publishes predictions, and *keep* stores
    rejections.  *now* returns the time in UTC, and *timer* a time in seconds.  Raises `EventError`
    if *event* is not a batch of Kinesis records, and `ModelError` if the model is at fault.
    """
    batch = records.read(event)
    work_left = accounting.work_time(time_left)

    items, ignored_times = _read(batch, accounting.share(READ_SHARE, work_left))
    scored, model_ms = _timed(
        lambda: _score(items, model, target, accounting.share(SCORE_SHARE, work_left)), timer
    )
    kept = accounting.keep_rejections(scored, keep, work_left)
    (sent, result), publish_ms = _timed(lambda: _publish(kept, publish, work_left), timer)
    published_at = now()
    settled = accounting.settle(sent)

    checkpoint = accounting.checkpoint(settled)
    published = [item for item in settled if isinstance(item.fate, Prediction)]
    report = BatchReport(
        batch=records.batch_range(batch),
        published=tuple(item.fate for item in settled if isinstance(item.fate, Prediction)),
        rejected=tuple(
            accounting.rejection(item) for item in settled if isinstance(item.fate, RideRejected)
        ),
        to_retry=tuple(item.event_id for item in settled if item.fate is None),
        checkpoint=None if checkpoint == END else batch[checkpoint].sequence_number,
        latencies_ms=tuple(
            (published_at - item.record.arrived_at).total_seconds() * 1000 for item in published
        ),
        published_at=published_at,
        publish_retries=result.retries,
        retry_reasons=accounting.retry_reasons(settled, result.refusals),
        ignored_pickup_times=ignored_times,
        model_ms=model_ms,
        publish_ms=publish_ms,
    )
    accounting.warn_if_stuck(report)
    return report


def response(report: BatchReport[Prediction], *, with_predictions: bool) -> dict[str, Any]:
    """Return the Lambda function's response: the checkpoint, and the predictions if requested.

    The predictions are left out if they would make the response larger than Lambda allows.
    """
    failures = [] if report.checkpoint is None else [{"itemIdentifier": report.checkpoint}]
    body: dict[str, Any] = {"batchItemFailures": failures}
    if with_predictions:
        predictions = [event_of(prediction) for prediction in report.published]
        if _fits(predictions):
            body["predictions"] = predictions
    return body


def _read(batch: Sequence[Record], time_left: TimeLeft) -> tuple[list[Item[RideEvent]], int]:
    """Return the ride events of at least the first record, and of as many others as time allows.

    Also returns how many of these rides have an unknown field that looks like their pick-up time.
    """
    items: list[Item[RideEvent]] = []
    ignored_times = 0
    for position, record in enumerate(batch):
        if position and time_left() <= 0:
            rest = enumerate(batch[position:], position)
            items += [Item(n, unread, unread.event_id, None, UNREAD) for n, unread in rest]
            break
        for result in read(record.data, record.event_id, record.arrived_at):
            items.append(Item(position, record, result.event_id, result.event))
            ignored_times += result.ignores_time
    return items, ignored_times


def _score(
    items: Sequence[Item[RideEvent]], model: Model, target: Target, time_left: TimeLeft
) -> list[Item[Prediction]]:
    events = [item.fate for item in items if isinstance(item.fate, RideEvent)]
    scores = score(model, target, columns([event.ride for event in events]), time_left=time_left)
    outcomes = zip(events, scores.outcomes(), strict=True)

    def scored(item: Item[RideEvent]) -> Item[Prediction]:
        if not isinstance(item.fate, RideEvent):
            return item.with_fate(item.fate)
        event, outcome = next(outcomes)
        if outcome is None:
            return item.with_fate(None).to_retry(UNSCORED)
        if isinstance(outcome, RideRejected):
            return item.with_fate(outcome)
        return item.with_fate(
            Prediction(
                model=target.model_name,
                version=model.version,
                field=target.field,
                value=outcome.value,
                interval=outcome.interval,
                ride_id=event.ride_id,
                source=Source(item.event_id, item.record.arrived_at),
            )
        )

    return [scored(item) for item in items]


def _publish(
    items: Sequence[Item[Prediction]], publish: Publish, time_left: TimeLeft
) -> tuple[list[Item[Prediction]], PublishResult]:
    """Publish the predictions of *items*; return the items, and the publisher's result.

    An item that was not published is to be retried.
    """
    predicted = [n for n, item in enumerate(items) if isinstance(item.fate, Prediction)]
    entries = [entry(item.fate) for item in items if isinstance(item.fate, Prediction)]
    result = publish(entries, time_left)
    refused = {predicted[n] for n in result.refused}
    return [item.to_retry() if n in refused else item for n, item in enumerate(items)], result


def _fits(predictions: list[dict[str, Any]]) -> bool:
    # Lambda encodes the response as JSON with added spaces, and escapes all characters that are not
    # ASCII.  The result has at most three times as many bytes as `encode` returns.
    if 3 * len(encode(predictions)) <= MAX_RESPONSE:
        return True
    return len(json.dumps(predictions)) <= MAX_RESPONSE


def _timed[T](work: Callable[[], T], timer: Callable[[], float]) -> tuple[T, float]:
    """Return the result of *work*, and its duration in milliseconds."""
    started = timer()
    result = work()
    return result, (timer() - started) * 1000
