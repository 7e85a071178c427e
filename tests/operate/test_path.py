"""An operator finds rejected rides by reason and replays them.

The rides go through an embedded Kinesis and the real handler, as in a deployed stack.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import boto3
import pytest

from local.aws.kinesis_reader import event_id, readers
from local.aws.server import Embedded
from operate import replay
from operate.failed_records import FailedRecordStore
from operate.inventory import take_inventory
from tests.support.golden import GoldenModel
from tools import sample_events

from ..support import embedded_aws
from ..support.delivery import deliver
from ..support.factories import payload
from ..support.operate_fakes import FakeLambda

BUCKET, LOCATION = "rejects", "s3://rejects/of-a-test"


@pytest.fixture
def s3(session_aws: Embedded, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client for an embedded AWS with an empty bucket; other clients use that AWS too."""
    embedded_aws.clear(session_aws)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_KINESIS"):
        monkeypatch.setenv(name, session_aws.endpoint)
    client = boto3.client("s3")
    client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    return client


@pytest.fixture
def streams(s3: Any) -> Any:
    """Return a client for Kinesis in the same embedded AWS, after both streams are created."""
    kinesis = boto3.client("kinesis")
    for name in ("ride_events", "ride_predictions"):
        kinesis.create_stream(StreamName=name, ShardCount=2)
        kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    return kinesis


@pytest.fixture
def deploy(golden_model: GoldenModel, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that starts the real handler with the settings that a test gives."""

    def deployed(**environment: str) -> Any:
        monkeypatch.setenv("MODEL_LOCATION", golden_model.model_location)
        monkeypatch.setenv("MODEL_SHA256", golden_model.model_sha256)
        monkeypatch.setenv("REJECTS_LOCATION", LOCATION)
        monkeypatch.setenv("RETURN_PREDICTIONS", "false")  # as in the deployed stack
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, "lambda_function", raising=False)
        return importlib.import_module("lambda_function").lambda_handler

    return deployed


def command(*arguments: str, lambda_: FakeLambda) -> int:
    return replay.main(
        [LOCATION, "--function", "ride-duration", *arguments],
        connect=lambda_.connect,
        sleep=lambda _: None,
    )


def put(kinesis: Any, *payloads: bytes) -> list[str]:
    """Send records and return their event ids."""
    reply = kinesis.put_records(
        StreamName="ride_events",
        Records=[{"Data": data, "PartitionKey": str(n)} for n, data in enumerate(payloads)],
    )
    return [event_id(each["ShardId"], each["SequenceNumber"]) for each in reply["Records"]]


def arrivals(kinesis: Any) -> dict[str, datetime]:
    return {
        event_id(reader.shard_id, record.sequence_number): record.arrived_at
        for reader in readers(kinesis, "ride_events")
        for record in reader()
    }


def published(kinesis: Any) -> dict[str, dict[str, Any]]:
    """Return the prediction events on the stream by event id; check that each id occurs once."""
    found = [
        json.loads(record.data)
        for reader in readers(kinesis, "ride_predictions")
        for record in reader()
    ]
    by_id = {each["source"]["event_id"]: each for each in found}
    assert len(by_id) == len(found)
    return by_id


def test_an_operator_replays_rides_that_a_wrong_setting_rejected(
    streams: Any, s3: Any, deploy: Callable[..., Any], capsys: Any
) -> None:
    sent = put(streams, *[payload(n, trip_distance=0.5 + n) for n in range(40)], b"not a ride")
    arrived = arrivals(streams)
    *rides, broken = sent

    # PREDICTION_MAX is too low, so most rides are rejected.
    deliver(streams, deploy(PREDICTION_MAX="20"))
    at_first = published(streams)
    missing = set(rides) - set(at_first)
    assert at_first
    assert missing
    capsys.readouterr()

    # The operator lists the rejects and sees the reason.
    assert replay.main([LOCATION]) == 0
    shown = capsys.readouterr().out
    assert f"{len(missing)} rides in" in shown
    assert "the model answered outside its range" in shown

    # The setting is fixed, and the rejects are replayed: first as a dry run.
    lambda_ = FakeLambda(deploy(PREDICTION_MAX="1440"))
    assert command(lambda_=lambda_) == 0
    assert published(streams) == at_first
    assert command("--yes", lambda_=lambda_) == 1
    assert "1 rides were rejected again" in capsys.readouterr().out

    # Each prediction is published once, with its first event id and arrival time.
    answered = published(streams)
    assert set(answered) == set(rides)
    for identifier in rides:
        source = answered[identifier]["source"]
        when = datetime.fromisoformat(source["arrived_at"])
        assert abs((when - arrived[identifier]).total_seconds()) < 0.001
    assert set(lambda_.event_ids) == missing | {broken}

    # Only the record that is not a ride event remains, with its reason.
    seen = take_inventory(FailedRecordStore.at(s3, LOCATION))
    assert [(span.rides, span.objects) for span in seen.reasons.values()] == [(1, 1)]
    assert command("--yes", lambda_=lambda_) == 1
    assert published(streams) == answered


def test_good_user_records_of_an_aggregate_are_published_again_with_the_same_identity(
    streams: Any, s3: Any, deploy: Callable[..., Any]
) -> None:
    good, far = payload(1, trip_distance=1), payload(2, trip_distance=900)
    [identifier] = put(streams, sample_events.aggregated([good, far]))

    deliver(streams, deploy(PREDICTION_MAX="20"))
    lambda_ = FakeLambda(deploy(PREDICTION_MAX="1440"))
    assert command("--yes", lambda_=lambda_) == 0

    found = [
        json.loads(record.data)
        for reader in readers(streams, "ride_predictions")
        for record in reader()
    ]
    assert Counter(event["source"]["event_id"] for event in found) == {
        f"{identifier}#0": 2,
        f"{identifier}#1": 1,
    }
    first, again = [each for each in found if each["source"]["event_id"].endswith("#0")]
    assert first == again
