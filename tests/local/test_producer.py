"""The producer sends rides to any stream, at their rate or at the pace of their pick-ups."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aws_kinesis_agg.deaggregator import deaggregate_records
from botocore.exceptions import ClientError, ConnectTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from local import producer, sending
from local.aws.kinesis_reader import readers
from local.aws.server import Embedded
from local.kpl import aggregated
from local.messages import Message, encoded, ride_event
from local.rides import Trip
from local.sending import put_to, send_at
from model_service import payloads

from ..support import embedded_aws
from .test_demo import month_of_one_ride

SECOND = 1.0


@pytest.fixture
def aws(session_aws: Embedded) -> Embedded:
    embedded_aws.clear(session_aws)
    kinesis = session_aws.kinesis()
    kinesis.create_stream(StreamName="rides", ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName="rides", WaiterConfig={"Delay": 1})
    return session_aws


def stored(aws: Embedded) -> list[bytes]:
    return [record.data for reader in readers(aws.kinesis(), "rides") for record in reader()]


def user_records(data: bytes) -> list[dict[str, Any]]:
    found = payloads.payloads(base64.b64encode(data).decode(), "event")
    return [json.loads(each.content) for each in found if isinstance(each.content, bytes)]


@pytest.mark.parametrize("options", [[], ["--gzip"], ["--kpl"], ["--kpl", "--gzip"]])
def test_each_ride_is_sent_once(
    aws: Embedded, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--stream", "rides", "--endpoint", aws.endpoint, "--rides", "45", "--rate", "1000"]

    assert producer.main([*command, *options]) == 0

    records = stored(aws)
    found = [event["ride_id"] for data in records for event in user_records(data)]
    assert sorted(found) == list(range(1, 46))
    assert len(records) == (3 if "--kpl" in options else 45)
    assert f"sent 45 rides in {len(records)} records to rides" in capsys.readouterr().out


def test_rides_of_the_tlc_are_sent_month_by_month(aws: Embedded, tmp_path: Path) -> None:
    for month in ("2021-01", "2021-02"):
        month_of_one_ride(tmp_path, month)
    command = ["--stream", "rides", "--endpoint", aws.endpoint, "--from-tlc", str(tmp_path)]

    assert producer.main([*command, "--months", "2021-02", "2021-01", "--rate", "1000"]) == 0

    times = {json.loads(data)["ride"]["pickup_datetime"]: data for data in stored(aws)}
    assert sorted(times) == ["2021-01-02T08:00:00", "2021-02-02T08:00:00"]


def test_rides_keep_the_pace_of_their_pickups() -> None:
    rides = [
        Trip(number, 130, 205, 3.66, f"2021-03-01T08:{minute:02d}:00", 10.0)
        for number, minute in enumerate((0, 1, 30), start=1)
    ]
    messages = encoded(trip.event for trip in rides)

    due = producer._schedule(rides, messages, rate=500, speed=60)

    assert [at for at, _ in due] == [0, SECOND, 30 * SECOND]


@given(st.lists(st.tuples(st.text(min_size=1, max_size=9), st.binary(max_size=300)), min_size=1))
def test_another_reader_of_aggregates_finds_the_same_user_records(
    users: list[tuple[str, bytes]],
) -> None:
    data = base64.b64encode(aggregated(users)).decode()
    record = {"kinesis": {"data": data, "sequenceNumber": "1", "partitionKey": "a",
                          "approximateArrivalTimestamp": 1.0, "kinesisSchemaVersion": "1.0"},
              "eventID": "1", "eventSource": "aws:kinesis", "eventVersion": "1.0",
              "eventName": "aws:kinesis:record", "invokeIdentityArn": "r", "awsRegion": "r",
              "eventSourceARN": "s"}  # fmt: skip

    found = deaggregate_records([record])

    assert [
        (each["kinesis"]["partitionKey"], base64.b64decode(each["kinesis"]["data"]))
        for each in found
    ] == users


class FlakyKinesis:
    """A client whose calls fail as planned, and then accept every other record once."""

    def __init__(self, failures: Sequence[Exception]) -> None:
        self.failures = list(failures)
        self.taken: list[str] = []
        self.number = count(1)
        self.refused: set[str] = set()

    def put_records(self, *, StreamName: str, Records: list[dict[str, Any]]) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        return {"Records": [self.put(record["PartitionKey"]) for record in Records]}

    def put(self, key: str) -> dict[str, str]:
        if int(key) % 2 and key not in self.refused:
            self.refused.add(key)
            return {"ErrorCode": "ProvisionedThroughputExceededException"}
        self.taken.append(key)
        return {"ShardId": "shardId-000000000000", "SequenceNumber": str(next(self.number))}


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "PutRecords")


def send(kinesis: FlakyKinesis, on_sent: Callable[[dict[str, Message]], None]) -> int:
    again = 0

    def refused(number: int) -> None:
        nonlocal again
        again += number

    messages = [(0.0, Message(str(n), b"")) for n in range(10)]
    put: Any = put_to(kinesis, "rides")  # type: ignore[arg-type]
    send_at(messages, put, sent=on_sent, refused=refused)
    return again


def test_only_refused_records_are_sent_again_and_failed_calls_entirely() -> None:
    kinesis = FlakyKinesis(
        [error("ThrottlingException"), ConnectTimeoutError(endpoint_url="http://x")]
    )
    known: dict[str, Message] = {}

    again = send(kinesis, known.update)

    assert sorted(kinesis.taken) == [str(n) for n in range(10)]
    assert len(known) == 10
    assert again == 10 + 10 + 5


def test_an_error_that_a_retry_does_not_mend_is_raised() -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        send(FlakyKinesis([error("AccessDeniedException")]), lambda _: None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--stream", "nowhere"], "Stream nowhere under account"),
        (["--from-tlc", "no such directory"], "There is no directory"),
    ],
)
def test_bad_input_is_one_sentence(
    aws: Embedded, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert producer.main(["--stream", "rides", "--endpoint", aws.endpoint, *options]) == 2

    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_without_a_local_stack_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert producer.main(["--stream", "rides"]) == 2
    assert "No local stack runs here (make stack)" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--rides", "0"], ["--rate", "-1"], ["--months", "2021-01"]])
def test_wrong_options_are_refused(options: list[str]) -> None:
    with pytest.raises(SystemExit):
        producer.main(options)


def test_a_ride_is_a_record_with_its_id_as_the_key() -> None:
    [message] = encoded([ride_event(7, 130, 205, 3.66, "2021-03-01T08:15:00")], zipped=True)

    assert message.key == "7"
    assert json.loads(gzip.decompress(message.data))["ride_id"] == 7
    assert sending.MOST_RECORDS == 500
