from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from model_service.errors import EventError
from model_service.kinesis import records

from ..support.factories import SHARD, kinesis_event, kinesis_record


def test_a_record_keeps_its_identity() -> None:
    [record] = records.read(kinesis_event(b"{}"))

    assert (record.stream, record.shard) == ("ride_events", SHARD)
    assert record.event_id == f"{SHARD}:{record.sequence_number}"
    assert record.arrived_at.isoformat() == "2022-06-02T09:18:34.132000+00:00"


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({}, "Records"),
        ({"Records": [{"body": "a queue's message"}]}, "kinesis"),
        ({"Records": [{**kinesis_record(b""), "eventID": None}]}, "eventID"),
        ([], "object"),
    ],
)
def test_an_invocation_that_is_not_a_batch_is_refused(event: Any, path: str) -> None:
    with pytest.raises(EventError, match=path):
        records.read(event)


def test_a_timestamp_has_milliseconds_in_utc() -> None:
    moment = datetime(2022, 6, 2, 8, 5, 14, 132987, tzinfo=UTC)

    assert records.timestamp(moment) == "2022-06-02T08:05:14.132Z"
