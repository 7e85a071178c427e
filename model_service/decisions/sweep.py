"""Decides the rides whose deadline has passed, from the predictions that there are.

A decision of the sweep keeps its deadline in the table until it is published, so if the function
dies, the next sweep publishes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Protocol

from ..kinesis.accounting import work_time
from ..kinesis.calls import CallAll, call_in_threads
from ..kinesis.publisher import Entry, Publish
from ..kinesis.records import utc_now
from ..scoring import TimeLeft
from .decision import Decided, Rules, State, Waiting, expire
from .store import Due

CHUNK = 100  # rides that are decided before they are published


class Store(Protocol):
    """A function's table; see `store.Table`."""

    def replace(self, ride: str, before: State, after: Waiting | Decided) -> State: ...

    def due(self, now: float) -> Iterator[Due]: ...

    def published(self, ride: str) -> None: ...


@dataclass(frozen=True, slots=True)
class SweepReport:
    """The result of a sweep."""

    decisions: tuple[bytes, ...]
    """The decisions that were published."""
    refused: int
    """The number of decisions that the stream refused, which the next sweep publishes."""
    is_finished: bool
    """Whether there was time for all rides that were due."""
    finished_at: datetime


def sweep(
    *,
    rules: Rules,
    store: Store,
    publish: Publish,
    time_left: TimeLeft,
    call_all: CallAll = call_in_threads,
    now: Callable[[], datetime] = utc_now,
) -> SweepReport:
    """Decide and publish the rides that are due now; return a report.

    Raises `StoreError` if the table fails.
    """
    work_left = work_time(time_left)
    due = store.due(now().timestamp())
    decisions: list[bytes] = []
    refused = 0
    is_finished = False
    while work_left() > 0:
        chunk = list(islice(due, CHUNK))
        if not chunk:
            is_finished = True
            break
        calls = [partial(_decided, one, rules, store) for one in chunk]
        found = [one for one in call_all(calls, work_left()) if one is not None]
        result = publish([Entry(ride, body) for ride, body in found], work_left)
        sent = [one for n, one in enumerate(found) if n not in result.refused]
        call_all([partial(store.published, ride) for ride, _ in sent], work_left())
        decisions += [body for _, body in sent]
        refused += len(result.refused)
    return SweepReport(tuple(decisions), refused, is_finished, now())


def _decided(due: Due, rules: Rules, store: Store) -> tuple[str, bytes] | None:
    """Return the ride of *due* and its decision; None if there is nothing to publish.

    The index may lag behind the table.  A ride that was decided or heard of since is left out: its
    decision was published by the function that made it, or the next sweep decides it.
    """
    if isinstance(due.state, Decided):
        return due.ride, due.state.body
    decided = expire(due.state, rules)
    if store.replace(due.ride, due.state, decided) is not decided:
        return None
    return due.ride, decided.body
