"""Records the input and the output of a run, and checks every step of the run.

**Safety**, checked at every step:

1. A published prediction is for a ride event that was sent, and that is in the function's batch.
2. A prediction event has the bytes that it would have in a run without faults: the identity, the
   arrival time and the value of its own ride event, and the version of the model.
3. A kept rejection (one that is stored on S3) is for a ride event that was sent, and has the bytes
   of its own record and its own reason.
4. If a ride event has to be rejected and is not kept yet, no later prediction of its batch is
   published.
5. The function's report names one fate for each ride event of the batch (published, rejected, or
   to be retried), in the order of the records.  If the report says that a ride event was published
   or rejected, it is on the stream or on S3.
6. The checkpoint passes a record only if each of its ride events is published or kept, or if the
   record is at the destination.

**Liveness**, checked when the faults have ended: see `world`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Struct

from event_source_mapping.records import Record
from model_service.kinesis.accounting import BatchReport
from model_service.stream.predictions import Prediction

from .workload import Sent, Truth

LOST, MADE_UP, MISATTRIBUTED = "lost", "made up", "misattributed"
MISREPORTED, STUCK, CRASHED = "misreported", "stuck", "crashed"
KINDS = (LOST, MADE_UP, MISATTRIBUTED, MISREPORTED, STUCK, CRASHED)


class Violation(BaseException):
    """A law does not hold; *kind* is one of `KINDS`.

    It is not an `Exception`, because the service catches each of those that an AWS client raises.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


@dataclass(slots=True, eq=False)
class Delivered:
    """A record of the input stream; mutable, because a checkpoint passes it once."""

    number: int
    """Its number in the run, for messages."""
    record: Record
    shard_id: str
    envelope: dict[str, Any]
    """The record as Lambda delivers it."""
    events: tuple[tuple[str, Truth], ...]
    """The event id of each ride event, and what has to become of it."""
    passed: bool = False
    at_destination: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """The batch of one invocation, and the version of the model that scores it."""

    records: Sequence[Delivered]
    version: int
    events: Mapping[str, tuple[int, Delivered, Truth]]
    """Event id -> its position in the batch, its record, and what has to become of it."""


class _Source(Struct):
    event_id: str


class _Published(Struct):
    source: _Source


_published = msgspec.json.Decoder(_Published)


def delivered(number: int, record: Record, shard_id: str, sent: Sent, event: Any) -> Delivered:
    """Return record number *number* of the input stream.

    *sent* has the expected results of its ride events.  *event* is the record as Lambda delivers
    it.
    """
    name = event["eventID"]
    if sent.aggregated:
        events = tuple((f"{name}#{n}", truth) for n, truth in enumerate(sent.truths))
    else:
        events = ((name, sent.truths[0]),)
    return Delivered(number, record, shard_id, event, events)


