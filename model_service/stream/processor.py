"""The stream scorer: a batch of records to predictions, within the time of one invocation.

A batch passes four stages in order: read, score, publish, settle.  Each stage takes the items of
the batch and returns them with their fates so far (see `kinesis.accounting` for the rules).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from .. import rides
from ..errors import RideRejected
from ..features import columns
from ..kinesis import accounting, records
from ..kinesis.accounting import BatchReport, Item
from ..kinesis.publisher import Publish
from ..kinesis.records import Record
from ..kinesis.rejects import Keep
from ..rides import RideEvent
from ..scoring import Answer, Model, Target, TimeLeft, score
from .predictions import Prediction, Source, encode, entry, event_of

SEARCH_SHARE = 0.5  # of the time left: for finding rides at fault, so that the others get out
MAX_RESPONSE = 5_000_000  # bytes of predictions; past 6 MB Lambda would retry the whole batch


def process(
    event: dict[str, Any],
    *,
    model: Model,
    target: Target,
    publish: Publish,
    keep: Keep,
    time_left: TimeLeft,
) -> BatchReport[Prediction]:
    """Score, publish and account for a batch, within *time_left* of the invocation.

    Raises `EventError` where *event* is not a batch, `ModelError` where the model is at fault.
    """
    batch = records.read(event)
    work_left = accounting.work_time(time_left)

    read = [
        item for position, record in enumerate(batch) for item in _read(position, record, work_left)
    ]
    scored, model_ms = _timed(lambda: _score(read, model, target, work_left))
    (sent, retries), publish_ms = _timed(lambda: _publish(scored, publish, work_left))
    published_at = datetime.now(UTC)
    settled, checkpoint = accounting.settle(sent, keep, work_left)

    published = [item for item in settled if isinstance(item.fate, Prediction)]
    return BatchReport(
        published=tuple(item.fate for item in settled if isinstance(item.fate, Prediction)),
        rejected=tuple(
            accounting.rejection(item) for item in settled if isinstance(item.fate, RideRejected)
        ),
        to_retry=tuple(item.event_id for item in settled if item.fate is None),
        checkpoint=None if checkpoint is None else batch[checkpoint].sequence_number,
        latencies_ms=tuple(
            (published_at - item.record.arrived_at).total_seconds() * 1000 for item in published
        ),
        published_at=published_at,
        publish_retries=retries,
        model_ms=model_ms,
        publish_ms=publish_ms,
    )


def response(report: BatchReport[Prediction], *, with_predictions: bool) -> dict[str, Any]:
    """The handler's response: the checkpoint and, where they fit, the predictions."""
    failures = [] if report.checkpoint is None else [{"itemIdentifier": report.checkpoint}]
    body: dict[str, Any] = {"batchItemFailures": failures}
    if with_predictions:
        predictions = [event_of(prediction) for prediction in report.published]
        if _fits(predictions):
            body["predictions"] = predictions
    return body


def _read(position: int, record: Record, work_left: TimeLeft) -> Iterator[Item[RideEvent]]:
    if work_left() <= 0:
        yield Item(position, record, record.event_id, None)
        return
    for event_id, event, _ in rides.read(record.data, record.event_id, record.arrived_at):
        yield Item(position, record, event_id, event)


def _score(
    items: Sequence[Item[RideEvent]], model: Model, target: Target, work_left: TimeLeft
) -> list[Item[Prediction]]:
    rest = (1 - SEARCH_SHARE) * work_left()
    events = [item.fate for item in items if isinstance(item.fate, RideEvent)]
    rides = columns([event.ride for event in events])
    scores = score(model, target, rides, time_left=lambda: work_left() - rest)
    outcomes = zip(events, scores.outcomes(), strict=True)

    def scored(item: Item[RideEvent]) -> Item[Prediction]:
        if not isinstance(item.fate, RideEvent):
            return item.with_fate(item.fate)
        event, outcome = next(outcomes)
        if not isinstance(outcome, Answer):
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
    items: Sequence[Item[Prediction]], publish: Publish, work_left: TimeLeft
) -> tuple[list[Item[Prediction]], int]:
    """The items, to be retried where they were not published; and the number of retries."""
    predicted = [n for n, item in enumerate(items) if isinstance(item.fate, Prediction)]
    entries = [entry(item.fate) for item in items if isinstance(item.fate, Prediction)]
    result = publish(entries, accounting.publish_time(items, work_left))
    refused = {predicted[n] for n in result.refused}
    return [
        item.with_fate(None) if n in refused else item for n, item in enumerate(items)
    ], result.retries


def _fits(predictions: list[dict[str, Any]]) -> bool:
    # Lambda adds spaces and escapes what is not ASCII: at most three times these bytes.
    if 3 * len(encode(predictions)) <= MAX_RESPONSE:
        return True
    return len(json.dumps(predictions)) <= MAX_RESPONSE


def _timed[T](work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - started) * 1000
