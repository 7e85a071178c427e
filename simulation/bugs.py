"""Bugs to plant, to test that the simulator finds them.

Each bug is a small change of the service, or of the mapping, that somebody could make by mistake.
It replaces a function for as long as it is planted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from unittest.mock import patch

from event_source_mapping import lanes
from model_service import payloads, rides, scoring
from model_service.errors import RideRejected
from model_service.kinesis import accounting, publisher, rejects
from model_service.kinesis.accounting import END, Item
from model_service.stream import processor
from model_service.stream.predictions import Prediction, Source

Replaced = tuple[object, str, Any]
"""An object, the name of an attribute of it, and the value that replaces the attribute."""


class Bug(NamedTuple):
    """A bug to plant: its name, a sentence about it, and a function that returns its changes."""

    name: str
    meaning: str
    plant: Callable[[], Sequence[Replaced]]


def _report_the_last_failure() -> list[Replaced]:
    def checkpoint(items: Sequence[Item[Any]]) -> int:
        return max((item.position for item in items if item.fate is None), default=END)

    return [(accounting, "checkpoint", checkpoint)]


def _count_rejections_behind_the_checkpoint() -> list[Replaced]:
    return [(accounting, "settle", list)]


def _publish_behind_a_rejection_that_is_not_kept() -> list[Replaced]:
    def keep_rejections(items: Any, keep: Any, time_left: Any) -> Any:
        keep([accounting.rejection(item) for item in items if _is_rejected(item)], time_left)
        return list(items)

    return [(accounting, "keep_rejections", keep_rejections)]


def _swallow_a_throttled_entry() -> list[Replaced]:
    original = publisher._refusal

    def refusal(entry: Any) -> Any:
        found = original(entry)
        return None if found and "Throughput" in found.code else found

    return [(publisher, "_refusal", refusal)]


def _accept_an_entry_without_a_sequence_number() -> list[Replaced]:
    original = publisher._refusal

    def refusal(entry: Any) -> Any:
        return original(entry) if isinstance(entry, dict) and entry.get("ErrorCode") else None

    return [(publisher, "_refusal", refusal)]


def _accept_an_object_without_an_etag() -> list[Replaced]:
    def put(self: Any, rejections: Any) -> bool:
        original_client = self.client

        class Client:
            def put_object(self, **parameters: Any) -> Any:
                original_client.put_object(**parameters)
                return {"ETag": "anything"}

        return original(replace(self, client=Client()), rejections)

    original = rejects.S3Rejects._put
    return [(rejects.S3Rejects, "_put", put)]


def _take_a_late_call_for_accepted() -> list[Replaced]:
    original = publisher.KinesisPublisher._send

    def send(self: Any, entries: Any, positions: Any, time_left: Any) -> Any:
        call_all = self.call_all

        def believing(calls: Any, seconds: float) -> Any:
            results = call_all(calls, seconds)
            return [
                [None] * len(call.args[0]) if result is None else result
                for call, result in zip(calls, results, strict=True)
            ]

        return original(replace(self, call_all=believing), entries, positions, time_left)

    return [(publisher.KinesisPublisher, "_send", send)]


def _take_a_server_error_for_accepted() -> list[Replaced]:
    original = publisher.KinesisPublisher._put

    def put(self: Any, entries: Any) -> Any:
        refusals = original(self, entries)
        return [None if one and one.code == "InternalFailure" else one for one in refusals]

    return [(publisher.KinesisPublisher, "_put", put)]


def _send_the_wrong_entries_again() -> list[Replaced]:
    original = publisher.KinesisPublisher._send

    def send(self: Any, entries: Any, positions: Any, time_left: Any) -> Any:
        refused = original(self, entries, positions, time_left)
        return {positions.index(n): refusal for n, refusal in refused.items()}

    return [(publisher.KinesisPublisher, "_send", send)]


def _take_the_arrival_of_the_first_record() -> list[Replaced]:
    original = processor._score

    def score(items: Any, *rest: Any) -> Any:
        arrived_at = items[0].record.arrived_at
        return [
            item.with_fate(_with_arrival(item.fate, arrived_at))
            if isinstance(item.fate, Prediction)
            else item
            for item in original(items, *rest)
        ]

    return [(processor, "_score", score)]


def _with_arrival(prediction: Prediction, arrived_at: Any) -> Prediction:
    source = Source(prediction.source.event_id, arrived_at)
    return Prediction(
        prediction.model,
        prediction.version,
        prediction.field,
        prediction.value,
        prediction.interval,
        prediction.ride_id,
        source,
    )


def _share_the_budget_of_a_record() -> list[Replaced]:
    shared = [payloads.Budget()]
    original_read = processor._read

    def read(*arguments: Any) -> Any:
        shared[0] = payloads.Budget()
        return original_read(*arguments)

    original_unzip = payloads.unzip
    return [
        (processor, "_read", read),
        (payloads, "unzip", lambda data, budget: original_unzip(data, shared[0])),
    ]


def _ignore_the_deadline_while_reading() -> list[Replaced]:
    original = processor._read

    def read(batch: Any, time_left: Any) -> Any:
        def unlimited() -> float:
            time_left()
            return 1.0

        return original(batch, unlimited)

    return [(processor, "_read", read)]


def _drop_what_was_not_read_in_time() -> list[Replaced]:
    original = processor._read

    def read(batch: Any, time_left: Any) -> Any:
        items, ignored = original(batch, time_left)
        return [item for item in items if item.retry_reason != accounting.UNREAD], ignored

    return [(processor, "_read", read)]


def _reject_what_was_not_scored_in_time() -> list[Replaced]:
    original = processor._score

    def score(*arguments: Any) -> Any:
        return [
            item.with_fate(RideRejected("no time left"))
            if item.retry_reason == accounting.UNSCORED
            else item
            for item in original(*arguments)
        ]

    return [(processor, "_score", score)]


def _report_a_rejected_record() -> list[Replaced]:
    original = accounting.settle

    def settle(items: Any) -> Any:
        return [item.to_retry() if _is_rejected(item) else item for item in original(items)]

    return [(accounting, "settle", settle)]


def _blame_the_rides_for_a_broken_model() -> list[Replaced]:
    return [(scoring, "warm_up", lambda model, because=None: None)]


def _give_a_ride_its_neighbours_value() -> list[Replaced]:
    original = scoring._isolate

    def isolate(model: Any, target: Any, some: Any, time_left: Any) -> Any:
        found = original(model, target, some, time_left)
        values = found.values.copy()
        values[found.scored] = values[found.scored][::-1]
        return replace(found, values=values)

    return [(scoring, "_isolate", isolate)]


def _give_user_records_one_identity() -> list[Replaced]:
    original = payloads._user_records

    def user_records(data: str, event_id: str) -> Any:
        return [(event_id, raw) for _, raw in original(data, event_id)]

    return [(payloads, "_user_records", user_records)]


def _remember_the_time_of_the_ride_before() -> list[Replaced]:
    original = rides._ride
    before: list[Any] = [None]

    def ride(json: Any, moment: Any, path: str) -> Any:
        earlier, before[0] = before[0], moment
        return original(json, earlier or moment, path)

    return [(rides, "_ride", ride)]


def _keep_the_version_of_the_first_deployment() -> list[Replaced]:
    original = processor._score

    def score(items: Any, model: Any, *rest: Any) -> Any:
        class Named:
            version = "version-0"
            seconds = model.seconds
            predict = model.predict

        return original(items, Named(), *rest)

    return [(processor, "_score", score)]


def _split_without_progress() -> list[Replaced]:
    original = lanes.respond

    def respond(lane: Any, number: int, turn: Any, **outcome: Any) -> Any:
        records = lane.batches[0].records
        found = original(lane, number, turn, **outcome)
        if len(found.batches) < len(lane.batches) + 1:
            return found
        left, right, *rest = found.batches
        return replace(found, batches=(left, replace(right, records=records), *rest))

    return [(lanes, "respond", respond)]


def _resolve_a_throttled_batch() -> list[Replaced]:
    def throttle(lane: Any, number: int, turn: Any) -> Any:
        return lanes.respond(lane, number, turn, done=len(lane.batches[0].records))

    return [(lanes, "throttle", throttle)]


def _is_rejected(item: Item[Any]) -> bool:
    return isinstance(item.fate, RideRejected)


BUGS = tuple(
    Bug(plant.__name__.strip("_").replace("_", "-"), meaning, plant)
    for plant, meaning in (
        (_report_the_last_failure, "the checkpoint is the last record to retry"),
        (_count_rejections_behind_the_checkpoint, "a rejection behind the checkpoint counts"),
        (_publish_behind_a_rejection_that_is_not_kept, "S3's refusals are not looked at"),
        (_swallow_a_throttled_entry, "a throttled entry counts as published"),
        (_accept_an_entry_without_a_sequence_number, "any answer without an error is believed"),
        (_accept_an_object_without_an_etag, "any answer of S3 is believed"),
        (_take_a_late_call_for_accepted, "a call that is late counts as accepted"),
        (_take_a_server_error_for_accepted, "a 5xx of PutRecords counts as accepted"),
        (_send_the_wrong_entries_again, "refused entries are counted from the wrong start"),
        (_take_the_arrival_of_the_first_record, "all rides have the first record's arrival"),
        (_share_the_budget_of_a_record, "a batch shares what a record's gzips may hold"),
        (_ignore_the_deadline_while_reading, "reading may use up the invocation"),
        (_drop_what_was_not_read_in_time, "unread records are left out of the report"),
        (_reject_what_was_not_scored_in_time, "unscored rides are rejected"),
        (_report_a_rejected_record, "a rejected record is reported as a failure"),
        (_blame_the_rides_for_a_broken_model, "a broken model's rides are rejected"),
        (_give_a_ride_its_neighbours_value, "values change places beside a ride that fails"),
        (_give_user_records_one_identity, "user records of an aggregate share an event id"),
        (_remember_the_time_of_the_ride_before, "a ride gets the arrival of the ride before"),
        (_keep_the_version_of_the_first_deployment, "predictions name another version"),
        (_split_without_progress, "the mapping's right half is the whole batch"),
        (_resolve_a_throttled_batch, "the mapping takes a throttle for a success"),
    )
)


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Plant the bug *name* while the context lasts; an empty name plants none."""
    patches = [patch.object(*one) for one in _by_name(name).plant()] if name else []
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def _by_name(name: str) -> Bug:
    return next(bug for bug in BUGS if bug.name == name)
