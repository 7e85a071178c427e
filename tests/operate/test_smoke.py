"""The smoke test passes on a stack that works, and otherwise reports what does not work."""

from __future__ import annotations

import importlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.aws.server import REGION, Embedded
from model_service import rides
from model_service.errors import RideRejected
from operate import deployed_stack, smoke
from operate.command import CommandError
from operate.deployed_stack import DeployedStack
from tests.support.golden import GoldenModel

from ..support.delivery import deliver
from ..support.factories import payload

PARTS = ["--input", "ride_events", "--output-stream", "ride_predictions"]
LOCAL = [*PARTS, "--rejects", "s3://rejects/of-a-test"]
OUTPUTS = {
    "RideEventsStreamName": "ride_events",
    "RidePredictionsStreamName": "ride_predictions",
    "RejectsLocation": "s3://rejects/of-a-test",
    "DurationFunctionName": "scores-durations",
    "CostFunctionName": "scores-costs",
    "BatchFunctionName": "scores-files",
    "DecisionFunctionName": "decides",
}


@dataclass(frozen=True, slots=True)
class FakeCloudFormation:
    """Describes a stack by its outputs; `tests/local/test_stack.py` looks one up at moto."""

    outputs: dict[str, str]

    def describe_stacks(self, *, StackName: str) -> Any:
        listed = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()]
        return {"Stacks": [{"Outputs": listed}]}


@pytest.fixture(scope="module")
def server(module_aws: Embedded) -> Embedded:
    """A local stack without its function; records of one test stay for the next test."""
    kinesis = module_aws.kinesis()
    for name in ("ride_events", "ride_predictions"):
        kinesis.create_stream(StreamName=name, ShardCount=2)
        kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    module_aws.s3().create_bucket(Bucket="rejects")
    return module_aws


