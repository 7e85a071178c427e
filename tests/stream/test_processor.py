from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import numpy as np
import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from hypothesis import given
from hypothesis import strategies as st

from model_service import rides
from model_service.errors import EventError, ModelError
from model_service.features import RideColumns
from model_service.kinesis import records
from model_service.kinesis.accounting import BatchReport
from model_service.kinesis.publisher import Entry, Publish, PublishResult
from model_service.kinesis.rejects import Keep, Rejection
from model_service.payloads import payloads
from model_service.scoring import Answers, Target, TimeLeft
from model_service.stream import processor
from model_service.stream.predictions import Prediction, event_of

from ..support.factories import (
    FakeModel,
    MemoryPublisher,
    MemoryRejects,
    kinesis_event,
    kinesis_record,
    payload,
    sequence_number,
)

BAD = b'{"ride_id": 1}'
HOPELESS = 13.0  # a distance that the model raises at


def process(
    event: dict[str, Any],
    *,
    model: FakeModel | None = None,
    publish: Publish | None = None,
    keep: Keep | None = None,
    seconds: float = 60.0,
) -> BatchReport[Prediction]:
    return processor.process(
        event,
        model=model or FakeModel(cannot=lambda rides: rides.distance == HOPELESS),
        target=Target(),
        publish=publish or MemoryPublisher(),
        keep=keep or MemoryRejects(),
        time_left=lambda: seconds,
    )


def test_a_report_has_the_times_of_the_given_clock() -> None:
    ticks = count()

    report = processor.process(
        kinesis_event(payload(1)),
        model=FakeModel(),
        target=Target(),
        publish=MemoryPublisher(),
        keep=MemoryRejects(),
        time_left=lambda: 60.0,
        now=lambda: datetime(2022, 6, 2, 9, 18, 36, 132000, tzinfo=UTC),
        timer=lambda: next(ticks) / 1000,
    )

    assert report.published_at.second == 36
    assert report.latencies_ms == (2000.0,)  # the record arrived at 34.132
    assert report.model_ms == pytest.approx(1)
    assert report.publish_ms == pytest.approx(1)


