"""The event source delivers every record, whatever the function responds."""

import base64
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws import event_source
from local.aws.event_source import Shard, cut, event, pause, poll, processed, step
from local.aws.kinesis_reader import Record

ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/ride_events"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def record(number: int, data: bytes = b"x") -> Record:
    return Record(str(number), "key", data, NOW)


def batch_of(*numbers: int) -> list[Record]:
    return [record(number) for number in numbers]


def failures(*identifiers: object) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": each} for each in identifiers]}


class FakeShard:
    """A shard that returns its records a few at a time."""

    def __init__(self, arrivals: Sequence[int]) -> None:
        numbers = iter(range(100, 100 + sum(arrivals)))
        self.groups = iter([[record(next(numbers)) for _ in range(n)] for n in arrivals])
        self.empty = False

    def read(self, limit: int) -> list[Record]:
        group = next(self.groups, None)
        self.empty = group is None
        return group or []


class Function:
    """A function that gives the planned responses, then succeeds; it records its batches."""

    def __init__(self, answers: Sequence[Any]) -> None:
        self.answers = iter(answers)
        self.batches: list[list[str]] = []
        self.open: list[list[str]] = []

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        numbers = [each["kinesis"]["sequenceNumber"] for each in event["Records"]]
        self.batches.append(numbers)
        answer = next(self.answers, None)
        kind, places = answer or ("well", [])
        named = [numbers[place % len(numbers)] for place in places]
        self.open.append(
            [] if kind == "well" else numbers[numbers.index(min(named, key=int)) :]
            if kind == "fails from" else numbers
        )  # fmt: skip
        return self.respond(kind, named)

    def respond(self, kind: str, named: Sequence[str]) -> Any:
        if kind == "raises":
            raise ValueError("no")
        return {
            "well": None,
            "fails from": failures(*named),
            "not JSON": {1, 2},
            "no object": "fine",
            "no list": {"batchItemFailures": "101"},
            "unknown": failures("5"),
            "unknown beside known": failures(*named, "5"),
            "empty": failures(""),
            "null": failures(None),
            "a number": failures(*map(int, named)),
            "another key": {"batchItemFailures": [{"itemIdentifer": "101"}]},
            "no failure object": {"batchItemFailures": ["101"]},
        }[kind]


ANSWERS = st.tuples(
    st.sampled_from(
        ["well", "fails from", "fails from", "raises", "not JSON", "no object", "no list",
         "unknown", "unknown beside known", "empty", "null", "a number", "another key",
         "no failure object"]
    ),
    st.lists(st.integers(0, 9), min_size=1, max_size=3),
)  # fmt: skip


def deliver(arrivals: Sequence[int], function: Function, batch_size: int) -> None:
    """Deliver a batch without pauses."""
    source = FakeShard(arrivals)
    shard = Shard("shardId-000000000000", source.read)
    while not source.empty or shard.waiting:
        shard.not_before = 0.0
        step(shard, function, stream_arn=ARN, batch_size=batch_size)


shards = st.lists(st.integers(0, 6), max_size=6)


@given(arrivals=shards, answers=st.lists(ANSWERS, max_size=12), batch_size=st.integers(1, 8))
def test_every_record_is_delivered_at_least_once_and_in_order(
    arrivals: list[int], answers: list[Any], batch_size: int
) -> None:
    function = Function(answers)

    deliver(arrivals, function, batch_size)

    first_times = list(dict.fromkeys(number for batch in function.batches for number in batch))
    assert first_times == [str(number) for number in range(100, 100 + sum(arrivals))]


@given(arrivals=shards, answers=st.lists(ANSWERS, max_size=12), batch_size=st.integers(1, 8))
def test_a_batch_repeats_unprocessed_records_or_begins_after_the_last_batch(
    arrivals: list[int], answers: list[Any], batch_size: int
) -> None:
    function = Function(answers)

    deliver(arrivals, function, batch_size)

    expected = 100
    for batch, left in zip(function.batches, [[], *function.open], strict=False):
        assert batch == left if left else batch[0] == str(expected)
        assert len(batch) <= batch_size
        expected = int(batch[-1]) + 1


