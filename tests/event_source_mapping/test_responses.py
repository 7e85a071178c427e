"""The response says how much of a batch the function has processed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_source_mapping.records import Record
from event_source_mapping.responses import problem, processed

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


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        ("done", "the response is invalid: return .* or None, not str"),
        ({"batchItemFailures": "9"}, "batchItemFailures must be a list, not str"),
        ({"batchItemFailures": ["9"]}, 'each failure must be {"itemIdentifier": sequence_number}'),
        (failures("9", 10), "the response is invalid: each failure must be"),
        (failures("9", "77"), "the response names '77', which is not the sequenceNumber of a"),
    ],
)
def test_the_reason_says_whether_the_form_or_the_record_is_wrong(
    response: Any, sentence: str
) -> None:
    assert re.search(sentence, str(problem(RECORDS, response)))


@given(st.lists(st.integers(7, 13) | st.none(), max_size=5))
def test_a_response_has_a_problem_exactly_if_it_fails_the_whole_batch(
    numbers: list[int | None],
) -> None:
    response = failures(*(None if number is None else str(number) for number in numbers))

    assert (problem(RECORDS, response) is None) == (processed(RECORDS, response) is not None)
