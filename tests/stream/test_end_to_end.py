"""A ride from one stream to the other: Kinesis, the event source mapping and the real handler.

Against two implementations of Kinesis that know nothing of each other.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from local.aws.kinesis_reader import readers
from local.aws.server import Embedded

from ..support import delivery, golden, kinesis_local
from ..support.factories import payload
from ..support.golden import GoldenModel

BAD = [b"", b"{}", payload(1, PULocationID=266), b"\xf3\x89\x9a\xc2" + bytes(20)]
SHARDS = 2
BATCH = 100


@pytest.fixture(scope="module")
def moto(module_aws: Embedded) -> str:
    return module_aws.endpoint


@pytest.fixture(scope="module")
def npm() -> Iterator[str]:
    if reason := kinesis_local.missing():
        pytest.skip(reason)
    with kinesis_local.running() as endpoint:
        yield endpoint


@pytest.fixture(params=["moto", pytest.param("npm", marks=pytest.mark.slow)])
def endpoint(request: pytest.FixtureRequest) -> str:
    """Return the endpoint of an emulator of Kinesis."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def streams(endpoint: str) -> Iterator[Any]:
    """A client of Kinesis with an input and an output stream, both empty."""
    kinesis = boto3.client("kinesis", endpoint_url=endpoint)
    for name in ("ride_events", "ride_predictions"):
        kinesis.create_stream(StreamName=name, ShardCount=SHARDS)
        kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    yield kinesis
    for name in ("ride_events", "ride_predictions"):
        kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
        kinesis.get_waiter("stream_not_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})


@pytest.fixture
def handler(
    golden_model: GoldenModel, endpoint: str, moto: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """The handler, wired to that Kinesis, and to a bucket for rejects."""
    monkeypatch.setenv("MODEL_LOCATION", golden_model.model_location)
    monkeypatch.setenv("MODEL_SHA256", golden_model.model_sha256)
    monkeypatch.setenv("KINESIS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto)
    monkeypatch.setenv("REJECTS_LOCATION", "s3://rejects/of-a-test")
    monkeypatch.delitem(sys.modules, "lambda_function", raising=False)
    found: Callable[..., Any] = importlib.import_module("lambda_function").lambda_handler
    return found


@pytest.fixture
def bucket(moto: str) -> Iterator[Any]:
    """A client of S3 with an empty bucket for rejects."""
    s3 = boto3.client("s3", endpoint_url=moto)
    s3.create_bucket(
        Bucket="rejects", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    yield s3
    for key in keys(s3):
        s3.delete_object(Bucket="rejects", Key=key)
    s3.delete_bucket(Bucket="rejects")


def keys(s3: Any) -> list[str]:
    listed = s3.list_objects_v2(Bucket="rejects").get("Contents", [])
    return [entry["Key"] for entry in listed]


def put(kinesis: Any, payloads: list[bytes]) -> None:
    for start in range(0, len(payloads), 500):
        reply = kinesis.put_records(
            StreamName="ride_events",
            Records=[
                {"Data": data, "PartitionKey": str(n)}
                for n, data in enumerate(payloads[start : start + 500])
            ],
        )
        assert reply["FailedRecordCount"] == 0


def deliver(kinesis: Any, handler: Callable[..., Any]) -> None:
    """Everything that lies on the input stream."""
    delivery.deliver(kinesis, handler, batch_size=BATCH)


def published(kinesis: Any) -> list[dict[str, Any]]:
    return [
        json.loads(record.data)
        for reader in readers(kinesis, "ride_predictions")
        for record in reader()
    ]


def test_golden_rides_come_out_as_golden_predictions(
    streams: Any, bucket: Any, handler: Callable[..., Any], golden_model: GoldenModel
) -> None:
    put(streams, golden.payloads())

    deliver(streams, handler)

    events = {str(event["prediction"]["ride_id"]): event for event in published(streams)}
    for ride, minutes in zip(golden.RIDES, golden.expected(), strict=True):
        answer = events[str(ride["ride_id"])]["prediction"]["ride_duration"]
        if "pickup_datetime" in ride["ride"]:  # without, its time is that of its arrival: now
            assert answer == pytest.approx(minutes, abs=golden.TOLERANCE)
    assert {event["version"] for event in events.values()} == {golden_model.run_id}
    assert keys(bucket) == []


def test_among_a_thousand_rides_the_bad_ones_are_kept_and_the_others_answered_once(
    streams: Any, bucket: Any, handler: Callable[..., Any]
) -> None:
    rides = [payload(n, trip_distance=n / 100) for n in range(1000)]
    put(streams, [*rides[:500], *BAD, *rides[500:]])

    deliver(streams, handler)

    answered = [event["prediction"]["ride_id"] for event in published(streams)]
    kept = [
        json.loads(bucket.get_object(Bucket="rejects", Key=key)["Body"].read())
        for key in keys(bucket)
    ]
    assert sorted(answered) == list(range(1000))
    assert len({event_id for each in kept for event_id in each["reasons"]}) == len(BAD)


def test_after_an_outage_of_the_output_nothing_is_lost(
    streams: Any, bucket: Any, handler: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(streams, [payload(n) for n in range(300)])
    wired = sys.modules["lambda_function"]
    working, tries = wired.publish, iter(range(10))

    def publish(entries: Any, time_left: Any) -> Any:
        from model_service.kinesis.publisher import PublishResult

        if next(tries) < 3:
            return PublishResult(frozenset(range(len(entries))))
        return working(entries, time_left)

    monkeypatch.setattr(wired, "publish", publish)
    deliver(streams, handler)

    assert sorted(e["prediction"]["ride_id"] for e in published(streams)) == list(range(300))
