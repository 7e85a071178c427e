"""What lies under a location: by reason for a person, and in order for a replay."""

from __future__ import annotations

import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from .errors import Unreadable
from .failed_records import Found, Kept, Shelf

READERS = 8  # objects read at once


@dataclass(frozen=True, slots=True)
class Span:
    """Some rides, and when the first and the last of them reached their streams."""

    rides: int
    objects: int
    first: datetime
    last: datetime

    def __or__(self, other: Span) -> Span:
        return Span(
            self.rides + other.rides,
            self.objects + other.objects,
            min(self.first, other.first),
            max(self.last, other.last),
        )


Reasons = dict[tuple[str, str], Span]
"""By reason, and by the model that rejected or the function that failed."""


@dataclass(frozen=True, slots=True)
class Lot:
    """An object that waits, without its records."""

    found: Found
    model: str
    function: str
    order: tuple[str, str, int, str]
    records: int
    reasons: Reasons


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that lies there."""

    lots: tuple[Lot, ...]
    """One shard's behind one another, the first record first."""
    unreadable: tuple[tuple[str, str], ...]
    """Keys, and what is wrong."""
    replayed: int
    """Objects that are done."""

    @property
    def reasons(self) -> Reasons:
        """The most frequent first."""
        merged = Reasons()
        for lot in self.lots:
            for name, span in lot.reasons.items():
                merged[name] = merged[name] | span if name in merged else span
        return dict(sorted(merged.items(), key=lambda item: (-item[1].rides, item[0])))

    @property
    def records(self) -> int:
        return sum(lot.records for lot in self.lots)


def look(shelf: Shelf) -> Survey:
    """Read what waits on *shelf*.

    Raises `BadInput` where it cannot be listed.
    """
    waiting, replayed = shelf.find()

    def read(found: Found) -> Lot | tuple[str, str]:
        try:
            return lot(shelf.read(found))
        except Unreadable as exc:
            return found.key, str(exc)

    with ThreadPoolExecutor(READERS) as readers:
        seen = list(readers.map(read, waiting))
    lots = sorted((each for each in seen if isinstance(each, Lot)), key=lambda each: each.order)
    return Survey(tuple(lots), tuple(each for each in seen if isinstance(each, tuple)), replayed)


def lot(kept: Kept) -> Lot:
    """What a survey remembers of an object."""
    first = kept.records[0]
    number = first.sequence_number
    return Lot(
        found=kept.found,
        model=kept.model,
        function=kept.function,
        order=(first.stream_arn, first.shard, len(number), number),  # as numbers are ordered
        records=len(kept.records),
        reasons=_reasons(kept),
    )


def _reasons(kept: Kept) -> Reasons:
    arrived = {record.event_id: record.arrived_at for record in kept.records}
    moments = defaultdict[str, list[datetime]](list)
    for event_id, reason in kept.reasons.items():
        record_id = event_id.partition("#")[0]  # of a KPL user record, its record's
        if record_id in arrived:
            moments[_alike(reason)].append(arrived[record_id])
    by = kept.model or kept.function
    return {
        (reason, by): Span(len(times), 1, min(times), max(times))
        for reason, times in moments.items()
    }


def _alike(reason: str) -> str:
    """
    >>> _alike("JSON is malformed: expected ',' (byte 17)")
    "JSON is malformed: expected ','"
    """
    return re.sub(r" \(byte \d+\)", "", reason)
