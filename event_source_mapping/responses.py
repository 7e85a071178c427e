"""Finds out from the function's response how many records of a batch were processed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .assumed import OTHER_OBJECTS_SUCCEED_ASSUMED
from .records import Record

INVALID = "the response is invalid"
ITEM = '{"itemIdentifier": sequence_number}'
FORM = '{"batchItemFailures": [...]}'


def processed(records: Sequence[Record], response: Any) -> int | None:
    """Return how many of *records*, counted from the first, the function has processed.

    *response* is the function's response, decoded from JSON, of a mapping that has
    `ReportBatchItemFailures`.  All records before the lowest reported sequence number are
    processed.  Returns None if the whole batch failed, for the reason that `problem` returns.

    >>> records = [Record(number, "key", b"", 0.0) for number in ("7", "8", "9")]
    >>> processed(records, {"batchItemFailures": [{"itemIdentifier": "8"}]})
    1
    >>> processed(records, None)
    3
    >>> processed(records, {"batchItemFailures": [{"itemIdentifier": "10"}]}) is None
    True
    """
    found = _read(records, response)
    return None if isinstance(found, str) else found


def problem(records: Sequence[Record], response: Any) -> str | None:
    """Return why *response* fails the whole batch of *records*; None if it does not.

    >>> records = [Record("7", "key", b"", 0.0)]
    >>> problem(records, "done")
    'the response is invalid: return {"batchItemFailures": [...]} or None, not str'
    """
    found = _read(records, response)
    return found if isinstance(found, str) else None


def reports(response: Any) -> bool:
    """Return whether *response* reports failed records.

    >>> reports({"batchItemFailures": [{"itemIdentifier": "8"}]})
    True
    >>> reports({"batchItemFailures": []})
    False
    """
    return isinstance(response, dict) and bool(response.get("batchItemFailures"))


def _read(records: Sequence[Record], response: Any) -> int | str:
    """Return how many of *records* were processed, or why the whole batch failed."""
    if response is None or response in ("", []):
        return len(records)
    if not isinstance(response, dict):
        return f"{INVALID}: return {FORM} or None, not {type(response).__name__}"
    if "batchItemFailures" not in response:
        if OTHER_OBJECTS_SUCCEED_ASSUMED or not response:
            return len(records)
        return f"{INVALID}: return {FORM} or None"
    failures = response["batchItemFailures"]
    if failures is None or failures == []:
        return len(records)
    if not isinstance(failures, list):
        return f"{INVALID}: batchItemFailures must be a list, not {type(failures).__name__}"
    positions: dict[str, int] = {}
    for position, record in enumerate(records):
        positions.setdefault(record.sequence_number, position)
    lowest = len(records)
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not isinstance(identifier, str):
            return f"{INVALID}: each failure must be {ITEM}"
        if identifier not in positions:
            return (
                f"the response names {identifier!r:.80}, which is not the sequenceNumber of a"
                " record in the batch"
            )
        lowest = min(lowest, positions[identifier])
    return lowest