@dataclass(slots=True)
class Ledger:
    """What was sent and what came out; mutable, because a run adds to it."""

    records: dict[str, Delivered] = field(default_factory=dict)
    """The records of the input stream, by sequence number."""
    shards: dict[str, list[Delivered]] = field(default_factory=dict)
    """The records of each shard that the checkpoint has not passed, the last one first."""
    published: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often the prediction of an event id and a version is on the output stream."""
    seen: set[str] = field(default_factory=set)
    """The event ids on the output stream."""
    objects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The event ids in each object on S3."""
    kept: Counter[str] = field(default_factory=Counter)
    """The number of objects that have an event id."""

    def sent(self, record: Delivered) -> None:
        self.records[record.record.sequence_number] = record
        self.shards.setdefault(record.shard_id, []).insert(0, record)

    def batch(self, records: Sequence[Record], version: int) -> Batch:
        """Return *records* with the expected result of each ride event in them.

        *records* are the records that one invocation received.  *version* is the number of the
        model's version that the invocation uses.  Raises `Violation` if there are no records, or
        if one of them is already resolved.
        """
        if not records:
            raise Violation(STUCK, "an invocation has no records")
        found = [self.records[record.sequence_number] for record in records]
        if again := [record for record in found if record.passed or record.at_destination]:
            raise Violation(MISREPORTED, f"{_name(again[0])} is resolved, and is delivered again")
        events = [(name, record, truth) for record in found for name, truth in record.events]
        by_id = {name: (n, record, truth) for n, (name, record, truth) in enumerate(events)}
        return Batch(found, version, by_id)

    def publish(self, batch: Batch, entries: Sequence[Mapping[str, Any]]) -> None:
        """Note and check *entries*, which the output stream has accepted from *batch*."""
        unkept = self._first_unkept(batch)
        for entry in entries:
            data, key = entry["Data"], entry["PartitionKey"]
            try:
                event_id = _published.decode(data).source.event_id
                position, record, truth = batch.events[event_id]
            except (msgspec.DecodeError, KeyError):
                raise Violation(
                    MADE_UP, f"a prediction of no ride in the batch: {data!r}"
                ) from None
            if reason := truth.rejection(batch.version):
                raise Violation(
                    MADE_UP, f"{_name(record)} is published, and has to be rejected: {reason}"
                )
            expected = truth.prediction(event_id, record.record.arrived_at, batch.version)
            if data != expected:
                raise Violation(
                    MISATTRIBUTED, f"{_name(record)} is published as {data!r}, not {expected!r}"
                )
            if key != str(truth.ride_id):  # type: ignore[union-attr]
                raise Violation(MISATTRIBUTED, f"{_name(record)} has the partition key {key!r}")
            if position >= unkept:
                raise Violation(
                    MISREPORTED, f"{_name(record)} is published behind a rejection that is not kept"
                )
            self.published[event_id, batch.version] += 1
            self.seen.add(event_id)

    def keep(self, batch: Batch, key: str, body: bytes) -> None:
        """Note and check an object that S3 has accepted from *batch*."""
        content = json.loads(body)
        reasons: dict[str, str] = content["reasons"]
        raws = json.loads(content["payload"])["Records"]
        numbers = [raw["kinesis"]["sequenceNumber"] for raw in raws]
        for raw, number in zip(raws, numbers, strict=True):
            if number not in self.records or raw != self.records[number].envelope:
                raise Violation(MISATTRIBUTED, f"the object {key} has other bytes than its record")
        if not key.rpartition("/")[2].startswith(f"{numbers[0]}-{numbers[-1]}"):
            raise Violation(MISATTRIBUTED, f"the object {key} begins or ends with another record")
        for event_id, reason in reasons.items():
            if event_id not in batch.events:
                raise Violation(MADE_UP, f"a rejection of no ride in the batch: {event_id}")
            _, record, truth = batch.events[event_id]
            if record.record.sequence_number not in numbers:
                raise Violation(LOST, f"{_name(record)} is kept without its bytes")
            if reason != (expected := truth.rejection(batch.version)):
                raise Violation(
                    MISATTRIBUTED,
                    f"{_name(record)} is kept for {reason!r}, not for {expected or 'nothing'!r}",
                )
        before = self.objects.get(key, ())
        self.kept.subtract(before)
        self.kept.update(list(reasons))
        self.objects[key] = tuple(reasons)
        for event_id in before:
            record = self.records[event_id.partition(":")[2].partition("#")[0]]
            if record.passed and not record.at_destination and not self._is_resolved(event_id):
                raise Violation(LOST, f"{_name(record)} was kept, and its object was replaced")

    def report(
        self, batch: Batch, report: BatchReport[Prediction], response: Mapping[str, Any]
    ) -> None:
        """Check the report and the response of an invocation."""
        to_retry = self._expanded(batch, report.to_retry)
        published = [prediction.source.event_id for prediction in report.published]
        rejected = [rejection.event_id for rejection in report.rejected]
        fates = {event_id: "published" for event_id in published}
        fates |= {event_id: "rejected" for event_id in rejected}
        fates |= {event_id: "to retry" for event_id in to_retry}
        expected = list(batch.events)
        if len(published) + len(rejected) + len(to_retry) != len(expected):
            raise Violation(MISREPORTED, "a ride event has no fate or several fates in the report")
        for name, given in (
            ("published", published),
            ("rejected", rejected),
            ("to retry", to_retry),
        ):
            if given != [event_id for event_id in expected if fates.get(event_id) == name]:
                raise Violation(MISREPORTED, f"what is {name} is not in the order of the records")
        for event_id in published:
            if not self.published[event_id, batch.version]:
                name = _name(batch.events[event_id][1])
                raise Violation(LOST, f"{name} is reported as published, and is not")
        for event_id in rejected:
            if self.kept[event_id] < 1:
                name = _name(batch.events[event_id][1])
                raise Violation(LOST, f"{name} is reported as rejected, and is not kept")
        if rejected and report.checkpoint is not None:
            first = self.records[report.checkpoint]
            last = batch.events[rejected[-1]][1]
            if batch.records.index(last) >= batch.records.index(first):
                raise Violation(MISREPORTED, "a record behind the checkpoint counts as rejected")
        retried = batch.events[to_retry[0]][1] if to_retry else None
        checkpoint = retried.record.sequence_number if retried else None
        failures = [] if checkpoint is None else [{"itemIdentifier": checkpoint}]
        if report.checkpoint != checkpoint or response["batchItemFailures"] != failures:
            raise Violation(MISREPORTED, "the checkpoint is not the first record to retry")

    def _expanded(self, batch: Batch, event_ids: Sequence[str]) -> list[str]:
        """Return *event_ids*; ids of ride events replace that of an aggregate that is not read."""
        expanded: list[str] = []
        for event_id in event_ids:
            if event_id in batch.events:
                expanded.append(event_id)
            elif record := self.records.get(event_id.partition(":")[2]):
                expanded += [name for name, _ in record.events]
        return expanded

    def discard(self, records: Sequence[Record]) -> None:
        """Note that *records* were sent to the on-failure destination."""
        for record in records:
            self.records[record.sequence_number].at_destination = True

    def checkpoint(self, shard_id: str, sequence_number: str) -> None:
        """Move the checkpoint of a shard past the record with *sequence_number*."""
        waiting = self.shards[shard_id]
        while True:
            if not waiting:
                raise Violation(LOST, f"the checkpoint of {shard_id} is not one of its records")
            record = waiting.pop()
            record.passed = True
            if not record.at_destination:
                for event_id, _ in record.events:
                    if not self._is_resolved(event_id):
                        raise Violation(
                            LOST, f"the checkpoint passes {_name(record)}, which is nowhere"
                        )
            if record.record.sequence_number == sequence_number:
                return

    @property
    def waiting(self) -> int:
        """Return the number of records that no checkpoint has passed."""
        return sum(map(len, self.shards.values()))

    @property
    def duplicates(self) -> int:
        """Return the number of published prediction events that were already on the stream."""
        return sum(self.published.values()) - len(self.published)

    def _is_resolved(self, event_id: str) -> bool:
        return event_id in self.seen or self.kept[event_id] > 0

    def _first_unkept(self, batch: Batch) -> int:
        """Return the position of the first ride event that has to be rejected and is not kept."""
        return next(
            (
                position
                for event_id, (position, _, truth) in batch.events.items()
                if truth.rejection(batch.version) and self.kept[event_id] < 1
            ),
            len(batch.events),
        )


def _name(record: Delivered) -> str:
    return f"record {record.number}"
