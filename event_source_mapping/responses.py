"""Finds out from the function's response how many records of a batch were processed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .assumed import OTHER_OBJECTS_SUCCEED_ASSUMED
from .records import Record


def processed(records: Sequence[Record], response: Any) -> int | None:
    """Return how many of *records*, counted from the first, the function has processed.

    *response* is the function's response, decoded from JSON, of a mapping that has
    `ReportBatchItemFailures`.  All records before the lowest reported sequence number are
    processed.  Returns None if the whole batch failed: the response is not an object, or one of its
    failures does not name a record of the batch.

    >>> records = [Record(number, "key", b"", 0.0) for number in ("7", "8", "9")]
    >>> processed(records, {"batchItemFailures": [{"itemIdentifier": "8"}]})
    1
    >>> processed(records, None)
    3
    >>> processed(records, {"batchItemFailures": [{"itemIdentifier": "10"}]}) is None
    True
    """
    if response is None or response in ("", []):
        return len(records)
    if not isinstance(response, dict):
        return None
    if "batchItemFailures" not in response:
        return len(records) if OTHER_OBJECTS_SUCCEED_ASSUMED or not response else None
    failures = response["batchItemFailures"]
    if failures is None or failures == []:
        return len(records)
    if not isinstance(failures, list):
        return None
    positions: dict[Any, int] = {}
    for position, record in enumerate(records):
        positions.setdefault(record.sequence_number, position)
    found = [positions.get(_identifier(failure)) for failure in failures]
    return None if None in found else min(position for position in found if position is not None)


def _identifier(failure: Any) -> str | None:
    identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
    return identifier if isinstance(identifier, str) else None
