from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from hypothesis import given
from hypothesis import strategies as st

from model_service import stream
from model_service.errors import EventError, ModelError
from model_service.features import RideColumns
from model_service.publisher import Publish, Published
from model_service.rejects import Keep
from model_service.rides import Prediction, encode, event_of
from model_service.scoring import Answers, Target, TimeLeft
from model_service.stream import Report

from .factories import (
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
) -> Report:
    return stream.process(
        event,
        model=model or FakeModel(cannot=lambda rides: rides.distance == HOPELESS),
        target=Target(),
        publish=publish or MemoryPublisher(),
        keep=keep or MemoryRejects(),
        time_left=lambda: seconds,
    )


def failures(report: Report) -> list[dict[str, str]]:
    found: list[dict[str, str]] = report.response(with_predictions=False)["batchItemFailures"]
    return found


def aggregate(*payloads: bytes) -> bytes:
    aggregator = RecordAggregator()
    for data in payloads:
        aggregator.add_user_record("key", data)
    return bytes(aggregator.clear_and_get().get_contents()[2])


def test_a_good_batch_is_published_and_nothing_is_retried() -> None:
    output = MemoryPublisher()

    report = process(kinesis_event(payload(1), payload(2)), publish=output)

    assert [prediction.ride_id for prediction in output.sent] == [1, 2]
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

    assert [prediction.ride_id for prediction in output.sent] == [1, 3]
    assert [rejection.record.raw for rejection in rejects.kept] == [event["Records"][1]]
    assert failures(report) == []


def test_delivery_goes_on_at_the_first_ride_that_is_not_published() -> None:
    event = kinesis_event(*map(payload, range(5)))

    report = process(event, publish=MemoryPublisher(refuse=frozenset({2, 4})))

    assert failures(report) == [{"itemIdentifier": sequence_number(event, 2)}]
    assert [prediction.ride_id for prediction in report.published] == [0, 1, 3]


def test_only_what_lies_before_the_checkpoint_is_kept() -> None:
    event = kinesis_event(BAD, payload(2), BAD, payload(4))
    rejects = MemoryRejects()

    report = process(event, publish=MemoryPublisher(refuse=frozenset({2})), keep=rejects)

    assert [rejection.record.raw for rejection in rejects.kept] == [event["Records"][0]]
    assert report.to_retry == tuple(event["Records"][n]["eventID"] for n in (1, 2))


def test_what_cannot_be_kept_is_to_retry() -> None:
    event = kinesis_event(payload(1), BAD, payload(3), BAD)
    rejects = MemoryRejects(lose=frozenset({event["Records"][1]["eventID"]}))

    report = process(event, keep=rejects)

    assert failures(report) == [{"itemIdentifier": sequence_number(event, 1)}]
    assert report.rejected == ()
    assert len(report.to_retry) == 2


def test_a_user_record_that_is_not_published_fails_the_record_it_came_in() -> None:
    event = kinesis_event(payload(0), aggregate(payload(1), BAD, payload(2)), payload(3))
    rejects = MemoryRejects()

    report = process(event, publish=MemoryPublisher(refuse=frozenset({2})), keep=rejects)

    assert failures(report) == [{"itemIdentifier": sequence_number(event, 1)}]
    assert rejects.kept == []
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

    assert failures(report) == [{"itemIdentifier": sequence_number(event, 0)}]
    assert len(report.to_retry) == 2


@pytest.mark.parametrize(("payloads", "left"), [([payload(1)], 59.5), ([payload(1), BAD], 54.5)])
def test_publishing_leaves_time_to_answer_and_to_keep(payloads: list[bytes], left: float) -> None:
    found: list[float] = []

    def publish(predictions: Sequence[Prediction], time_left: TimeLeft) -> Published:
        found.append(time_left())
        return Published()

    process(kinesis_event(*payloads), publish=publish)

    assert found == [pytest.approx(left)]


def test_even_a_short_timeout_leaves_most_of_it_to_publish() -> None:
    found: list[float] = []

    def publish(predictions: Sequence[Prediction], time_left: TimeLeft) -> Published:
        found.append(time_left())
        return Published()

    process(kinesis_event(payload(1), BAD), publish=publish, seconds=3.0)

    assert found[0] > 1.5


def test_the_response_has_the_predictions_where_they_are_asked_for() -> None:
    report = process(kinesis_event(payload(1)))

    assert "predictions" not in report.response(with_predictions=False)
    [prediction] = report.response(with_predictions=True)["predictions"]
    assert prediction["prediction"]["ride_id"] == 1


