from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from model_service.errors import EventError
from model_service.kinesis import records

from ..support.factories import SHARD, STREAM_ARN, kinesis_event, kinesis_record

CONSUMER_ARN = f"{STREAM_ARN}/consumer/scorer:1654161514"


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


def fanned_out(*data: bytes | str) -> dict[str, Any]:
    """A batch of enhanced fan-out: user records with the identity of one record."""
    return {"Records": [{**kinesis_record(one), "eventSourceARN": CONSUMER_ARN} for one in data]}


def test_user_records_of_enhanced_fan_out_differ_by_a_digest_of_their_data() -> None:
    event = fanned_out(b"{}", b"[]", "no base64")
    common = event["Records"][0]["eventID"]

    found = records.read(event)

    assert [record.event_id for record in found] == [
        f"{common}#44136fa355b3678a",
        f"{common}#4f53cda18c2baa0c",
        f"{common}#{records.short_digest(b'no base64')}",
    ]
    assert {(record.stream, record.shard) for record in found} == {("ride_events", SHARD)}


def test_the_id_of_a_record_of_enhanced_fan_out_is_the_same_in_any_batch() -> None:
    whole = records.read(fanned_out(b"1", b"2", b"3"))

    assert records.read(fanned_out(b"2"))[0].event_id == whole[1].event_id


def test_a_minimal_event_is_completed_for_a_test_run() -> None:
    event = {"Records": [{"kinesis": {"data": "e30="}}, kinesis_record(b"{}")]}
    now = datetime(2022, 6, 2, tzinfo=UTC)

    first, second = records.read(records.completed(event, now))

    assert (first.event_id, first.sequence_number) == ("test-run:0", "0")
    assert (first.stream, first.arrived_at, first.data) == ("test-run", now, "e30=")
    assert [second] == records.read(kinesis_event(b"{}"))
    assert event["Records"][0] == {"kinesis": {"data": "e30="}}


@pytest.mark.parametrize("event", [None, [], {}, {"Records": [{"body": ""}]}, {"Records": 1}])
def test_an_event_that_is_no_batch_is_not_completed(event: Any) -> None:
    assert records.completed(event, datetime.now(UTC)) is event


def test_a_minimal_event_is_refused_where_it_was_not_completed() -> None:
    with pytest.raises(EventError):
        records.read({"Records": [{"kinesis": {"data": "e30="}}]})
