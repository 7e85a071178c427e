"""Facts that AWS was recorded doing, each as a test; docs/event-source-mapping.md lists them.

The sources in the docstrings: L is LocalStack's recording of AWS of 2025-11-25
(localstack/localstack at 8b9a79f, test_lambda_integration_kinesis.snapshot.json).  S are the
recordings of stackd of 2026-09-19 (radkawar/stackd at 9dc356f, testdata/aws/lambda).  D is AWS's
documentation.
"""

from __future__ import annotations

import base64
import json
import re
from itertools import pairwise
from typing import Any

import pytest

from event_source_mapping.errors import CreateError
from event_source_mapping.lanes import FIRST_PAUSE
from event_source_mapping.pytest_plugin import KinesisMapping
from event_source_mapping.virtual import VirtualMapping

PARTIAL: dict[str, Any] = {"function_response_types": ["ReportBatchItemFailures"]}
QUEUE: dict[str, Any] = {
    "destination_config": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:q"}}
}
BUCKET: dict[str, Any] = {
    "destination_config": {"OnFailure": {"Destination": "arn:aws:s3:::rejects"}}
}
FIVE_MIB = bytes(5 * 1024 * 1024)


def failures(*identifiers: object) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": each} for each in identifiers]}


def data_of(record: dict[str, Any]) -> str:
    return base64.b64decode(record["kinesis"]["data"]).decode()


