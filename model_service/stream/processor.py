"""The rules of a batch: what is published, what is rejected, what Lambda shall deliver again.

Rule 1: every ride event has exactly one fate: published, rejected, or to retry.
Rule 2: Lambda delivers again everything from the lowest sequence number that it is told.  So one
        is told at most: that of the first record with a ride event to retry, the *checkpoint*.
        A rejected record is never told for itself, or it would block its shard.
Rule 3: a rejection is kept when it lies before the checkpoint.  Behind it, it will come again;
        and what could not be kept is to retry.
Rule 4: what is published and what is kept does not depend on how records were batched.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from .. import payloads as records
from .. import rides
from ..errors import RideRejected
from ..features import columns
from ..kinesis.publisher import Publish
from ..kinesis.rejects import Keep, Rejection
from ..payloads import Record
from ..rides import Prediction, RideEvent, Source
from ..scoring import Answer, Model, Target, TimeLeft, score

KEEP_SECONDS = 5.0  # what writing rejects may take, or a quarter of what is left if that is less
ANSWER_SECONDS = 0.5  # what answering Lambda may take, or a tenth
SEARCH_SHARE = 0.5  # of what is left: for finding rides at fault, so that the others get out
MAX_RESPONSE = 5_000_000  # bytes of predictions; past 6 MB Lambda would retry the whole batch


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one batch."""

    published: tuple[Prediction, ...]
    rejected: tuple[Rejection, ...]
    to_retry: tuple[str, ...]
    """Event ids."""
    checkpoint: str | None
    """The sequence number from which Lambda shall deliver again."""
    publish_retries: int
    model_ms: float
    publish_ms: float
    published_at: datetime

    def response(self, *, with_predictions: bool) -> dict[str, Any]:
        """What Lambda is told, and who invoked by hand is shown."""
        failures = [] if self.checkpoint is None else [{"itemIdentifier": self.checkpoint}]
        response: dict[str, Any] = {"batchItemFailures": failures}
        if with_predictions:
            predictions = [rides.event_of(prediction) for prediction in self.published]
            if _fits(predictions):
                response["predictions"] = predictions
        return response


class _Arrival(NamedTuple):
    """A ride event where it stands in its batch, or why it is none."""

    position: int
    record: Record
    event_id: str
    found: RideEvent | RideRejected | None
    """None: there was no time left to read it."""


Fate = Prediction | RideRejected | None
"""None: to retry."""


def process(
    event: dict[str, Any],
    *,
    model: Model,
    target: Target,
    publish: Publish,
    keep: Keep,
    time_left: TimeLeft,
) -> Report:
    """Score, publish and account for a batch, within *time_left* of the invocation.

    Raises `EventError` where *event* is no batch, `ModelError` where the model is at fault.
    """
    batch = records.read(event)
    answer_seconds = min(ANSWER_SECONDS, time_left() / 10)

    def work_left() -> float:
        return time_left() - answer_seconds

    arrivals = [
        arrival
        for position, record in enumerate(batch)
        for arrival in _decode(position, record, work_left)
    ]
    fates, model_ms = _timed(lambda: _score(arrivals, model, target, work_left))
    (fates, retries), publish_ms = _timed(lambda: _publish(fates, publish, work_left))
    published_at = datetime.now(UTC)
    fates = _keep(arrivals, fates, keep, work_left)

    checkpoint = _checkpoint(arrivals, fates)
    return Report(
        published=tuple(fate for fate in fates if isinstance(fate, Prediction)),
        rejected=tuple(rejection for _, rejection in _rejections(arrivals, fates)),
        to_retry=tuple(a.event_id for a, f in zip(arrivals, fates, strict=True) if f is None),
        checkpoint=None if checkpoint is None else batch[checkpoint].sequence_number,
        publish_retries=retries,
        model_ms=model_ms,
        publish_ms=publish_ms,
        published_at=published_at,
    )


