"""The timeline tells a run in lines that need no other knowledge."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from event_source_mapping.pytest_plugin import KinesisMapping


def raises_on_bad(event: dict[str, Any], context: Any) -> None:
    if any(base64.b64decode(r["kinesis"]["data"]) == b"bad" for r in event["Records"]):
        raise ValueError("no JSON")


def test_a_split_is_told_line_by_line(kinesis_mapping: KinesisMapping) -> None:
    mapping = kinesis_mapping(
        raises_on_bad,
        batch_size=3,
        maximum_retry_attempts=1,
        bisect_batch_on_function_error=True,
        faults="handler is throttled once, then works",
    )
    for data in ("1", "bad", "3"):
        mapping.put(data)
    mapping.run()

    told = mapping.timeline().split("\n\n")

    assert told[0].splitlines() == [
        "   seconds  shard  records                 step",
        "     0.000      0                          opened: read from its oldest record",
        "     0.000      0  1-3                     function invoked with 3 records",
        "     0.000      0  1-3                     did not reach the function, which spends no"
        " retry; next attempt in 0.2 s",
        "     0.200      0  1-3                     function invoked with 3 records",
        "     0.200      0  1-3                     failed: ValueError: no JSON",
        "     0.200      0  1-3                     split to find the bad record: half 1 now, half"
        " 2-3 after it",
        "     0.200      0    1                     function invoked with 1 record",
        "     0.200      0    1                     processed",
        "     0.200      0                          checkpoint: all records up to 1 are resolved",
        "     0.200      0    2-3                   function invoked with 2 records",
        "     0.200      0    2-3                   failed: ValueError: no JSON",
        "     0.200      0    2-3                   split to find the bad record: half 2 now, half"
        " 3 after it",
        "     0.200      0      2                   function invoked with 1 record",
        "     0.200      0      2                   failed: ValueError: no JSON",
        "     0.200      0      2                   next attempt in 0.2 s",
        "     0.400      0      2                   function invoked with 1 record, attempt 2 with"
        " the same batch",
        "     0.400      0      2                   failed: ValueError: no JSON",
        "     0.400      0      2                   given up after 2 attempts: LOST",
        "     0.400      0                          checkpoint: all records up to 2 are resolved",
        "     0.400      0      3                   function invoked with 1 record",
        "     0.400      0      3                   processed",
        "     0.400      0                          checkpoint: all records up to 3 are resolved",
    ]
    assert told[1].startswith("Why a batch is split: a function that fails does not say")
    assert told[2].startswith("What giving up means")


def test_an_unbroken_run_needs_no_explanation(kinesis_mapping: KinesisMapping) -> None:
    mapping = kinesis_mapping(raises_on_bad)
    mapping.put("1")
    mapping.run()

    assert "\n\n" not in mapping.timeline()


def columns(line: str) -> tuple[str, str]:
    """Return the records and the step in a line of a timeline."""
    return line[19:43].strip(), line[43:]


def test_a_record_that_is_lost_before_its_first_delivery_has_a_number(
    kinesis_mapping: KinesisMapping,
) -> None:
    mapping = kinesis_mapping(raises_on_bad, maximum_record_age_in_seconds=60)
    mapping.put("too old")
    mapping.wait(90)
    mapping.put("2")
    mapping.run()

    assert [columns(line) for line in mapping.timeline().split("\n\n")[0].splitlines()[2:]] == [
        ("1", "given up because of its age: LOST"),
        ("", "checkpoint: all records up to 1 are resolved"),
        ("2", "function invoked with 1 record"),
        ("2", "processed"),
        ("", "checkpoint: all records up to 2 are resolved"),
    ]


@pytest.mark.parametrize("factor", [1, 4])
def test_records_are_numbered_in_the_order_of_their_arrival(
    kinesis_mapping: KinesisMapping, factor: int
) -> None:
    mapping = kinesis_mapping(raises_on_bad, batch_size=1, parallelization_factor=factor)
    for number in range(1, 13):
        mapping.put(str(number), partition_key=str(number))
    mapping.run()

    told = [columns(line) for line in mapping.timeline().splitlines()]
    invoked = [int(records) for records, step in told if step.startswith("function invoked")]
    assert invoked == [int(call.data[0]) for call in mapping.invocations]


def reports_the_last(event: dict[str, Any], context: Any) -> dict[str, Any]:
    number = event["Records"][-1]["kinesis"]["sequenceNumber"]
    return {"batchItemFailures": [{"itemIdentifier": number}]}


def test_a_response_that_the_settings_ignore_has_a_note(kinesis_mapping: KinesisMapping) -> None:
    mapping = kinesis_mapping(reports_the_last)
    mapping.put("1")
    mapping.run()

    assert mapping.invocations[0].outcome == "succeeded"
    assert [columns(line) for line in mapping.timeline().splitlines()][2:5] == [
        ("1", "function invoked with 1 record"),
        (
            "1",
            "note: batchItemFailures in the response is ignored: to use it, set"
            ' function_response_types=["ReportBatchItemFailures"]',
        ),
        ("1", "processed"),
    ]


def test_a_response_that_the_settings_use_has_no_note(kinesis_mapping: KinesisMapping) -> None:
    mapping = kinesis_mapping(
        reports_the_last,
        function_response_types=["ReportBatchItemFailures"],
        maximum_retry_attempts=0,
    )
    mapping.put("1")
    mapping.put("2")
    mapping.run()

    assert "note:" not in mapping.timeline()


def test_an_error_of_several_lines_has_one_line(kinesis_mapping: KinesisMapping) -> None:
    def fails(event: dict[str, Any], context: Any) -> None:
        raise AssertionError("first line\nsecond line")

    mapping = kinesis_mapping(fails, maximum_retry_attempts=0)
    mapping.put("1")
    mapping.run()

    assert "failed: AssertionError: first line\n" in mapping.timeline()
    assert "second line" not in mapping.timeline()
    assert "second line" in str(mapping.invocations[0].error)