def reports_bad(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Report each record whose data is ``bad``, as the function of S does."""
    return failures(
        *(r["kinesis"]["sequenceNumber"] for r in event["Records"] if data_of(r) == "bad")
    )


def raises_on_bad(event: dict[str, Any], context: Any) -> None:
    if any(data_of(record) == "bad" for record in event["Records"]):
        raise ValueError("a bad record")


def raises(event: dict[str, Any], context: Any) -> None:
    raise ValueError("always")


def works(event: dict[str, Any], context: Any) -> None: ...


def put(mapping: VirtualMapping, *data: str | bytes) -> list[str]:
    return [mapping.put(each).sequence_number for each in data]


def batches(mapping: VirtualMapping) -> list[list[str]]:
    return [[data.decode() for data in call.data] for call in mapping.invocations]


def times(mapping: VirtualMapping) -> list[float]:
    return [call.at for call in mapping.invocations]


@pytest.mark.parametrize(
    "response", ["", [], None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}]
)
def test_fact_2_these_responses_are_full_successes(
    kinesis_mapping: KinesisMapping, response: Any
) -> None:
    """L, test_kinesis_report_batch_item_success_scenarios."""
    mapping = kinesis_mapping(lambda event, context: response, **PARTIAL)
    put(mapping, "1", "2")

    mapping.run()

    assert batches(mapping) == [["1", "2"]]
    assert mapping.lost == []


@pytest.mark.parametrize(
    "response",
    [
        failures(123),
        failures(""),
        failures(None),
        {"batchItemFailures": [{"foo": 123}]},
        {"batchItemFailures": [{"foo": None}]},
        RuntimeError("Unhandled"),
    ],
)
def test_fact_3_these_responses_are_full_failures(
    kinesis_mapping: KinesisMapping, response: Any
) -> None:
    """L, test_kinesis_report_batch_item_failure_scenarios."""

    def handler(event: dict[str, Any], context: Any) -> Any:
        if isinstance(response, Exception):
            raise response
        return response

    mapping = kinesis_mapping(handler, batch_size=1, maximum_retry_attempts=2, **PARTIAL, **QUEUE)
    put(mapping, "1")

    mapping.run()

    assert batches(mapping) == [["1"]] * 3
    [message] = mapping.destination
    assert message["requestContext"]["approximateInvokeCount"] == 3
    error = "Unhandled" if isinstance(response, Exception) else None
    assert message["responseContext"]["functionError"] == error


def test_fact_4_the_retries_start_anew_after_progress(kinesis_mapping: KinesisMapping) -> None:
    """L, test_kinesis_report_batch_item_failures: six records, of which the last always fails."""
    mapping = kinesis_mapping(
        reports_bad, batch_size=3, maximum_retry_attempts=3, **PARTIAL, **QUEUE
    )
    put(mapping, "0", "1", "2", "3", "4", "bad")

    mapping.run()

    assert sum(batch.count("bad") for batch in batches(mapping)) == 5
    [message] = mapping.destination
    assert message["requestContext"]["approximateInvokeCount"] == 4
    assert message["KinesisBatchInfo"]["batchSize"] == 1


def test_fact_5_bisecting_with_partial_responses(kinesis_mapping: KinesisMapping) -> None:
    """S, kinesis_followup.json, delivery.partial_bisect: the recorded sequence, batch for batch."""
    mapping = kinesis_mapping(
        reports_bad,
        batch_size=4,
        maximum_retry_attempts=1,
        bisect_batch_on_function_error=True,
        **PARTIAL,
    )
    put(mapping, "1", "bad", "3", "4")

    mapping.run()

    assert batches(mapping) == [
        ["1", "bad", "3", "4"],
        ["bad", "3", "4"],
        ["bad"],
        ["bad"],
        ["3", "4"],
    ]
    assert times(mapping) == [0, 0, 0, 0.2, 0.2]  # recorded: 0, 0.03, 0.05, 0.27, 0.29


def test_fact_6_only_an_unchanged_retry_keeps_its_request_id(
    kinesis_mapping: KinesisMapping,
) -> None:
    """S, kinesis_followup.json, delivery.partial_bisect."""
    mapping = kinesis_mapping(
        reports_bad,
        batch_size=4,
        maximum_retry_attempts=1,
        bisect_batch_on_function_error=True,
        **PARTIAL,
    )
    put(mapping, "1", "bad", "3", "4")

    mapping.run()

    first, suffix, half, retry, other_half = (call.request_id for call in mapping.invocations)
    assert half == retry
    assert len({first, suffix, half, other_half}) == 4


def test_fact_7_the_first_pause_is_a_fifth_of_a_second(kinesis_mapping: KinesisMapping) -> None:
    """S, kinesis_followup.json: 0.22 s from the end of an attempt to the start of the next one."""
    mapping = kinesis_mapping(raises, maximum_retry_attempts=4)
    put(mapping, "1")

    mapping.run()

    pauses = [later - earlier for earlier, later in pairwise(times(mapping))]
    assert pauses[0] == FIRST_PAUSE == 0.2
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1]


def test_fact_7_eight_invocations_fit_into_an_age_limit_of_a_minute(
    kinesis_mapping: KinesisMapping,
) -> None:
    """L, test_kinesis_maximum_record_age_exceeded[expire-while-retrying].

    The record of L waited while the function and the mapping were created.
    """
    mapping = kinesis_mapping(raises, maximum_record_age_in_seconds=60, **QUEUE)
    put(mapping, "1")
    mapping.wait(20)

    mapping.run()

    assert len(mapping.invocations) == 8
    [message] = mapping.destination
    assert message["requestContext"]["condition"] == "RecordAgeExceeded"
    assert message["requestContext"]["approximateInvokeCount"] == 8
    assert "responseContext" not in message


def test_fact_8_a_record_that_is_too_old_is_not_delivered(kinesis_mapping: KinesisMapping) -> None:
    """L, test_kinesis_maximum_record_age_exceeded[expire-before-ingestion]."""
    mapping = kinesis_mapping(works, maximum_record_age_in_seconds=60, **QUEUE)
    put(mapping, "1")
    mapping.wait(60)

    mapping.run()

    assert mapping.invocations == []
    [message] = mapping.destination
    assert message["requestContext"]["condition"] == "RecordAgeExceeded"
    assert message["requestContext"]["approximateInvokeCount"] == 1
    assert len(message["requestContext"]["requestId"]) == 36
    assert "responseContext" not in message


def test_fact_8_an_expired_prefix_leaves_by_itself(kinesis_mapping: KinesisMapping) -> None:
    """L, test_kinesis_maximum_record_age_exceeded_discard_records."""
    mapping = kinesis_mapping(works, batch_size=10, maximum_record_age_in_seconds=60, **QUEUE)
    [old] = put(mapping, "old")
    mapping.wait(80)
    put(mapping, "1", "2", "3", "4", "5")

    mapping.run()

    assert batches(mapping) == [["1", "2", "3", "4", "5"]]
    [message] = mapping.destination
    assert message["KinesisBatchInfo"]["batchSize"] == 1
    assert message["KinesisBatchInfo"]["startSequenceNumber"] == old


def test_fact_9_the_message_to_a_queue(kinesis_mapping: KinesisMapping) -> None:
    """S, kinesis_destination.json; L, test_..._with_on_failure_destination_config."""
    mapping = kinesis_mapping(raises, maximum_retry_attempts=1, **QUEUE)
    first, last = put(mapping, "1", "2")

    mapping.run()

    [message] = mapping.destination
    assert list(message) == [
        "requestContext", "responseContext", "version", "timestamp", "KinesisBatchInfo",
    ]  # fmt: skip
    assert message == {
        "requestContext": {
            "requestId": mapping.invocations[0].request_id,
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:raises",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 2,
        },
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        },
        "version": "1.0",
        "timestamp": "2026-01-01T00:00:00.200Z",
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000000",
            "startSequenceNumber": first,
            "endSequenceNumber": last,
            "approximateArrivalOfFirstRecord": "2026-01-01T00:00:00.000Z",
            "approximateArrivalOfLastRecord": "2026-01-01T00:00:00.000Z",
            "batchSize": 2,
            "streamArn": "arn:aws:kinesis:us-east-1:123456789012:stream/stream",
        },
    }


def test_fact_10_the_message_on_s3_has_the_event_as_text(kinesis_mapping: KinesisMapping) -> None:
    """D, kinesis-on-failure-destination; S, kinesis_destination.json."""
    mapping = kinesis_mapping(raises, maximum_retry_attempts=0, **BUCKET)
    put(mapping, "1")

    mapping.run()

    [message] = mapping.destination
    assert isinstance(message["payload"], str)
    assert json.loads(message["payload"]) == mapping.invocations[0].event


def test_fact_11_an_aggregate_arrives_as_one_record(kinesis_mapping: KinesisMapping) -> None:
    """S, kinesis_followup.json, delivery.kpl_invalid_standard: also the bare magic number, and an
    aggregate with a wrong checksum."""
    magic = b"\xf3\x89\x9a\xc2"
    sent = [magic, magic + b"\x0a\x011\x1a\x02\x08\x00" + bytes(16)]
    mapping = kinesis_mapping(works, batch_size=1)
    put(mapping, *sent)

    mapping.run()

    assert [call.data for call in mapping.invocations] == [[each] for each in sent]


@pytest.mark.parametrize("retries", [0, 2])
def test_fact_12_a_record_that_is_too_large_spends_its_retries_unseen(
    kinesis_mapping: KinesisMapping, retries: int
) -> None:
    """S, kinesis_oversized.json and kinesis_oversized_retries.json."""
    mapping = kinesis_mapping(works, maximum_retry_attempts=retries, **QUEUE)
    put(mapping, FIVE_MIB, "after")

    mapping.run()

    assert batches(mapping) == [["after"]]
    [message] = mapping.destination
    assert message["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert message["requestContext"]["approximateInvokeCount"] == 1 + retries
    assert "responseContext" not in message


def test_fact_12_a_record_that_is_too_large_blocks_its_shard_with_unlimited_retries(
    kinesis_mapping: KinesisMapping,
) -> None:
    """S, docs/lambda.md; D, large-records."""
    mapping = kinesis_mapping(works, maximum_record_age_in_seconds=3600, **QUEUE)
    put(mapping, FIVE_MIB)
    mapping.run(seconds=1800)
    put(mapping, "after")

    mapping.run(seconds=1799)
    assert mapping.blocked == ["shardId-000000000000"]
    assert mapping.invocations == []

    mapping.run()
    assert batches(mapping) == [["after"]]
    assert times(mapping) == [3600]


def test_fact_13_a_child_waits_for_all_its_parents(kinesis_mapping: KinesisMapping) -> None:
    """S, kinesis_reshard.json."""
    mapping = kinesis_mapping(raises_on_bad, shards=2, maximum_retry_attempts=2)
    first, second = (shard.shard_id for shard in mapping.stream.shards())
    fill(mapping, {first: "1", second: "bad"})
    merged = mapping.stream.merge(first, second)
    fill(mapping, {merged: "3"})
    left, right = mapping.stream.split(merged)
    fill(mapping, {left: "4", right: "5"})

    mapping.run()

    order = [batch[0] for batch in batches(mapping)]
    assert order == ["1", "bad", "bad", "bad", "3", "4", "5"]


def fill(mapping: VirtualMapping, wanted: dict[str, str]) -> None:
    """Put one record on each shard, with a key that belongs to it."""
    missing = dict(wanted)
    for number in range(1000):
        if not missing:
            return
        shard = mapping.stream.shard_of(str(number))
        if shard in missing:
            mapping.put(missing.pop(shard), str(number))


def test_fact_13_siblings_run_side_by_side(kinesis_mapping: KinesisMapping) -> None:
    """S, kinesis_reshard.json."""
    mapping = kinesis_mapping(raises_on_bad)
    [parent] = (shard.shard_id for shard in mapping.stream.shards())
    left, right = mapping.stream.split(parent)
    fill(mapping, {left: "bad", right: "good"})

    mapping.run(seconds=1)

    assert ["good"] in batches(mapping)
    assert mapping.blocked == [left]


def test_fact_14_the_last_processing_result(kinesis_mapping: KinesisMapping) -> None:
    """S, kinesis_source.json and docs/lambda.md."""
    partial = kinesis_mapping(reports_bad, batch_size=2, **PARTIAL)
    assert partial.last_processing_result == "No records processed"
    put(partial, "1", "bad")
    partial.run(seconds=1)
    assert partial.last_processing_result == "OK"

    raising = kinesis_mapping(raises)
    put(raising, "1")
    raising.run(seconds=1)
    assert raising.last_processing_result == "PROBLEM: Function call failed"

    expiring = kinesis_mapping(works, maximum_record_age_in_seconds=60)
    put(expiring, "1")
    expiring.wait(60)
    expiring.run()
    assert expiring.last_processing_result == "No records processed"


def test_fact_15_throttles_and_splits_spend_no_retries(kinesis_mapping: KinesisMapping) -> None:
    """D, kinesis-on-failure-destination and invocation-eventsourcemapping."""
    throttled = kinesis_mapping(
        works, maximum_retry_attempts=0, faults="handler is throttled three times, then works"
    )
    put(throttled, "1")
    throttled.run()
    assert [call.outcome for call in throttled.invocations] == [*["throttled"] * 3, "succeeded"]
    assert len({call.request_id for call in throttled.invocations}) == 1

    split = kinesis_mapping(
        raises_on_bad, maximum_retry_attempts=1, bisect_batch_on_function_error=True, **QUEUE
    )
    [_, bad, *_] = put(split, "1", "bad", "3", "4")
    split.run()
    assert batches(split) == [
        ["1", "bad", "3", "4"], ["1", "bad"], ["1"], ["bad"], ["bad"], ["3", "4"],
    ]  # fmt: skip
    [message] = split.destination
    assert message["KinesisBatchInfo"]["startSequenceNumber"] == bad
    assert message["requestContext"]["approximateInvokeCount"] == 2


def test_fact_16_a_function_is_mapped_to_a_stream_once(kinesis_mapping: KinesisMapping) -> None:
    """L, test_duplicate_event_source_mappings: ResourceConflictException with status 409."""
    mapping = kinesis_mapping(works)

    with pytest.raises(CreateError, match=re.escape("ResourceConflictException (409)")) as caught:
        kinesis_mapping(works, stream=mapping.stream)

    assert caught.value.status == 409
    kinesis_mapping(raises, stream=mapping.stream)
