"""Summarizes the failed records under a location: totals by reason, and the order of a replay."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from model_service.errors import RideRejected

from .failed_records import FailedRecords, FailedRecordStore, ObjectVersion, UnreadableObject

CONCURRENT_READS = 8  # objects that are read at the same time


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
"""(Reason, name of the model that rejected or the function that failed) -> totals."""


@dataclass(frozen=True, slots=True)
class PendingObject:
    """A summary of an S3 object that waits to be replayed, without its records."""

    version: ObjectVersion
    model: str
    function: str
    order: tuple[str, str, int, str]
    """The sort key of the object: stream, shard, and sequence number of its first record."""
    records: int
    reasons: Reasons


@dataclass(frozen=True, slots=True)
class Inventory:
    """A summary of all objects under a location."""

    pending: tuple[PendingObject, ...]
    """In the order of a replay: by shard, and within a shard from the oldest records to the newest.
    """
    unreadable: tuple[tuple[str, str], ...]
    """Pairs of the key of an unreadable object and the reason why it is unreadable."""
    replayed: int
    """The number of objects that were already replayed."""

    @property
    def reasons(self) -> Reasons:
        """Return the totals over all pending objects, the most frequent reason first."""
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
    """Return the summary of *failed*, without its records, which an inventory keeps in memory."""
    first = failed.records[0]
    number = first.sequence_number
    return PendingObject(
        version=failed.version,
        model=failed.model,
        function=failed.function,
        order=(first.stream_arn, first.shard, len(number), number),  # sorts as a number
        records=len(failed.records),
        reasons=_reasons(failed),
    )


def _reasons(failed: FailedRecords) -> Reasons:
    arrived = {record.event_id: record.arrived_at for record in failed.records}
    arrivals = defaultdict[str, list[datetime]](list)
    for event_id, reason in failed.reasons.items():
        # A user record of an aggregate arrived with its record.
        record_id = event_id if event_id in arrived else event_id.rpartition("#")[0]
        if record_id in arrived:
            arrivals[RideRejected.kind(reason)].append(arrived[record_id])
    failed_by = failed.model or failed.function
    return {
        (reason, failed_by): ReasonTotals(len(times), 1, min(times), max(times))
        for reason, times in arrivals.items()
    }