@given(st.lists(ANSWERS, max_size=6))
def test_the_last_response_leaves_no_record_unprocessed(answers: list[Any]) -> None:
    function = Function(answers)

    deliver([5, 5], function, 4)

    assert function.open[-1] == []


@pytest.mark.parametrize("response", [None, {}, {"batchItemFailures": None}, failures()])
def test_a_response_without_failures_processes_the_whole_batch(response: Any) -> None:
    assert processed(batch_of(1, 2, 3), response) == 3


def test_the_lowest_of_several_failures_counts() -> None:
    assert processed(batch_of(1, 2, 3, 4), failures("4", "2", "3")) == 1


@pytest.mark.parametrize("unusable", ["", None, "9", 2, {"batchItemFailures": []}])
def test_a_failure_without_a_record_of_the_batch_fails_the_whole_batch(unusable: object) -> None:
    assert processed(batch_of(1, 2, 3), failures("3", unusable)) == 0


def test_a_batch_stays_below_the_limit_of_an_invocation() -> None:
    large = [record(number, bytes(1_000_000)) for number in range(10)]

    assert cut(large, 100) == 4


def test_a_record_too_large_for_a_batch_is_delivered_alone() -> None:
    assert cut([record(1, bytes(9_000_000)), record(2)], 100) == 1


def test_pauses_grow_up_to_a_limit() -> None:
    pauses = [pause(attempt) for attempt in range(1, 2000)]

    assert pauses == sorted(pauses)
    assert pauses[-1] == event_source.LONGEST_PAUSE


def test_a_failing_shard_does_not_delay_another() -> None:
    stuck, well = FakeShard([3]), FakeShard([3])
    shards = [Shard("stuck", stuck.read), Shard("well", well.read)]
    seen: list[str] = []
    rounds = iter(range(5))

    def function(event: dict[str, Any], context: Any) -> Any:
        shard = event["Records"][0]["eventID"].partition(":")[0]
        seen.append(shard)
        return failures("") if shard == "stuck" else None

    def finished() -> bool:
        if next(rounds, None) is None:
            raise TimeoutError
        return False

    with pytest.raises(TimeoutError):
        poll(shards, function, stream_arn=ARN, batch_size=10, finished=finished)

    assert seen.count("well") == 1
    assert len(shards[0].waiting) == 3


def test_polling_ends_when_finished_and_all_records_are_delivered() -> None:
    source = FakeShard([2, 0, 3])
    function = Function([])
    over: Iterator[bool] = iter([False, False, False, True, True])

    poll(
        [Shard("shardId-000000000000", source.read)],
        function,
        stream_arn=ARN,
        batch_size=10,
        finished=lambda: next(over),
        idle=0,
    )

    assert [len(batch) for batch in function.batches] == [2, 3]


def test_polling_continues_while_a_batch_must_be_retried() -> None:
    function = Function([("raises", [0])])

    poll(
        [Shard("shardId-000000000000", FakeShard([2]).read)],
        function,
        stream_arn=ARN,
        batch_size=10,
        finished=lambda: True,
    )

    assert function.batches == [["100", "101"], ["100", "101"]]


def test_an_event_has_the_format_of_lambda() -> None:
    made = event([record(7, b"\x00\xff")], "shardId-000000000001", ARN)

    assert made == {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "key",
                    "sequenceNumber": "7",
                    "data": base64.b64encode(b"\x00\xff").decode(),
                    "approximateArrivalTimestamp": NOW.timestamp(),
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": "shardId-000000000001:7",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::123456789012:role/ride-predictions",
                "awsRegion": "us-east-1",
                "eventSourceARN": ARN,
            }
        ]
    }


def test_the_context_has_the_remaining_time_and_the_function_name() -> None:
    told: list[Any] = []

    def function(event: dict[str, Any], context: Any) -> None:
        told.append(context)

    event_source.invoke(function, {"Records": []}, ARN)

    [context] = told
    assert 0 < context.get_remaining_time_in_millis() <= event_source.TIMEOUT_SECONDS * 1000
    assert context.invoked_function_arn.endswith(f":function:{context.function_name}")
    assert len(context.aws_request_id) == 36
