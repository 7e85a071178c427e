"""A batch of predictions becomes decisions: one a ride, and every copy of it the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_service import decisions
from model_service.decisions import decision, sweep, telemetry
from model_service.decisions.decision import Rules, State, Waiting
from model_service.decisions.predictions import Prediction, decode
from model_service.decisions.processor import Outcome
from model_service.decisions.store import Due, StoreError
from model_service.emf import Destination
from model_service.errors import EventError, RideRejected
from model_service.kinesis.accounting import BatchReport
from model_service.kinesis.records import utc_now

from ..support.decisions import COST, DURATION, MemoryTable, prediction_bytes, rules
from ..support.factories import (
    INVOCATION,
    MemoryPublisher,
    MemoryRejects,
    kinesis_event,
    sequence_number,
)

LATER = "2022-06-02T08:05:15.000Z"


def at_once(calls: Sequence[Callable[[], Any]], seconds: float) -> list[Any]:
    return [call() for call in calls]


def process(
    event: dict[str, Any],
    table: Any,
    publisher: MemoryPublisher,
    *,
    keep: MemoryRejects | None = None,
    by: Rules | None = None,
    time_left: Callable[[], float] = lambda: 60.0,
) -> BatchReport[Outcome]:
    return decisions.process(
        event,
        rules=by or rules(),
        store=table,
        publish=publisher,
        keep=keep or MemoryRejects(),
        time_left=time_left,
        call_all=at_once,
    )


def swept(table: MemoryTable, publisher: MemoryPublisher, by: Rules) -> sweep.SweepReport:
    return sweep.sweep(
        rules=by, store=table, publish=publisher, time_left=lambda: 60.0, call_all=at_once
    )


def line(report: BatchReport[Outcome]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(telemetry.log_line(report, INVOCATION, Destination()))
    return found


def test_a_decision_has_what_both_models_said() -> None:
    publisher = MemoryPublisher()
    event = kinesis_event(
        prediction_bytes(COST, value=18.4, version="2", event_id="s:1", arrived_at=LATER),
        prediction_bytes(DURATION, value=21.3, version="1", event_id="s:1", interval=[17, 26.9]),
    )

    report = process(event, MemoryTable(), publisher)

    [entry] = publisher.sent
    assert entry.key == "256"
    assert json.loads(entry.data) == {
        "ride_id": 256,
        "quote": {"ride_cost": 18.4, "ride_duration": 21.3},
        "intervals": {"ride_duration": [17.0, 26.9]},
        "flag": None,
        "reasons": [],
        "complete": True,
        "versions": {COST: "2", DURATION: "1"},
        "sources": {COST: "s:1", DURATION: "s:1"},
        "decided_at": LATER,
    }
    assert decisions.response(report) == {"batchItemFailures": []}
    assert len(report.latencies_ms) == 1


def test_a_ride_that_is_complete_in_its_batch_is_one_write() -> None:
    table = MemoryTable()
    both = [prediction_bytes(model, ride) for ride in range(50) for model in (DURATION, COST)]

    report = process(kinesis_event(*both), table, MemoryPublisher())

    assert table.writes == 50
    assert line(report)["table_writes"] == [50]
    assert line(report)["decided"] == [50]


def test_predictions_of_two_batches_are_joined_by_the_table() -> None:
    table, publisher = MemoryTable(), MemoryPublisher()

    first = process(kinesis_event(prediction_bytes(DURATION)), table, publisher)
    assert publisher.sent == []
    second = process(kinesis_event(prediction_bytes(COST)), table, publisher)

    assert len(publisher.sent) == 1
    assert (line(first)["waiting"], line(second)["decided"]) == ([1], [1])
    assert line(second)["table_writes"] == [2]


def test_256_and_its_text_are_the_same_ride() -> None:
    publisher = MemoryPublisher()

    process(
        kinesis_event(prediction_bytes(DURATION, 256), prediction_bytes(COST, "256")),
        MemoryTable(),
        publisher,
    )

    assert publisher.keys == ["256"]


def test_the_first_complete_set_decides_and_what_comes_later_is_superseded() -> None:
    table, publisher = MemoryTable(), MemoryPublisher()
    process(kinesis_event(prediction_bytes(DURATION), prediction_bytes(COST)), table, publisher)

    report = process(
        kinesis_event(
            prediction_bytes(DURATION, version="newer", value=99.0),
            prediction_bytes(COST, event_id="another", arrived_at=LATER),
            prediction_bytes(COST),  # a duplicate
        ),
        table,
        publisher,
    )

    assert len({entry.data for entry in publisher.sent}) == 1
    assert len(publisher.sent) == 2
    found = line(report)
    assert (found["superseded"], found["repeated"], found["decided"]) == ([2], [1], [0])
    assert report.latencies_ms == ()


def test_while_a_ride_waits_the_latest_arrival_of_a_model_counts() -> None:
    for order in ([0, 1], [1, 0]):
        publisher, table = MemoryPublisher(), MemoryTable()
        two = [
            prediction_bytes(DURATION, value=1.0),
            prediction_bytes(DURATION, value=2.0, event_id="another", arrived_at=LATER),
        ]
        for n in order:
            process(kinesis_event(two[n]), table, publisher)
        process(kinesis_event(prediction_bytes(COST)), table, publisher)

        assert json.loads(publisher.sent[0].data)["quote"]["ride_duration"] == 2.0


def test_a_model_that_no_decision_waits_for_is_counted_and_ignored() -> None:
    table, publisher = MemoryTable(), MemoryPublisher()

    report = process(kinesis_event(prediction_bytes("a_trial")), table, publisher)

    assert (table.writes, publisher.sent, report.checkpoint) == (0, [], None)
    assert line(report)["unexpected"] == [1]


def test_a_record_that_is_not_a_prediction_is_kept_and_holds_up_no_other() -> None:
    publisher, keep = MemoryPublisher(), MemoryRejects()
    event = kinesis_event(b"no json", prediction_bytes(DURATION), prediction_bytes(COST))

    report = process(event, MemoryTable(), publisher, keep=keep)

    assert [one.event_id for one in keep.kept] == [event["Records"][0]["eventID"]]
    assert (len(publisher.sent), report.checkpoint) == (1, None)
    assert line(report)["rejections"] == [
        {"reason": RideRejected.kind(keep.kept[0].reason), "rides": 1}
    ]


def test_nothing_behind_a_rejection_that_cannot_be_kept_is_stored() -> None:
    event = kinesis_event(b"no json", prediction_bytes(DURATION), prediction_bytes(COST))
    table, publisher = MemoryTable(), MemoryPublisher()

    report = process(
        event,
        table,
        publisher,
        keep=MemoryRejects(lose=frozenset({event["Records"][0]["eventID"]})),
    )

    assert (table.writes, publisher.sent) == (0, [])
    assert report.checkpoint == sequence_number(event, 0)


def test_lambda_retries_from_the_first_prediction_of_a_ride_that_is_not_published() -> None:
    event = kinesis_event(
        prediction_bytes(DURATION, 1),
        prediction_bytes(DURATION, 2),
        prediction_bytes(COST, 2),
        prediction_bytes(COST, 1),
    )

    report = process(event, MemoryTable(), MemoryPublisher(refuse=frozenset({"2"})))

    assert decisions.response(report) == {
        "batchItemFailures": [{"itemIdentifier": sequence_number(event, 1)}]
    }
    assert len(report.to_retry) == 2


class BrokenTable(MemoryTable):
    def replace(self, ride: str, before: State, after: Any) -> State:
        if ride == "2":
            raise StoreError("ProvisionedThroughputExceededException")
        return super().replace(ride, before, after)


def test_a_ride_that_the_table_does_not_take_is_retried(caplog: pytest.LogCaptureFixture) -> None:
    event = kinesis_event(prediction_bytes(DURATION, 1), prediction_bytes(DURATION, 2))

    report = process(event, BrokenTable(), MemoryPublisher())

    assert report.checkpoint == sequence_number(event, 1)
    assert line(report)["retry_reasons"] == {"the table did not store the prediction": 1}
    assert "ProvisionedThroughputExceeded" in caplog.text


def test_without_time_everything_but_the_first_record_is_retried() -> None:
    event = kinesis_event(prediction_bytes(DURATION, 1), prediction_bytes(DURATION, 2))

    report = process(event, MemoryTable(), MemoryPublisher(), time_left=lambda: 0.0)

    assert report.checkpoint == sequence_number(event, 1)


def test_an_event_of_another_service_is_refused() -> None:
    with pytest.raises(EventError, match="not a batch of Kinesis records"):
        process({"Records": [{"s3": {}}]}, MemoryTable(), MemoryPublisher())


def test_after_a_crash_between_table_and_stream_the_stored_bytes_are_published() -> None:
    class Died(Exception):
        pass

    def dies(*_: Any) -> Any:
        raise Died

    table, publisher = MemoryTable(), MemoryPublisher()
    event = kinesis_event(prediction_bytes(DURATION), prediction_bytes(COST))
    with pytest.raises(Died):
        process(event, table, dies)  # type: ignore[arg-type]
    stored = table.states["256"]
    assert isinstance(stored, decision.Decided)

    newer = kinesis_event(prediction_bytes(COST, version="newer"))
    process(newer, table, publisher)
    process(event, table, publisher)

    assert {entry.data for entry in publisher.sent} == {stored.body}


# --- the sweep ------------------------------------------------------------------------------------


def test_the_sweep_decides_with_what_there_is_after_the_deadline() -> None:
    table, publisher = MemoryTable(), MemoryPublisher()
    later = rules(deadline_seconds=60.0)
    process(kinesis_event(prediction_bytes(DURATION)), table, publisher, by=later)

    assert swept(table, publisher, later).decisions == ()  # it is not due
    waiting = table.states["256"]
    assert isinstance(waiting, Waiting)
    assert 0 < waiting.deadline - utc_now().timestamp() <= 61
    table.states["256"] = Waiting(waiting.predictions, 0)
    report = swept(table, publisher, later)

    [entry] = publisher.sent
    found = json.loads(entry.data)
    assert (found["complete"], found["quote"]) == (False, {"ride_duration": 21.3})
    assert report.is_finished
    assert swept(table, publisher, later).decisions == ()  # it is published
    sent = json.loads(telemetry.sweep_line(report, INVOCATION, Destination()))
    assert (sent["swept"], sent["incomplete"]) == ([1], [1])


def test_a_decision_of_the_sweep_that_was_refused_is_published_by_the_next() -> None:
    table, publisher = MemoryTable(), MemoryPublisher(refuse=frozenset({"256"}))
    process(kinesis_event(prediction_bytes(DURATION)), table, publisher)
    state = table.states["256"]
    assert isinstance(state, Waiting)
    table.states["256"] = Waiting(state.predictions, 0)

    assert swept(table, publisher, rules()).refused == 1
    process(kinesis_event(prediction_bytes(COST, ride_id=1)), table, publisher)
    publisher.refuse = frozenset()
    swept(table, publisher, rules())

    [entry] = publisher.sent
    assert json.loads(entry.data)["complete"] is False
    stored = table.states["256"]
    assert isinstance(stored, decision.Decided)
    assert stored.unpublished_since is None


def test_the_deadline_is_that_of_the_first_prediction() -> None:
    by = rules(deadline_seconds=60)
    [first, later] = [decode(prediction_bytes(version=version)) for version in "12"]
    waiting = decision.advance(None, [first], by, now=1000.0)

    longer = decision.advance(waiting, [later], by, now=1050.0)

    assert isinstance(longer, Waiting)
    assert (longer.deadline, longer.revision) == (1061, 2)
    assert longer.predictions == (later,)


def test_a_sweep_whose_index_lags_behind_publishes_nothing_of_its_own() -> None:
    table, publisher = MemoryTable(), MemoryPublisher()
    process(kinesis_event(prediction_bytes(DURATION)), table, publisher)
    stale = table.states["256"]
    process(kinesis_event(prediction_bytes(COST)), table, publisher)

    class Lagging(MemoryTable):
        def due(self, now: float) -> Iterator[Due]:
            yield Due("256", stale)

    report = swept(Lagging(table.states), publisher, rules())

    assert (report.decisions, len(publisher.sent)) == ((), 1)


# --- the law: any order, any duplication, any batches -> the same bytes ---------------------------

MODELS = [DURATION, COST, "a_third_model"]


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[bytes], list[int]]:
    """Predictions of a few rides by three models, shuffled and repeated, and sizes of batches."""
    rides = draw(st.integers(1, 4))
    values = st.floats(0, 500)
    each = [
        prediction_bytes(model, ride, value=draw(values), event_id=f"shard:{ride}")
        for ride in range(rides)
        for model in MODELS
    ]
    again = draw(st.lists(st.sampled_from(each), max_size=10))
    return draw(st.permutations(each + again)), draw(st.lists(st.integers(1, 5), max_size=20))


@given(deliveries())
def test_any_order_duplication_and_batching_give_the_same_bytes(
    given_: tuple[list[bytes], list[int]],
) -> None:
    delivered, sizes = given_
    by = rules(*MODELS)
    table, publisher = MemoryTable(), MemoryPublisher()

    rest = list(delivered)
    for size in [*sizes, len(rest)]:
        if batch := rest[:size]:
            process(kinesis_event(*batch), table, publisher, by=by)
        rest = rest[size:]

    predictions: dict[str, list[Prediction]] = {}
    for one in sorted(set(delivered)):
        predictions.setdefault(str(decode(one).ride_id), []).append(decode(one))
    expected = {
        ride: decision.encode(decision.decide(decision.latest(said), by))
        for ride, said in predictions.items()
    }
    assert {entry.key for entry in publisher.sent} == expected.keys()
    for entry in publisher.sent:
        assert entry.data == expected[entry.key]