@pytest.fixture
def aws(server: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all AWS clients use the local stack."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    for name in ("", "_S3", "_KINESIS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL{name}", server.endpoint)


@pytest.fixture
def handler(
    aws: None, golden_model: GoldenModel, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Return the real handler."""
    monkeypatch.setenv("MODEL_LOCATION", golden_model.model_location)
    monkeypatch.setenv("REJECTS_LOCATION", "s3://rejects/of-a-test")
    monkeypatch.delitem(sys.modules, "lambda_function", raising=False)
    found: Callable[..., Any] = importlib.import_module("lambda_function").lambda_handler
    return found


@contextmanager
def running(handler: Callable[..., Any]) -> Iterator[None]:
    """Deliver the input stream to *handler* while the block runs."""
    kinesis, stop = boto3.client("kinesis"), Event()
    with ThreadPoolExecutor(1) as workers:
        delivering = workers.submit(deliver, kinesis, handler, finished=stop.is_set, idle=0.2)
        try:
            yield
        finally:
            stop.set()
            delivering.result()


def put(stream: str, *payloads: bytes) -> None:
    boto3.client("kinesis").put_records(
        StreamName=stream,
        Records=[{"Data": data, "PartitionKey": str(n)} for n, data in enumerate(payloads)],
    )


def test_a_working_stack_passes_among_records_of_other_producers(
    handler: Callable[..., Any], capsys: Any
) -> None:
    put("ride_events", payload(1), b"bad", payload("smoke-of-another-run-0"))
    put("ride_predictions", b"not a prediction", b"[" * 100_000, b'{"model": "m"}')

    with running(handler):
        assert smoke.main(LOCAL) == 0

    said = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("{")]
    assert said[0] == "sent 10 rides and a broken record to ride_events"
    assert said[1].startswith("ride_duration_prediction_model, version ")
    assert said[1].endswith(", published predictions for 10 of 10 rides on ride_predictions")
    assert said[2:] == [
        "the broken record was rejected to s3://rejects/of-a-test: "
        "Expected `int` <= 265 - at `$.ride.DOLocationID`",
        "The stack works.",
    ]


def test_two_runs_at_once_do_not_disturb_each_other(
    handler: Callable[..., Any], capsys: Any
) -> None:
    with running(handler), ThreadPoolExecutor(2) as threads:
        both = [threads.submit(smoke.main, LOCAL) for _ in range(2)]

        assert [each.result() for each in both] == [0, 0]


def test_a_function_that_rejects_every_ride_fails_at_once_and_says_why(
    handler: Callable[..., Any], capsys: Any
) -> None:
    """The command ends as soon as a ride is in the rejects, long before its patience does."""
    handled: list[float] = []

    def rejecting(event: dict[str, Any], context: Any) -> Any:
        broken = {"data": "AAAA"}
        spoilt = [{**r, "kinesis": r["kinesis"] | broken} for r in event["Records"]]
        answer = handler({"Records": spoilt}, context)
        handled.append(time.monotonic())
        return answer

    with running(rejecting):
        assert smoke.main(LOCAL) == 1
        ended = time.monotonic()

    said = capsys.readouterr().out
    assert re.search(
        r"\d+ of 10 rides were rejected to s3://rejects/of-a-test: JSON is malformed", said
    )
    assert "The stack does not work.\n" in said  # the function's log line may follow it
    assert ended - handled[0] < 30, "the patience is two minutes"


def test_the_reasons_of_rejected_rides_are_counted() -> None:
    stack = DeployedStack("ride_events", "ride_predictions", "s3://rejects/x")
    rides = [f"shard:{n}" for n in range(10)]
    reasons = dict.fromkeys(rides[:7], "too long") | {rides[7]: "no time", "shard:10": "no zone"}
    scored = {("m", "1"): {rides[8]}}

    assert smoke.summary(stack, rides, scored, reasons, 0.7) == [
        "m, version 1, published predictions for 1 of 10 rides on ride_predictions",
        "7 of 10 rides were rejected to s3://rejects/x: too long",
        "1 of 10 rides were rejected to s3://rejects/x: no time",
        "no prediction arrived for 1 rides within 1 s",
        "the broken record was rejected to s3://rejects/x: no zone",
    ]


def test_a_stack_without_a_function_fails(aws: None, capsys: Any) -> None:
    assert smoke.main([*LOCAL, "--patience", "1"]) == 1

    said = capsys.readouterr().out
    assert "no prediction arrived for 10 rides" in said
    assert "the broken record did not reach s3://rejects/of-a-test" in said


def test_a_stack_is_found_by_its_outputs() -> None:
    found = deployed_stack.find_stack(FakeCloudFormation(OUTPUTS), "rides")

    assert found == DeployedStack(
        "ride_events", "ride_predictions", "s3://rejects/of-a-test", models=2
    )


def test_a_stack_fails_if_one_of_two_models_is_silent(handler: Callable[..., Any]) -> None:
    stack = deployed_stack.find_stack(FakeCloudFormation(OUTPUTS), "rides")
    said: list[str] = []

    with running(handler):
        works = smoke.smoke(
            stack, boto3.client("kinesis"), boto3.client("s3"), said.append, patience=5
        )

    assert not works
    assert said[1].endswith("published predictions for 10 of 10 rides on ride_predictions")
    assert said[2] == "1 of 2 models scored all rides within 5 s"


def test_versions_of_a_model_count_together() -> None:
    answered = {("m", "1"): {"a"}, ("m", "2"): {"b"}, ("n", "1"): {"a"}, ("o", "1"): {"a", "b"}}

    assert smoke.complete_models(["a", "b"], answered) == {"m", "o"}


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (
            {"RideEventsStreamName": "a"},
            "no output RidePredictionsStreamName, RejectsLocation",
        ),
        (dict.fromkeys(deployed_stack.OUTPUTS, "none"), "stores no rejects"),
    ],
)
def test_a_stack_of_another_template_is_refused(outputs: dict[str, str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        deployed_stack.find_stack(FakeCloudFormation(outputs), "rides")


def test_a_missing_stack_is_refused() -> None:
    class Client:
        def describe_stacks(self, *, StackName: str) -> Any:
            raise ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStacks")

    with pytest.raises(CommandError, match="the stack rides cannot be looked up"):
        deployed_stack.find_stack(Client(), "rides")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name either --stack"),
        (PARTS, "name either --stack"),
        ([*LOCAL, "--stack", "rides"], "name either --stack"),
        ([*LOCAL, "--input", "no-such"], "the stream no-such cannot be written to"),
        ([*LOCAL, "--output-stream", "no-such"], "the stream no-such cannot be read"),
        ([*LOCAL, "--rejects", "s3://no-such/x"], "s3://no-such/x cannot be read"),
    ],
)
def test_bad_input_prints_one_line_and_exits_with_2(
    arguments: list[str], sentence: str, aws: None, capsys: Any
) -> None:
    assert smoke.main(arguments) == 2

    said = capsys.readouterr().err
    assert said.startswith(f"smoke: {sentence}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--patience", "0"], ["--patience", "soon"], ["--rejects", "rejects/x"]]
)
def test_a_malformed_number_or_location_is_refused(arguments: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        smoke.main([*LOCAL, *arguments])
    assert "expected " in capsys.readouterr().err


def test_the_smoke_test_sends_ten_rides_and_a_broken_record() -> None:
    *good, broken = smoke.events("smoke-1").items()

    assert [rides.decode(data).ride_id for _, data in good] == [key for key, _ in good]
    assert len(good) == 10
    with pytest.raises(RideRejected):
        rides.decode(broken[1])


def test_a_stream_is_still_read_after_a_shard_is_split(aws: None) -> None:
    kinesis = boto3.client("kinesis")
    tail = deployed_stack.StreamTail(kinesis, "ride_predictions")
    [shard, *_] = kinesis.list_shards(StreamName="ride_predictions")["Shards"]
    bounds = shard["HashKeyRange"]
    middle = (int(bounds["StartingHashKey"]) + int(bounds["EndingHashKey"])) // 2
    kinesis.split_shard(
        StreamName="ride_predictions",
        ShardToSplit=shard["ShardId"],
        NewStartingHashKey=str(middle),
    )
    answer = {"model": "m", "version": "1", "source": {"event_id": "s:1"}}
    put("ride_predictions", *[json.dumps(answer).encode()] * 40)

    found = [*tail.predictions(), *tail.predictions(), *tail.predictions()]

    assert len(found) == 40


@pytest.mark.parametrize("reply", [{}, None, []])
def test_a_reply_that_is_not_from_kinesis_ends_the_smoke_test_in_one_sentence(reply: Any) -> None:
    class Proxy:
        def put_record(self, **_: Any) -> Any:
            return reply

    with pytest.raises(CommandError, match="the reply did not come from Kinesis"):
        deployed_stack.put_record(Proxy(), "ride_events", "1", b"{}")  # type: ignore[arg-type]
