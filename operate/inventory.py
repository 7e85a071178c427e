"""The failed records under a location: grouped by reason for a person, sorted for a replay."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from model_service.errors import RideRejected

from .failed_records import FailedRecords, FailedRecordStore, ObjectVersion, UnreadableObject

CONCURRENT_READS = 8  # objects


@dataclass(frozen=True, slots=True)
class ReasonTotals:
    """How many rides failed for one reason, and when the first and the last of them arrived."""

    rides: int
    objects: int
    first: datetime
    last: datetime

    def __add__(self, other: ReasonTotals) -> ReasonTotals:
        return ReasonTotals(
            self.rides + other.rides,
            self.objects + other.objects,
            min(self.first, other.first),
            max(self.last, other.last),
        )


Reasons = dict[tuple[str, str], ReasonTotals]
"""Totals for each reason and each model that rejected, or function that failed."""


@dataclass(frozen=True, slots=True)
class PendingObject:
    """A summary of an object that waits to be replayed, without its records."""

    version: ObjectVersion
    model: str
    function: str
    order: tuple[str, str, int, str]
    """Sorts objects by stream, by shard, and by the sequence number of the first record."""
    records: int
    reasons: Reasons


@dataclass(frozen=True, slots=True)
class Inventory:
    """All objects under a location."""

    pending: tuple[PendingObject, ...]
    """Sorted: the objects of a shard follow each other, the oldest records first."""
    unreadable: tuple[tuple[str, str], ...]
    """The key of each unreadable object, and why it is unreadable."""
    replayed: int
    """The number of objects that were replayed."""

    @property
    def reasons(self) -> Reasons:
        """Totals over all pending objects, the most frequent reason first."""
        totals = Reasons()
        for each in self.pending:
            for name, more in each.reasons.items():
                totals[name] = totals[name] + more if name in totals else more
        return dict(sorted(totals.items(), key=lambda item: (-item[1].rides, item[0])))

    @property
    def records(self) -> int:
        return sum(each.records for each in self.pending)


def take_inventory(store: FailedRecordStore) -> Inventory:
    """Read all objects in *store* that wait to be replayed.

    Raises `CommandError` if the store cannot be listed.
    """
    versions, replayed = store.pending()

    def read(version: ObjectVersion) -> PendingObject | tuple[str, str]:
        try:
            return summary(store.read(version))
        except UnreadableObject as exc:
            return version.key, str(exc)

    with ThreadPoolExecutor(CONCURRENT_READS) as readers:
        found = list(readers.map(read, versions))
    pending = [each for each in found if isinstance(each, PendingObject)]
    unreadable = [each for each in found if isinstance(each, tuple)]
    return Inventory(
        tuple(sorted(pending, key=lambda each: each.order)), tuple(unreadable), replayed
    )


def summary(failed: FailedRecords) -> PendingObject:
    """The part of *failed* that an inventory keeps in memory."""
    first = failed.records[0]
    number = first.sequence_number
    return PendingObject(
        version=failed.version,
        model=failed.model,
        function=failed.function,
        order=(first.stream_arn, first.shard, len(number), number),  # compares as a number
        records=len(failed.records),
        reasons=_reasons(failed),
    )


def _reasons(failed: FailedRecords) -> Reasons:
    arrived = {record.event_id: record.arrived_at for record in failed.records}
    arrivals = defaultdict[str, list[datetime]](list)
    for event_id, reason in failed.reasons.items():
        record_id = event_id.partition("#")[0]  # a KPL user record arrived with its record
        if record_id in arrived:
            arrivals[RideRejected.kind(reason)].append(arrived[record_id])
    failed_by = failed.model or failed.function
    return {
        (reason, failed_by): ReasonTotals(len(times), 1, min(times), max(times))
        for reason, times in arrivals.items()
    }
