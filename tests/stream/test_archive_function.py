from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from archive_function import lambda_handler
from model_service.kinesis import records

from ..support.factories import SHARD, kinesis_event, payload

SEQUENCE_NUMBER = "49546986683135544286507457936321625675700192471156785154"
FIREHOSE_BUFFER = 512 * 1024  # as the template sets it
LAMBDA_RESPONSE = 6 * 1024 * 1024


def record(data: bytes, *, sequence_number: str = SEQUENCE_NUMBER, **more: Any) -> dict[str, Any]:
    """A record as Firehose hands it over."""
    return {
        "recordId": f"{sequence_number}000000",
        "approximateArrivalTimestamp": 1654161514132,
        "data": base64.b64encode(data).decode(),
        "kinesisRecordMetadata": {
            "shardId": SHARD,
            "partitionKey": "256",
            "sequenceNumber": sequence_number,
            "subsequenceNumber": 0,
            "approximateArrivalTimestamp": 1654161514132,
            **more,
        },
    }


def archived(*those: dict[str, Any]) -> list[dict[str, Any]]:
    answer = lambda_handler({"invocationId": "1", "records": list(those)}, None)
    assert [(each["recordId"], each["result"]) for each in answer["records"]] == [
        (each["recordId"], "Ok") for each in those
    ]
    lines = b"".join(base64.b64decode(each["data"]) for each in answer["records"])
    return [json.loads(line) for line in lines.splitlines()]


def test_a_line_has_the_record_and_its_identity() -> None:
    assert archived(record(b'{"a": 1}')) == [
        {
            "event_id": f"{SHARD}:{SEQUENCE_NUMBER}",
            "arrived_at": "2022-06-02T09:18:34.132000Z",
            "partition_key": "256",
            "data": "eyJhIjogMX0=",
        }
    ]


def test_the_identity_is_that_which_the_stream_scorer_gives() -> None:
    [seen] = records.read(kinesis_event(payload(256)))

    [line] = archived(record(payload(256), sequence_number=seen.sequence_number))

    assert line["event_id"] == seen.event_id
    assert base64.b64decode(line["data"]) == payload(256)


def test_bytes_that_are_no_ride_are_kept_as_they_are() -> None:
    [line] = archived(record(b"\x00\xff\n"))

    assert base64.b64decode(line["data"]) == b"\x00\xff\n"


def test_what_a_producer_put_into_one_record_keeps_its_places() -> None:
    lines = archived(
        record(b"a", subsequenceNumber=0),
        record(b"b", subsequenceNumber=1),
        record(b"c", sequence_number="7"),
    )

    ids = [line["event_id"].partition(":")[2] for line in lines]
    assert ids == [f"{SEQUENCE_NUMBER}#0", f"{SEQUENCE_NUMBER}#1", "7"]


def test_a_place_that_is_empty_text_is_none() -> None:
    [line] = archived(record(b"a", subsequenceNumber=""))

    assert "#" not in line["event_id"]


def test_a_full_buffer_of_the_smallest_rides_fits_into_an_answer() -> None:
    small = b'{"ride":{"PULocationID":1,"DOLocationID":1,"trip_distance":0},"ride_id":1}'
    many = [record(small)] * (FIREHOSE_BUFFER // len(small))

    answer = lambda_handler({"records": many}, None)

    assert len(json.dumps(answer)) < LAMBDA_RESPONSE


def test_records_that_do_not_come_from_a_stream_are_an_error() -> None:
    direct = {"recordId": "1", "data": "", "approximateArrivalTimestamp": 1}

    with pytest.raises(msgspec.ValidationError, match="kinesisRecordMetadata"):
        lambda_handler({"records": [direct]}, None)