def _decode(position: int, record: Record, work_left: TimeLeft) -> Iterator[_Arrival]:
    if work_left() <= 0:
        yield _Arrival(position, record, record.event_id, None)
        return
    try:
        payloads = records.payloads(record)
    except RideRejected as exc:
        yield _Arrival(position, record, record.event_id, exc)
        return
    budget = records.Budget()
    for event_id, data in payloads:
        found: RideEvent | RideRejected
        try:
            found = rides.decode(records.plain(data, budget), record.arrived_at)
        except RideRejected as exc:
            found = exc
        yield _Arrival(position, record, event_id, found)


def _score(
    arrivals: Sequence[_Arrival], model: Model, target: Target, work_left: TimeLeft
) -> list[Fate]:
    rest = (1 - SEARCH_SHARE) * work_left()
    good = columns([a.found.ride for a in arrivals if isinstance(a.found, RideEvent)])
    outcomes = iter(score(model, target, good, time_left=lambda: work_left() - rest))

    def fate(arrival: _Arrival) -> Fate:
        if not isinstance(arrival.found, RideEvent):
            return arrival.found
        outcome = next(outcomes)
        if not isinstance(outcome, Answer):
            return outcome
        return Prediction(
            model=target.model_name,
            version=model.version,
            field=target.field,
            value=outcome.value,
            interval=outcome.interval,
            ride_id=arrival.found.ride_id,
            source=Source(arrival.event_id, arrival.record.arrived_at),
        )

    return [fate(arrival) for arrival in arrivals]


def _publish(
    fates: Sequence[Fate], publish: Publish, work_left: TimeLeft
) -> tuple[list[Fate], int]:
    places = [place for place, fate in enumerate(fates) if isinstance(fate, Prediction)]
    predictions = [fate for fate in fates if isinstance(fate, Prediction)]
    rejected = any(isinstance(fate, RideRejected) for fate in fates)
    keep_seconds = min(KEEP_SECONDS, work_left() / 4) if rejected else 0.0

    sent = publish(predictions, lambda: work_left() - keep_seconds)
    refused = {places[position] for position in sent.refused}
    return [None if n in refused else fate for n, fate in enumerate(fates)], sent.retries


def _keep(
    arrivals: Sequence[_Arrival], fates: Sequence[Fate], keep: Keep, work_left: TimeLeft
) -> list[Fate]:
    before = _retry_behind(arrivals, fates)
    rejections = _rejections(arrivals, before)
    lost = keep([rejection for _, rejection in rejections], work_left)
    if not lost:
        return before
    to_retry = {rejections[position][0] for position in lost}
    return _retry_behind(
        arrivals, [None if n in to_retry else fate for n, fate in enumerate(before)]
    )


def _retry_behind(arrivals: Sequence[_Arrival], fates: Sequence[Fate]) -> list[Fate]:
    """Rejections behind the checkpoint come again, so they are to retry."""
    checkpoint = _checkpoint(arrivals, fates)
    return [
        None
        if checkpoint is not None and a.position >= checkpoint and isinstance(f, RideRejected)
        else f
        for a, f in zip(arrivals, fates, strict=True)
    ]


def _checkpoint(arrivals: Sequence[_Arrival], fates: Sequence[Fate]) -> int | None:
    """Position of the first record that is not safely dealt with."""
    return next((a.position for a, f in zip(arrivals, fates, strict=True) if f is None), None)


def _rejections(arrivals: Sequence[_Arrival], fates: Sequence[Fate]) -> list[tuple[int, Rejection]]:
    return [
        (place, Rejection(arrival.record, arrival.event_id, str(fate)))
        for place, (arrival, fate) in enumerate(zip(arrivals, fates, strict=True))
        if isinstance(fate, RideRejected)
    ]


def _fits(predictions: list[dict[str, Any]]) -> bool:
    # Lambda writes spaces, and escapes what is not ASCII: thrice our bytes at most.
    if 3 * len(rides.encode(predictions)) <= MAX_RESPONSE:
        return True
    return len(json.dumps(predictions)) <= MAX_RESPONSE


def _timed[T](work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - started) * 1000
