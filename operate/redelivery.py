"""Sends failed records to the function until it has processed them: the rules of a replay.

Rule 1: Objects are replayed one after another.  One invocation has records of one object only.
        An object is marked as soon as all its records are processed.  If a replay is stopped, no
        records are lost, and at most the records of one object are sent again.
Rule 2: If the function reports a failed record, this record and all records after it are sent
        again.  If a whole invocation fails, the next one has half as many records, as if Lambda
        bisected the batch.
Rule 3: If `ATTEMPTS` invocations in a row process no record of an object, the object stays
        unmarked.  After `GIVE_UP` such objects in a row, the replay ends.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from model_service.kinesis.records import Record

from .failed_records import FailedRecordStore, UnreadableObject
from .inventory import PendingObject
from .invoke import InvocationResult

BATCH_BYTES = 6_000_000  # per invocation; Lambda refuses 6 MiB
ATTEMPTS = 5  # invocations in a row without progress
GIVE_UP = 3  # objects in a row without progress
PAUSE_SECONDS = 0.5  # before the second attempt; doubles with each attempt ...
MAX_PAUSE_SECONDS = 10.0  # ... up to this limit

Invoke = Callable[[Sequence[Record]], InvocationResult]
Sleep = Callable[[float], None]
Advance = Callable[[int], None]
"""A function that is called with the number of records that the last invocation processed."""


@dataclass(slots=True)
class ReplayReport:
    """The results of a replay up to now."""

    objects: int = 0
    """The number of objects whose records are all processed."""
    records: int = 0
    rejected: int | None = 0
    """The number of ride events that the function rejected again; None if it is unknown."""
    remaining: dict[str, str] = field(default_factory=dict)
    """Key of an object that was not replayed -> the reason."""

    def add(self, result: InvocationResult) -> None:
        self.records += result.processed
        known = self.rejected is not None and result.rejected is not None
        self.rejected = (self.rejected or 0) + (result.rejected or 0) if known else None


def replay(
    store: FailedRecordStore,
    pending: Sequence[PendingObject],
    invoke: Invoke,
    *,
    most: int,
    sleep: Sleep,
    advance: Advance,
) -> ReplayReport:
    """Replay the *pending* objects, mark each replayed object, and return the results.

    *invoke* invokes the function.  *advance* is called after each invocation, with the number of
    records that it processed.  *most* is the maximum number of records in an invocation.  *sleep*
    is called with the seconds to wait.  Raises `CommandError` if the function cannot be invoked or
    an object cannot be marked.
    """
    report = ReplayReport()
    without_progress = 0
    for number, each in enumerate(pending):
        key, before = each.version.key, report.records
        try:
            batch = store.read(each.version).records
        except UnreadableObject as exc:  # it changed or was deleted after it was listed
            report.remaining[key] = str(exc)
            continue
        error = send(batch, invoke, report, most=most, sleep=sleep, advance=advance)
        if not error:
            store.mark_replayed(each.version)
            report.objects += 1
            without_progress = 0
            continue
        report.remaining[key] = error
        without_progress = without_progress + 1 if report.records == before else 0
        if without_progress == GIVE_UP:
            rest = pending[number + 1 :]
            report.remaining |= {each.version.key: "not tried any more" for each in rest}
            break
    return report


def send(
    batch: Sequence[Record],
    invoke: Invoke,
    report: ReplayReport,
    *,
    most: int,
    sleep: Sleep,
    advance: Advance,
) -> str:
    """Invoke the function with *batch*, the records of one object, until all are processed.

    Adds the results to *report*.  Returns the reason why some records are not processed, or an
    empty text if all are processed.  The other arguments are those of `replay`.
    """
    start = attempts = 0
    while start < len(batch):
        length = batch_length(batch[start:], most)
        result = invoke(batch[start : start + length])
        report.add(result)
        advance(result.processed)
        start += result.processed
        attempts = 0 if result.processed else attempts + 1
        if attempts == ATTEMPTS:
            error = result.error or "the function reports them as failed"
            return f"{len(batch) - start} records remain: {error}"
        if result.error:
            most = max(1, length // 2)
        if result.processed < length:
            sleep(random.uniform(0.5, 1) * min(PAUSE_SECONDS * 2**attempts, MAX_PAUSE_SECONDS))
    return ""


def batch_length(waiting: Sequence[Record], most: int) -> int:
    """Return how many of the *waiting* records fit into one invocation, from 1 to *most*."""
    total = 0
    for length, record in enumerate(waiting[:most]):
        total += len(json.dumps(record.raw)) + 2  # 2 for the separator
        if total > BATCH_BYTES and length:
            return length
    return min(len(waiting), most)
