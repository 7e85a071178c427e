"""Sends the records of objects to the function, until they are dealt with: the rules of a replay.

Rule 1: one object after another, and the records of one object to an invocation.  An object whose
        records are all dealt with is marked at once, so that stopping anywhere repeats the object
        under way at most, and loses nothing.
Rule 2: what the function reports as a failure is sent again, from there on.  An invocation that
        fails as a whole is repeated with half of its records, as bisecting would.
Rule 3: an object that gets no further in `ATTEMPTS` invocations stays as it is; after `GIVE_UP` of
        those in a row, nothing more is tried.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from model_service.kinesis.records import Record

from .errors import Unreadable
from .failed_records import Shelf
from .inventory import Lot
from .invoke import Answer

BATCH_BYTES = 6_000_000  # of an invocation; Lambda refuses 6 MiB
ATTEMPTS = 5  # invocations in a row that get no further
GIVE_UP = 3  # objects in a row that get no further
PAUSE_SECONDS = 0.5  # before the second attempt, doubled for each further one ...
MAX_PAUSE_SECONDS = 10.0  # ... up to here

Invoke = Callable[[Sequence[Record]], Answer]
Sleep = Callable[[float], None]
Advance = Callable[[int], None]
"""Told how many more records were dealt with."""


@dataclass(slots=True)
class Outcome:
    """What became of a replay so far."""

    objects: int = 0
    """All of whose records were dealt with."""
    records: int = 0
    rejected: int | None = 0
    """Ride events that were rejected again; None where that is not known."""
    remains: dict[str, str] = field(default_factory=dict)
    """What is left to do, and why, by key."""

    def add(self, answer: Answer) -> None:
        self.records += answer.dealt_with
        known = self.rejected is not None and answer.rejected is not None
        self.rejected = (self.rejected or 0) + (answer.rejected or 0) if known else None


def replay(
    shelf: Shelf, lots: Sequence[Lot], invoke: Invoke, *, most: int, sleep: Sleep, advance: Advance
) -> Outcome:
    """Replay *lots*, marking each that is done.

    Raises `BadInput` where the function may not be invoked, or an object not be marked.
    """
    outcome = Outcome()
    stuck = 0
    for number, lot in enumerate(lots):
        before = outcome.records
        try:
            batch = shelf.read(lot.found).records
            fault = send(batch, invoke, outcome, most=most, sleep=sleep, advance=advance)
        except Unreadable as exc:  # it is another by now, or gone
            outcome.remains[lot.found.key] = str(exc)
            continue
        if not fault:
            shelf.mark(lot.found)
            outcome.objects += 1
            stuck = 0
            continue
        outcome.remains[lot.found.key] = fault
        stuck = stuck + 1 if outcome.records == before else 0
        if stuck == GIVE_UP:
            rest = lots[number + 1 :]
            outcome.remains |= {each.found.key: "not tried any more" for each in rest}
            break
    return outcome


def send(
    batch: Sequence[Record],
    invoke: Invoke,
    outcome: Outcome,
    *,
    most: int,
    sleep: Sleep,
    advance: Advance,
) -> str:
    """Invoke with the records of one object; why some remain, or nothing."""
    start = attempts = 0
    while start < len(batch):
        length = cut(batch[start:], most)
        answer = invoke(batch[start : start + length])
        outcome.add(answer)
        advance(answer.dealt_with)
        start += answer.dealt_with
        attempts = 0 if answer.dealt_with else attempts + 1
        if attempts == ATTEMPTS:
            why = answer.fault or "the function reports it as not dealt with"
            return f"{len(batch) - start} records remain: {why}"
        if answer.fault:
            most = max(1, length // 2)
        if answer.dealt_with < length:
            sleep(random.uniform(0.5, 1) * min(PAUSE_SECONDS * 2**attempts, MAX_PAUSE_SECONDS))
    return ""


def cut(waiting: Sequence[Record], most: int) -> int:
    """How many of the records one invocation carries: at least one."""
    total = 0
    for length, record in enumerate(waiting[:most]):
        total += len(json.dumps(record.raw)) + 2  # and what stands between them
        if total > BATCH_BYTES and length:
            return length
    return min(len(waiting), most)