def test_a_response_that_lambda_would_refuse_leaves_the_predictions_out() -> None:
    wide = "\N{WASTEBASKET}" * 128  # twelve bytes each in the JSON that Lambda is sent
    report = process(kinesis_event(*(payload(wide) for _ in range(3000))))

    assert len(report.published) == 3000
    assert report.response(with_predictions=True) == {"batchItemFailures": []}


# What becomes of a ride event, as a letter: Good, Refused by the stream, Bad bytes, Hopeless for
# the model; rejections of bad bytes with an odd number are Lost.
FATES = st.lists(st.sampled_from("GRBHL"), max_size=25)


def data_of(fate: str, number: int) -> bytes:
    if fate in "BL":
        return f"{fate}{number}".encode()
    return payload(number, trip_distance=HOPELESS if fate == "H" else float(number))


def run(
    fates: str, first: int = 1
) -> tuple[dict[str, Any], Report, MemoryPublisher, MemoryRejects]:
    event = {
        "Records": [kinesis_record(data_of(f, n), n) for n, f in enumerate(fates, start=first)]
    }
    publish = MemoryPublisher(
        refuse=frozenset(n for n, f in enumerate(fates, start=first) if f == "R")
    )
    keep = MemoryRejects(
        lose=frozenset(
            r["eventID"] for r, f in zip(event["Records"], fates, strict=True) if f == "L"
        )
    )
    return event, process(event, publish=publish, keep=keep), publish, keep


@given(FATES.map("".join))
def test_every_record_has_exactly_one_fate(fates: str) -> None:
    event, report, _, _ = run(fates)

    accounted = [
        *(prediction.source.event_id for prediction in report.published),
        *(rejection.event_id for rejection in report.rejected),
        *report.to_retry,
    ]
    assert sorted(accounted) == [record["eventID"] for record in event["Records"]]


@given(FATES.map("".join))
def test_nothing_before_the_checkpoint_is_missing(fates: str) -> None:
    event, report, publish, keep = run(fates)

    numbers = [record["kinesis"]["sequenceNumber"] for record in event["Records"]]
    checkpoint = numbers.index(report.checkpoint) if report.checkpoint else len(numbers)
    there = {p.source.event_id for p in publish.sent} | {r.event_id for r in keep.kept}
    assert {record["eventID"] for record in event["Records"][:checkpoint]} <= there
    assert (checkpoint < len(numbers)) == bool(report.to_retry)


@given(FATES.map(lambda fates: "".join(fates).replace("R", "G").replace("L", "B")), st.data())
def test_how_records_were_batched_changes_nothing(fates: str, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(1, 5), min_size=1))
    together = run(fates)

    batches, start = [], 0
    for size in [*cuts, len(fates)]:
        batches.append(run(fates[start : start + size], first=start + 1))
        start += size

    assert outputs(batches) == outputs([together])


def outputs(batches: list[Any]) -> list[Any]:
    published = [encode(event_of(p)) for _, _, publish, _ in batches for p in publish.sent]
    kept = [(r.event_id, r.reason, r.record.raw) for *_, keep in batches for r in keep.kept]
    return [published, kept]


@given(FATES.map("".join))
def test_retries_end_and_lose_nothing(fates: str) -> None:
    """The stream and the bucket recover after the first try, as after an outage."""
    event, report, publish, keep = run(fates)
    published, kept = list(publish.sent), list(keep.kept)

    if report.checkpoint:
        numbers = [record["kinesis"]["sequenceNumber"] for record in event["Records"]]
        again = {"Records": event["Records"][numbers.index(report.checkpoint) :]}
        retried = process(again, publish=publish.__class__(sent=published),
                          keep=keep.__class__(kept=kept))  # fmt: skip
        assert retried.checkpoint is None

    answered = {p.source.event_id for p in published}
    rejected = {r.event_id for r in kept}
    assert not answered & rejected
    assert answered | rejected == {record["eventID"] for record in event["Records"]}


def test_a_response_is_plain_json_whatever_numbers_the_model_gives() -> None:
    def narrow(rides: RideColumns) -> Answers:
        values = rides.distance.astype(np.float32)
        return Answers(values.astype(np.float64), np.stack([values, values + 1], axis=1))

    report = process(kinesis_event(payload(1, trip_distance=2.5)), model=FakeModel(narrow))

    assert '"interval": [2.5, 3.5]' in json.dumps(report.response(with_predictions=True))
