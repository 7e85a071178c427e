"""The fixture `kinesis_mapping` runs a handler under a mapping on a virtual clock."""

from __future__ import annotations

import json
from typing import Any

import pytest

from event_source_mapping.decisions import Discard
from event_source_mapping.errors import MappingError
from event_source_mapping.faults import KINDS
from event_source_mapping.messages import message_on_s3, object_key
from event_source_mapping.pytest_plugin import KinesisMapping
from event_source_mapping.records import PAYLOAD_BYTES
from event_source_mapping.virtual import BEGINNING

QUEUE = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:q"}}


class Function:
    """A handler that remembers the data of each invocation, and its remaining time."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.remaining: list[int] = []

    def __call__(self, event: dict[str, Any], context: Any) -> None:
        self.seen.append(len(event["Records"]))
        self.remaining.append(context.get_remaining_time_in_millis())
        event.clear()  # a function may do what it likes with its event


def works(event: dict[str, Any], context: Any) -> None: ...


def raises(event: dict[str, Any], context: Any) -> None:
    raise ValueError("no")


def test_a_run_delivers_everything_and_keeps_the_invocations(
    kinesis_mapping: KinesisMapping,
) -> None:
    function = Function()
    mapping = kinesis_mapping(function, batch_size=2, timeout=7)
    mapping.put({"ride_id": 1})
    mapping.put("text", partition_key="a")
    mapping.put(b"bytes", partition_key="b")

    mapping.run()

    assert function.seen == [2, 1]
    assert all(6000 < each <= 7000 for each in function.remaining)
    assert [call.data for call in mapping.invocations] == [[b'{"ride_id": 1}', b"text"], [b"bytes"]]
    assert [call.outcome for call in mapping.invocations] == ["succeeded", "succeeded"]
    assert [len(call.event["Records"]) for call in mapping.invocations] == [2, 1]
    assert (mapping.destination, mapping.lost, mapping.waiting) == ([], [], [])
    assert list(mapping.checkpoints) == ["shardId-000000000000"]


def test_faults_are_planned_by_name(kinesis_mapping: KinesisMapping) -> None:
    mapping = kinesis_mapping(works, faults="handler fails twice, then works")
    mapping.put("1")

    mapping.run()

    assert [call.outcome for call in mapping.invocations] == ["failed", "failed", "succeeded"]
    assert [call.at for call in mapping.invocations] == [0, 0.2, 0.6]
    assert mapping.invocations[0].error == "Fault: the handler was made to fail"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault_delivers_the_records_in_the_end(
    kinesis_mapping: KinesisMapping, kind: str
) -> None:
    function = Function()
    mapping = kinesis_mapping(
        function,
        faults=[f"handler {kind} twice"],
        function_response_types=["ReportBatchItemFailures"],
    )
    for number in range(5):
        mapping.put(str(number))

    mapping.run()

    assert mapping.invocations[0].outcome in ("failed", "throttled", "partly succeeded")
    assert mapping.invocations[-1].outcome == "succeeded"
    assert (mapping.lost, mapping.waiting) == ([], [])


def test_a_fault_may_last(kinesis_mapping: KinesisMapping) -> None:
    for name in ("handler always fails", "handler is always throttled"):
        mapping = kinesis_mapping(Function(), faults=name)
        mapping.put("1")
        mapping.run(seconds=3600)
        assert len(mapping.waiting) == 1


def test_an_unknown_fault_is_one_sentence(kinesis_mapping: KinesisMapping) -> None:
    with pytest.raises(MappingError, match="'it breaks' is no fault: write 'handler KIND TIMES"):
        kinesis_mapping(works, faults="it breaks")


def test_a_blocked_shard_delays_the_records_behind_it_until_they_are_lost(
    kinesis_mapping: KinesisMapping,
) -> None:
    mapping = kinesis_mapping(raises, batch_size=1)
    mapping.put("bad")
    mapping.put("good")

    mapping.run(seconds=3600)
    assert mapping.blocked == ["shardId-000000000000"]
    assert mapping.now == 3600

    mapping.run()
    assert mapping.now == 24 * 3600  # when the stream forgets its records
    assert [record.data for record in mapping.lost] == [b"bad", b"good"]
    assert mapping.blocked == []


def test_a_batch_that_is_given_up_without_a_destination_is_lost(
    kinesis_mapping: KinesisMapping,
) -> None:
    mapping = kinesis_mapping(raises, maximum_retry_attempts=0)
    lost = [mapping.put("1"), mapping.put("2")]

    mapping.run()

    assert mapping.lost == lost
    assert mapping.destination == []


def test_a_batch_stays_within_the_limit_of_an_invocation(kinesis_mapping: KinesisMapping) -> None:
    mapping = kinesis_mapping(works)
    for number in range(10):
        mapping.put(bytes(1_000_000), partition_key=str(number))

    mapping.run()

    assert [len(call.records) for call in mapping.invocations] == [4, 4, 2]
    sizes = [len(json.dumps(call.event)) for call in mapping.invocations]
    assert max(sizes) <= PAYLOAD_BYTES


def test_the_batching_window_gathers_records(kinesis_mapping: KinesisMapping) -> None:
    mapping = kinesis_mapping(works, batch_size=3, maximum_batching_window_in_seconds=5)
    mapping.put("1")
    mapping.run(seconds=2)
    mapping.put("2")
    mapping.run(seconds=2)
    assert mapping.invocations == []

    mapping.run(seconds=1)
    assert [len(call.records) for call in mapping.invocations] == [2]
    assert mapping.invocations[0].at == 5

    for each in "345":
        mapping.put(each)
    mapping.run()
    assert [call.at for call in mapping.invocations] == [5, 5]  # full: the window is not awaited


def test_invocations_of_a_shard_overlap_with_a_parallelization_factor(
    kinesis_mapping: KinesisMapping,
) -> None:
    mapping = kinesis_mapping(works, batch_size=1, parallelization_factor=4, duration=10)
    for number in range(40):
        mapping.put(str(number), partition_key=str(number % 8))

    mapping.run()

    assert sum(call.at == 0 for call in mapping.invocations) == 4
    by_key: dict[str, list[int]] = {}
    for call in mapping.invocations:
        [record] = call.records
        by_key.setdefault(record.partition_key, []).append(int(record.data))
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert list(mapping.checkpoints.values()) == [mapping.stream.last_sequence_number()]


def test_latest_skips_what_is_in_the_stream_already(kinesis_mapping: KinesisMapping) -> None:
    earlier = kinesis_mapping(works)
    earlier.put("old")
    mapping = kinesis_mapping(raises, stream=earlier.stream, starting_position="LATEST",
                              maximum_retry_attempts=0)  # fmt: skip
    mapping.put("new")

    mapping.run()

    assert [call.data for call in mapping.invocations] == [[b"new"]]


def test_a_response_that_is_no_json_is_a_failure(kinesis_mapping: KinesisMapping) -> None:
    mapping = kinesis_mapping(lambda event, context: {1, 2}, maximum_retry_attempts=0)
    mapping.put("1")

    mapping.run()

    assert mapping.invocations[0].outcome == "failed"
    assert "TypeError" in str(mapping.invocations[0].error)


def test_the_object_on_s3_has_the_key_and_the_body_that_aws_documents(
    kinesis_mapping: KinesisMapping,
) -> None:
    mapping = kinesis_mapping(
        raises,
        maximum_retry_attempts=0,
        destination_config={"OnFailure": {"Destination": "arn:aws:s3:::rejects"}},
    )
    mapping.put("1")
    mapping.run()

    decisions = [moment.what for moment in mapping.moments]
    [discard] = [decision for decision in decisions if isinstance(decision, Discard)]
    names = mapping.names
    assert json.loads(json.dumps(mapping.destination)) == [message_on_s3(discard, names, BEGINNING)]
    key = object_key(discard, names, BEGINNING)
    folder = f"aws/lambda/{names.mapping_id}/shardId-000000000000/2026/01/01/"
    assert key.startswith(f"{folder}2026-01-01T00.00.00-")
    assert len(key) == len(folder) + 20 + 36


def test_the_same_run_has_the_same_result(kinesis_mapping: KinesisMapping) -> None:
    def run(name: str) -> list[Any]:
        mapping = KinesisMapping()(
            raises, bisect_batch_on_function_error=True, maximum_retry_attempts=1,
            destination_config=QUEUE,
        )  # fmt: skip
        for number in range(9):
            mapping.put(str(number))
        mapping.run()
        return [mapping.invocations, mapping.destination, mapping.moments]

    assert run("once") == run("again")