def failures(report: BatchReport[Prediction]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = processor.response(report, with_predictions=False)[
        "batchItemFailures"
    ]
    return found


def aggregate(*payloads: bytes) -> bytes:
    aggregator = RecordAggregator()
    for data in payloads:
        aggregator.add_user_record("key", data)
    return bytes(aggregator.clear_and_get().get_contents()[2])


def test_a_good_batch_is_published_and_nothing_is_retried() -> None:
    output = MemoryPublisher()

    report = process(kinesis_event(payload(1), payload(2)), publish=output)

    assert output.keys == ["1", "2"]
    assert failures(report) == []


def test_a_prediction_names_its_model_its_version_and_its_record() -> None:
    event = kinesis_event(payload(256))

    [prediction] = process(event).published

    assert event_of(prediction) == {
        "model": "ride_duration_prediction_model",
        "version": "Test123",
        "prediction": {"ride_duration": pytest.approx(20.3), "ride_id": 256},
        "source": {
            "event_id": event["Records"][0]["eventID"],
            "arrived_at": "2022-06-02T09:18:34.132Z",
        },
    }


@pytest.mark.parametrize("bad", [BAD, "!", payload(1, trip_distance=HOPELESS)])
def test_a_bad_ride_does_not_stop_its_neighbours(bad: bytes | str) -> None:
    event = kinesis_event(payload(1), bad, payload(3))
    output, rejects = MemoryPublisher(), MemoryRejects()

    report = process(event, publish=output, keep=rejects)

    assert output.keys == ["1", "3"]
    assert [rejection.record.raw for rejection in rejects.kept] == [event["Records"][1]]
    assert failures(report) == []


def test_delivery_goes_on_at_the_first_ride_that_is_not_published() -> None:
    event = kinesis_event(*map(payload, range(5)))

    report = process(event, publish=MemoryPublisher(refuse=frozenset({"2", "4"})))

    assert failures(report) == [{"itemIdentifier": sequence_number(event, 2)}]
    assert [prediction.ride_id for prediction in report.published] == [0, 1, 3]


def test_rejections_are_kept_before_anything_is_published() -> None:
    """One behind an entry that is not published counts again when it is delivered again."""
    event = kinesis_event(BAD, payload(2), BAD, payload(4))
    rejects = MemoryRejects()

    def publish(entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
        assert len(rejects.kept) == 2
        return PublishResult(frozenset({0}))

    report = process(event, publish=publish, keep=rejects)

    assert [rejection.record.raw for rejection in report.rejected] == [event["Records"][0]]
    assert report.to_retry == tuple(event["Records"][n]["eventID"] for n in (1, 2))


def test_nothing_is_published_behind_a_rejection_that_cannot_be_kept() -> None:
    event = kinesis_event(payload(1), BAD, payload(3), BAD)
    rejects = MemoryRejects(lose=frozenset({event["Records"][1]["eventID"]}))
    output = MemoryPublisher()

    report = process(event, publish=output, keep=rejects)

    assert failures(report) == [{"itemIdentifier": sequence_number(event, 1)}]
    assert output.keys == ["1"]
    assert report.rejected == ()
    assert len(report.to_retry) == 3
    assert report.retry_reasons == {"a rejection could not be kept": 3}


def test_a_user_record_that_is_not_published_fails_the_record_it_came_in() -> None:
    event = kinesis_event(payload(0), aggregate(payload(1), BAD, payload(2)), payload(3))

    report = process(event, publish=MemoryPublisher(refuse=frozenset({"2"})))

    assert failures(report) == [{"itemIdentifier": sequence_number(event, 1)}]
    assert report.rejected == ()
    assert [prediction.ride_id for prediction in report.published] == [0, 1, 3]


def test_a_bad_user_record_is_rejected_alone() -> None:
    event = kinesis_event(aggregate(payload(1), BAD, payload(2)))

    report = process(event)

    [rejection] = report.rejected
    assert rejection.event_id == event["Records"][0]["eventID"] + "#1"
    assert [prediction.ride_id for prediction in report.published] == [1, 2]


def test_a_batch_is_one_call_to_the_model() -> None:
    model = FakeModel()

    process(kinesis_event(*map(payload, range(100)), BAD), model=model)

    assert model.calls == [100]


def test_a_broken_model_fails_the_batch_and_rejects_nobody() -> None:
    rejects = MemoryRejects()

    with pytest.raises(ModelError):
        process(kinesis_event(payload(1)), model=FakeModel(cannot=lambda rides: True), keep=rejects)

    assert rejects.kept == []


def test_what_is_no_batch_is_refused() -> None:
    with pytest.raises(EventError):
        process({"Records": None})


def test_rides_that_the_time_did_not_reach_are_to_retry() -> None:
    event = kinesis_event(payload(0, trip_distance=HOPELESS), payload(1))

    report = process(event, seconds=0.0)

    assert failures(report) == [{"itemIdentifier": sequence_number(event, 1)}]
    assert len(report.rejected) == len(report.to_retry) == 1


def test_publishing_leaves_time_to_answer() -> None:
    found: list[float] = []

    def publish(entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
        found.append(time_left())
        return PublishResult()

    process(kinesis_event(payload(1), BAD), publish=publish)

    assert found == [pytest.approx(59.5)]


def test_even_a_short_timeout_leaves_most_of_it_to_publish() -> None:
    found: list[float] = []

    def publish(entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
        found.append(time_left())
        return PublishResult()

    process(kinesis_event(payload(1), BAD), publish=publish, seconds=3.0)

    assert found[0] > 1.5


def test_the_response_has_the_predictions_where_they_are_asked_for() -> None:
    report = process(kinesis_event(payload(1)))

    assert "predictions" not in processor.response(report, with_predictions=False)
    [prediction] = processor.response(report, with_predictions=True)["predictions"]
    assert prediction["prediction"]["ride_id"] == 1


def test_a_response_that_lambda_would_refuse_leaves_the_predictions_out() -> None:
    wide = "\N{WASTEBASKET}" * 128  # twelve bytes each in the JSON that Lambda is sent
    report = process(kinesis_event(*(payload(wide) for _ in range(3000))))

    assert len(report.published) == 3000
    assert processor.response(report, with_predictions=True) == {"batchItemFailures": []}


def test_predictions_are_returned_up_to_the_limit_and_not_beyond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit is in bytes of JSON as Lambda writes it: with spaces, and ASCII alone."""
    report = process(kinesis_event(payload("\N{WASTEBASKET}"), payload("b" * 128)))
    size = len(json.dumps([event_of(prediction) for prediction in report.published]))

    monkeypatch.setattr(processor, "MAX_RESPONSE", size)
    assert "predictions" in processor.response(report, with_predictions=True)
    monkeypatch.setattr(processor, "MAX_RESPONSE", size - 1)
    assert "predictions" not in processor.response(report, with_predictions=True)


def test_every_prediction_has_the_arrival_time_of_its_own_record() -> None:
    users = aggregate(payload(3), payload(4))
    batch = [
        kinesis_record(data, number, arrived=1_654_161_514.0 + number)
        for number, data in enumerate([payload(1), BAD, payload(2), users], start=1)
    ]

    report = process({"Records": batch})

    arrivals = {p.ride_id: p.source.arrived_at.timestamp() for p in report.published}
    assert arrivals == {
        1: 1_654_161_515.0,
        2: 1_654_161_517.0,
        3: 1_654_161_518.0,
        4: 1_654_161_518.0,
    }


def test_the_gzips_of_one_record_take_nothing_from_the_next() -> None:
    """Eleven records that unzip to a megabyte each are more than one record may hold."""
    megabyte = gzip.compress(payload(1, padding="x" * 1_000_000))

    report = process(kinesis_event(*[megabyte] * 11))

    assert len(report.published) == 11


def test_the_arrival_on_the_stream_stands_for_a_pickup_time_that_is_absent() -> None:
    model = FakeModel(lambda rides: Answers(rides.hour * 10 + rides.weekday))

    report = process(
        kinesis_event(payload(1), payload(2, pickup_datetime="2021-03-01T08:15:00")), model=model
    )

    five_on_a_thursday, eight_on_a_monday = 53.0, 80.0
    assert [p.value for p in report.published] == [five_on_a_thursday, eight_on_a_monday]


class Clock:
    """Seconds that are left; time passes where somebody works."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds

    def work(self, seconds: float) -> None:
        self.seconds -= seconds


@pytest.mark.parametrize("seconds", [2.0, 5.0, 60.0])
def test_a_search_for_rides_at_fault_lets_the_others_out_in_time(seconds: float) -> None:
    """Every second ride makes a slow model raise: more than an invocation can find out."""
    clock = Clock(seconds)
    published: list[Entry] = []

    def ask(rides: RideColumns) -> Answers:
        return Answers(rides.distance)

    def cannot(rides: RideColumns) -> Any:
        clock.work(0.05)
        return rides.distance == HOPELESS

    def publish(entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
        assert time_left() > 0
        published.extend(entries)
        return PublishResult()

    distances = [HOPELESS if n % 2 else 1.0 for n in range(10_000)]
    report = processor.process(
        kinesis_event(*(payload(n, trip_distance=d) for n, d in enumerate(distances))),
        model=FakeModel(ask, cannot),
        target=Target(),
        publish=publish,
        keep=MemoryRejects(),
        time_left=clock,
    )

    assert clock() > 0
    assert report.checkpoint is not None
    assert report.published or report.rejected, "or the shard would stand still"


def test_rejects_are_kept_within_the_time_that_is_left() -> None:
    found: list[float] = []

    def keep(rejections: Sequence[Rejection], time_left: TimeLeft) -> frozenset[int]:
        found.append(time_left())
        return frozenset()

    process(kinesis_event(BAD), keep=keep, seconds=60.0)

    assert found == [5.0]


def test_only_the_first_record_is_read_where_there_is_no_time() -> None:
    event = kinesis_event(BAD, payload(2))

    report = process(event, seconds=0.0)

    assert [rejection.record.raw for rejection in report.rejected] == [event["Records"][0]]
    assert failures(report) == [{"itemIdentifier": sequence_number(event, 1)}]
    assert report.retry_reasons == {"no time left to read the record": 1}


class Stages:
    """A world in which each stage takes its time, on a clock of its own."""

    def __init__(
        self, seconds: float, *, read: float = 0, score: float = 0, keep: float = 0, send: float = 0
    ) -> None:
        self.clock = Clock(seconds)
        self.score, self.read_seconds, self.keep_seconds, self.send = score, read, keep, send

    def read(self, *record: Any) -> Iterator[rides.RideResult]:
        self.clock.work(self.read_seconds)
        return rides.read(*record)

    def ask(self, rides: RideColumns) -> Answers:
        self.clock.work(self.score * len(rides))
        return Answers(rides.distance)

    def keep(self, rejections: Sequence[Rejection], time_left: TimeLeft) -> frozenset[int]:
        return self._in_time(len(rejections), self.keep_seconds, time_left)

    def publish(self, entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
        return PublishResult(self._in_time(len(entries), self.send, time_left))

    def _in_time(self, number: int, seconds: float, time_left: TimeLeft) -> frozenset[int]:
        done = 0
        while done < number and time_left() > seconds:
            self.clock.work(seconds)
            done += 1
        return frozenset(range(done, number))


@given(
    st.lists(st.booleans(), min_size=1, max_size=80),
    st.sampled_from(["read", "score", "keep", "send"]),
    st.floats(0.001, 1),
)
def test_a_slow_stage_never_stops_the_checkpoint(good: list[bool], slow: str, cost: float) -> None:
    """Whatever stage is slow: something gets out or is kept, in time, on every delivery."""
    batch = [kinesis_record(payload(n) if g else BAD, n) for n, g in enumerate(good)]
    deliveries = 0
    while batch:
        world = Stages(10.0, **{slow: cost})
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(processor, "read", world.read)
            report = processor.process(
                {"Records": batch},
                model=FakeModel(world.ask, seconds=world.score),
                target=Target(),
                publish=world.publish,
                keep=world.keep,
                time_left=world.clock,
            )
        assert world.clock() > 0, "Lambda would have stopped the function"
        assert report.published or report.rejected
        numbers = [record["kinesis"]["sequenceNumber"] for record in batch]
        start = numbers.index(report.checkpoint) if report.checkpoint else len(batch)
        assert start > 0, "the same batch would be delivered again"
        batch = batch[start:]
        deliveries += 1
    assert deliveries <= len(good)


def test_a_batch_without_progress_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    event = kinesis_event(payload(1))

    process(event, publish=MemoryPublisher(refuse=frozenset({"1"})))

    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert sequence_number(event, 0) in record.getMessage()


def test_gzips_of_one_record_share_a_budget() -> None:
    wide = gzip.compress(payload(1, note="x" * 1_000_000))
    event = kinesis_event(aggregate(*[wide] * 12))

    report = process(event)

    assert len(report.published) == 10
    assert {str(r.reason) for r in report.rejected} == {
        "the record's gzips hold more than 10485760 bytes"
    }


def test_rejected_gzips_hold_no_memory() -> None:
    """Each unzips to a megabyte before it is rejected; what is stored is the reason alone."""
    bomb = gzip.compress(bytes(1_100_000))
    event = kinesis_event(*[bomb] * 100, aggregate(*[bomb] * 10))

    tracemalloc.start()
    try:
        report = process(event)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(report.rejected) == 110
    assert peak < 10_000_000


# What becomes of a ride event, as a letter: Good, Refused by the stream at first, Bad bytes,
# Hopeless for the model, Lost (bad, and not kept at first); small letters are gzipped, and what
# stands between brackets comes as one aggregated record.
LETTERS = st.text("GRBHLgrbhl", min_size=1, max_size=4)
FATES = st.lists(LETTERS | LETTERS.map(lambda fates: f"[{fates}]"), max_size=10)


def data_of(fate: str, number: int) -> bytes:
    distance = HOPELESS if fate in "Hh" else float(number)
    data = b"?" if fate in "BLbl" else payload(f"{fate}{number}", trip_distance=distance)
    return gzip.compress(data, mtime=0) if fate.islower() else data


def kinesis_records(fates: list[str]) -> list[dict[str, Any]]:
    data: list[bytes] = []
    for group in fates:
        users = [data_of(fate, len(data)) for fate in group.strip("[]")]
        data += [aggregate(*users)] if group[0] == "[" else users
    return [kinesis_record(each, number) for number, each in enumerate(data, start=1)]


class World:
    """What is outside: an output stream and a bucket that fail as often as they are told."""

    def __init__(self, failing: int) -> None:
        self.failing = failing
        self.sent: dict[str, set[bytes]] = {}
        self.kept: dict[str, tuple[str, str]] = {}

    def publish(self, entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
        refused = frozenset(
            n for n, entry in enumerate(entries) if self.failing > 0 and entry.key[0] in "Rr"
        )
        for n, entry in enumerate(entries):
            if n not in refused:
                event_id = json.loads(entry.data)["source"]["event_id"]
                self.sent.setdefault(event_id, set()).add(entry.data)
        return PublishResult(refused)

    def keep(self, rejections: Sequence[Rejection], time_left: TimeLeft) -> frozenset[int]:
        if self.failing > 1:
            return frozenset(range(len(rejections)))
        for rejection in rejections:
            self.kept[rejection.event_id] = (rejection.reason, json.dumps(rejection.record.raw))
        return frozenset()


def deliver(batch: list[dict[str, Any]], world: World) -> list[BatchReport[Prediction]]:
    """Deliver a batch as Lambda does: from the checkpoint on, until nothing is left to retry."""
    reports: list[BatchReport[Prediction]] = []
    while batch:
        reports.append(process({"Records": batch}, publish=world.publish, keep=world.keep))
        world.failing -= 1
        numbers = [record["kinesis"]["sequenceNumber"] for record in batch]
        checkpoint = reports[-1].checkpoint
        batch = batch[numbers.index(checkpoint) :] if checkpoint else []
    return reports


def identities(event: dict[str, Any]) -> list[str]:
    return [
        payload.event_id
        for record in records.read(event)
        for payload in payloads(record.data, record.event_id)
    ]


@given(FATES, st.integers(0, 2))
def test_every_ride_event_has_exactly_one_fate(fates: list[str], failing: int) -> None:
    event, world = {"Records": kinesis_records(fates)}, World(failing)

    report = process(event, publish=world.publish, keep=world.keep)

    accounted = [
        *(prediction.source.event_id for prediction in report.published),
        *(rejection.event_id for rejection in report.rejected),
        *report.to_retry,
    ]
    assert sorted(accounted) == sorted(identities(event))


@given(FATES, st.integers(0, 2))
def test_nothing_before_the_checkpoint_is_missing(fates: list[str], failing: int) -> None:
    event, world = {"Records": kinesis_records(fates)}, World(failing)

    report = process(event, publish=world.publish, keep=world.keep)

    numbers = [record["kinesis"]["sequenceNumber"] for record in event["Records"]]
    checkpoint = numbers.index(report.checkpoint) if report.checkpoint else len(numbers)
    dealt_with = identities({"Records": event["Records"][:checkpoint]})
    assert set(dealt_with) <= world.sent.keys() | world.kept.keys()
    assert (checkpoint < len(numbers)) == bool(report.to_retry)


@given(FATES, st.lists(st.integers(1, 5), min_size=1), st.integers(0, 3))
def test_how_records_are_batched_and_retried_changes_nothing(
    fates: list[str], sizes: list[int], failing: int
) -> None:
    batch = kinesis_records(fates)
    at_once, in_parts = World(failing=0), World(failing)

    deliver(batch, at_once)
    start = 0
    for size in [*sizes, len(batch)]:
        deliver(batch[start : start + size], in_parts)
        start += size

    assert in_parts.sent == at_once.sent
    assert in_parts.kept == at_once.kept
    assert all(len(versions) == 1 for versions in in_parts.sent.values())


@given(FATES, st.integers(0, 3))
def test_retries_end_and_lose_nothing(fates: list[str], failing: int) -> None:
    batch, world = kinesis_records(fates), World(failing)

    reports = deliver(batch, world)

    assert len(reports) <= failing + 1
    assert not world.sent.keys() & world.kept.keys()
    assert sorted(world.sent.keys() | world.kept.keys()) == sorted(identities({"Records": batch}))


def test_a_response_is_plain_json_whatever_numbers_the_model_gives() -> None:
    def narrow(rides: RideColumns) -> Answers:
        values = rides.distance.astype(np.float32)
        return Answers(values.astype(np.float64), np.stack([values, values + 1], axis=1))

    report = process(kinesis_event(payload(1, trip_distance=2.5)), model=FakeModel(narrow))

    assert '"interval": [2.5, 3.5]' in json.dumps(processor.response(report, with_predictions=True))
