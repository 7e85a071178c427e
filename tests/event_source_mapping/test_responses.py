"""The response says how much of a batch the function has processed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_source_mapping.records import Record
from event_source_mapping.responses import processed

RECORDS = [Record(str(number), "key", b"", 0.0) for number in range(8, 13)]


def failures(*identifiers: object) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": each} for each in identifiers]}


@given(st.lists(st.integers(8, 12), min_size=1, max_size=5))
def test_the_lowest_of_several_failures_counts(numbers: list[int]) -> None:
    """D, services-kinesis-batchfailurereporting: the lowest sequence number is the checkpoint."""
    assert processed(RECORDS, failures(*map(str, numbers))) == min(numbers) - 8


@pytest.mark.parametrize("unusable", ["", None, "7", 9, {"batchItemFailures": []}])
def test_a_failure_without_a_record_of_the_batch_fails_the_whole_batch(unusable: object) -> None:
    assert processed(RECORDS, failures("10", unusable)) is None


@pytest.mark.parametrize("response", ["done", 7, [1], {"batchItemFailures": "9"}, True])
def test_other_values_fail_the_whole_batch(response: Any) -> None:
    assert processed(RECORDS, response) is None


def test_an_object_about_something_else_is_a_success() -> None:
    assert processed(RECORDS, {"statusCode": 200}) == len(RECORDS)
