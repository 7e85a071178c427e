"""The composition root: the one place where a test sets the environment and imports anew."""

from __future__ import annotations

import gzip
import importlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local.aws.server import Embedded
from model_service.errors import EventError, ModelError, SettingsError
from model_service.kinesis import records
from model_service.kinesis.records import short_digest
from operate import invoke

from ..support import cloudwatch, models
from ..support.factories import STREAM_ARN, kinesis_event, payload, sequence_number

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

pytestmark = models.MLFLOW_IMPORT

STREAM = "ride_predictions"
BUCKET = "rides"
REJECTS = f"s3://{BUCKET}/rejects"
KEPT_UNDER = "rejects/ride_duration_prediction_model/ride_events/shardId-000000000000"
UNLUCKY_ZONE = 13

Start = Callable[..., ModuleType]
Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


@dataclass
class Context:
    """Lambda's context, with this much time left."""

    milliseconds: int = 60_000
    aws_request_id: str = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"
    function_version: str = "7"

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


@dataclass(frozen=True)
class Outside:
    """What has left the handler since this was made."""

    kinesis: KinesisClient
    s3: S3Client
    iterator: str

    def predictions(self) -> list[dict[str, Any]]:
        """In the order of the records they answer: calls to the stream may overtake each other."""
        records = self.kinesis.get_records(ShardIterator=self.iterator)["Records"]
        return sorted(
            (json.loads(record["Data"]) for record in records),
            key=lambda event: event["source"]["event_id"],
        )

    def kept(self) -> list[str]:
        """The keys of what lies in the bucket, but for models."""
        objects = self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [entry["Key"] for entry in objects if not entry["Key"].startswith("1/")]

    def rejects(self) -> list[dict[str, Any]]:
        bodies = [self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in self.kept()]
        return [json.loads(body) for body in bodies]


@pytest.fixture(scope="module", autouse=True)
def level() -> Iterator[None]:
    """The function sets the level of all logging."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.fixture(scope="module")
def kinesis(module_aws: Embedded) -> KinesisClient:
    client = module_aws.kinesis()
    client.create_stream(StreamName=STREAM, ShardCount=1)
    client.get_waiter("stream_exists").wait(StreamName=STREAM)
    return client


@pytest.fixture
def outside(kinesis: KinesisClient, s3: S3Client) -> Iterator[Outside]:
    [shard] = kinesis.list_shards(StreamName=STREAM)["Shards"]
    iterator = kinesis.get_shard_iterator(
        StreamName=STREAM, ShardId=shard["ShardId"], ShardIteratorType="LATEST"
    )["ShardIterator"]
    outside = Outside(kinesis, s3, iterator)
    yield outside
    for key in outside.kept():
        s3.delete_object(Bucket=BUCKET, Key=key)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that the well-known course logs: dicts to minutes, no signature."""
    directory = tmp_path_factory.mktemp("pipeline")
    return models.save_sklearn(directory / "model", models.dict_pipeline())


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_onnx(tmp_path_factory.mktemp("line"))


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts the function anew with these settings, and nothing else in its environment."""
    return lambda **settings: fresh(monkeypatch, settings)


@pytest.fixture(scope="module")
def handler(module_aws: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Handler:
    """A function with a model that raises on rides from one zone, publishing and keeping."""
    directory = tmp_path_factory.mktemp("moody")
    settings = {
        **module_aws.environ,
        "MODEL_LOCATION": str(models.save_python(directory / "model", minutes_unless_unlucky)),
        "ALLOW_PICKLED_MODELS": "true",
        "REJECTS_LOCATION": REJECTS,
        "RUN_ID": "Test123",
        "RETURN_PREDICTIONS": "false",
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        function = fresh(monkeypatch, settings)
    handler: Handler = function.lambda_handler
    return handler


def test_the_event_of_the_course_goes_through_unchanged(start: Start, pipeline: Path) -> None:
    function = start(MODEL_LOCATION=str(pipeline), RUN_ID="Test123", TEST_RUN="True")
    event = kinesis_event(payload(256))

    answer = function.lambda_handler(event, None)

    [minutes] = models.dict_pipeline().predict([{"PU_DO": "130_205", "trip_distance": 3.66}])
    assert answer == {
        "predictions": [
            {
                "model": "ride_duration_prediction_model",
                "version": "Test123",
                "prediction": {"ride_duration": minutes, "ride_id": 256},
                "source": {
                    "event_id": event["Records"][0]["eventID"],
                    "arrived_at": "2022-06-02T09:18:34.132Z",
                },
            }
        ],
        "batchItemFailures": [],
    }
    assert event == kinesis_event(payload(256))


def test_a_batch_is_one_line_of_metrics(
    start: Start, line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function = start(MODEL_LOCATION=str(line), RUN_ID="Test123", TEST_RUN="True")

    function.lambda_handler(kinesis_event(payload(1), payload(2), b"{}"), Context())

    [printed] = capsys.readouterr().out.splitlines()
    metrics = json.loads(printed)
    assert [metrics[name] for name in ("received", "published", "rejected")] == [[3], [2], [1]]
    assert metrics["version"] == "Test123"
    assert metrics["request_id"] == Context.aws_request_id
    assert (metrics["function_version"], metrics["shard"]) == ("7", "shardId-000000000000")
    assert metrics["rejections"] == [{"reason": "Object missing required field `ride`", "rides": 1}]
    assert metrics["_aws"]["CloudWatchMetrics"]


def test_metrics_go_where_the_variables_of_powertools_say(
    start: Start, line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function = start(
        MODEL_LOCATION=str(line),
        TEST_RUN="True",
        POWERTOOLS_METRICS_NAMESPACE="Taxis/staging",
        POWERTOOLS_SERVICE_NAME="taxi rides",
    )

    function.lambda_handler(kinesis_event(payload(1)), Context())

    metrics = json.loads(capsys.readouterr().out)
    namespaces = {one["Namespace"] for one in metrics["_aws"]["CloudWatchMetrics"]}
    assert namespaces == {"Taxis/staging"}
    assert metrics["service"] == "taxi rides"


def test_a_replay_is_counted_apart_from_the_stream(
    start: Start, line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function = start(MODEL_LOCATION=str(line), TEST_RUN="True")
    event = kinesis_event(payload(1), b"{}")
    replayed = json.loads(invoke.event(records.read(event)))

    function.lambda_handler(event, Context())
    function.lambda_handler(replayed, Context())

    of_stream, of_replay = map(json.loads, capsys.readouterr().out.splitlines())
    assert replayed["Records"] == event["Records"]
    assert (of_stream["delivery"], of_replay["delivery"]) == ("stream", "replay")
    assert of_replay["rejected"] == of_stream["rejected"] == [1]
    [directive] = of_replay["_aws"]["CloudWatchMetrics"]
    assert [sorted(names) for names in directive["Dimensions"]] == [
        ["delivery", "model", "service"]
    ]
    for metric in ("latency_ms", "rejected", "received"):
        alarmed = {"service": "ride-predictions", "model": of_stream["model"]}
        assert cloudwatch.values([of_stream], "RidePredictions", metric, alarmed)
        assert not cloudwatch.values([of_replay], "RidePredictions", metric, alarmed)


def test_only_the_first_batch_is_a_cold_start(
    start: Start, line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function = start(MODEL_LOCATION=str(line), TEST_RUN="True")

    for _ in range(3):
        function.lambda_handler(kinesis_event(payload()), Context())

    lines = [json.loads(printed) for printed in capsys.readouterr().out.splitlines()]
    assert [metrics["cold_start"] for metrics in lines] == [[1], [0], [0]]


def test_predictions_are_left_out_where_nobody_wants_them(start: Start, line: Path) -> None:
    function = start(MODEL_LOCATION=str(line), TEST_RUN="True", RETURN_PREDICTIONS="false")

    assert function.lambda_handler(kinesis_event(payload()), None) == {"batchItemFailures": []}


def test_a_test_run_needs_no_aws(start: Start, line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "client", None)

    function = start(MODEL_LOCATION=str(line), TEST_RUN="True")

    assert len(function.lambda_handler(kinesis_event(payload()), None)["predictions"]) == 1


def test_the_names_of_model_and_field_are_settings(start: Start, line: Path) -> None:
    function = start(
        MODEL_LOCATION=str(line), TEST_RUN="True", MODEL_NAME="cost", PREDICTION_FIELD="ride_cost"
    )

    [prediction] = function.lambda_handler(kinesis_event(payload(256)), None)["predictions"]

    assert prediction["model"] == "cost"
    assert prediction["version"] == models.RUN_ID
    assert prediction["prediction"] == {"ride_cost": pytest.approx(20.3), "ride_id": 256}


def test_an_answer_outside_the_range_of_the_settings_is_rejected(
    start: Start, line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function = start(MODEL_LOCATION=str(line), TEST_RUN="True", PREDICTION_MAX="20")

    answer = function.lambda_handler(
        kinesis_event(payload(1, trip_distance=3), payload(2, trip_distance=4)), None
    )

    assert [p["prediction"]["ride_id"] for p in answer["predictions"]] == [1]
    assert json.loads(capsys.readouterr().out)["rejections"] == [
        {"reason": "the model answered outside its range", "rides": 1}
    ]


def test_the_log_level_is_a_setting(start: Start, line: Path) -> None:
    start(MODEL_LOCATION=str(line), TEST_RUN="True", LOG_LEVEL="ERROR")

    assert logging.getLogger().level == logging.ERROR


def test_a_missing_setting_stops_the_start(start: Start) -> None:
    with pytest.raises(SettingsError, match=r"MODEL_LOCATION is not set.*REJECTS_LOCATION is not"):
        start()


def test_a_model_that_differs_from_its_digest_stops_the_start(start: Start, line: Path) -> None:
    with pytest.raises(ModelError, match="is not the expected one"):
        start(MODEL_LOCATION=str(line), MODEL_SHA256="0" * 64, TEST_RUN="True")


def test_a_model_that_may_be_code_stops_the_start(start: Start, tmp_path: Path) -> None:
    path = models.save_python(tmp_path / "model", minutes_unless_unlucky)

    with pytest.raises(ModelError, match="ALLOW_PICKLED_MODELS=True"):
        start(MODEL_LOCATION=str(path), TEST_RUN="True")


@pytest.mark.parametrize("event", [{}, {"Records": [{"body": "{}"}]}, {"ride": {}, "ride_id": 1}])
def test_an_invocation_that_is_no_batch_is_an_error(
    start: Start, line: Path, event: dict[str, Any]
) -> None:
    function = start(MODEL_LOCATION=str(line), TEST_RUN="True")

    with pytest.raises(EventError, match="not a batch of Kinesis records"):
        function.lambda_handler(event, None)


def test_the_older_settings_find_the_model_on_s3(
    start: Start, module_aws: Embedded, s3: S3Client, outside: Outside, line: Path
) -> None:
    models.upload(s3, line, BUCKET, "1/Test123/artifacts/model")
    function = start(
        **module_aws.environ, MODEL_BUCKET=BUCKET, RUN_ID="Test123", REJECTS_LOCATION=REJECTS
    )

    answer = function.lambda_handler(kinesis_event(payload(256)), Context())

    assert answer["batchItemFailures"] == []
    assert outside.predictions() == answer["predictions"]
    assert outside.predictions()[0]["version"] == "Test123"
    assert outside.kept() == []


def test_predictions_are_partitioned_by_ride(handler: Handler, outside: Outside) -> None:
    handler(kinesis_event(payload(256), payload("a ride")), Context())

    records = outside.kinesis.get_records(ShardIterator=outside.iterator)["Records"]
    assert [record["PartitionKey"] for record in records] == ["256", "a ride"]


def test_nothing_is_kept_where_losing_rejects_is_accepted(
    start: Start, module_aws: Embedded, outside: Outside, line: Path
) -> None:
    function = start(**module_aws.environ, MODEL_LOCATION=str(line), REJECTS_LOCATION="none")

    answer = function.lambda_handler(kinesis_event(b"{}", payload(256)), Context())

    assert answer["batchItemFailures"] == []
    assert len(outside.predictions()) == 1
    assert outside.kept() == []


def test_a_reject_that_cannot_be_kept_is_delivered_again(
    start: Start, module_aws: Embedded, outside: Outside, line: Path
) -> None:
    function = start(
        **module_aws.environ, MODEL_LOCATION=str(line), REJECTS_LOCATION="s3://no-bucket"
    )
    event = kinesis_event(payload(1), b"{}")

    answer = function.lambda_handler(event, Context())

    assert answer["batchItemFailures"] == [{"itemIdentifier": sequence_number(event, 1)}]
    assert len(outside.predictions()) == 1


def test_a_stream_that_is_not_there_gets_the_batch_delivered_again(
    start: Start, module_aws: Embedded, outside: Outside, line: Path
) -> None:
    function = start(
        **module_aws.environ,
        MODEL_LOCATION=str(line),
        REJECTS_LOCATION=REJECTS,
        PREDICTIONS_STREAM_NAME="no_such_stream",
    )
    event = kinesis_event(b"{}", payload(1), b"{}")

    answer = function.lambda_handler(event, Context())

    assert answer == {
        "batchItemFailures": [{"itemIdentifier": sequence_number(event, 1)}],
        "predictions": [],
    }
    event_ids = [event["Records"][n]["eventID"] for n in (0, 2)]
    digest = short_digest("\n".join(event_ids).encode())
    assert outside.kept() == [f"{kept_as(event, 0, last=2)}-{digest}"]


def test_no_time_left_is_a_batch_to_deliver_again(handler: Handler, outside: Outside) -> None:
    event = kinesis_event(payload(1), payload(2))

    answer = handler(event, Context(milliseconds=0))

    assert answer == {"batchItemFailures": [{"itemIdentifier": sequence_number(event, 0)}]}
    assert outside.predictions() == []


ZEROS = gzip.compress(bytes(10_000_000), mtime=0)
NESTED = b'{"note": ' + b"[" * 100_000 + b"]" * 100_000 + b"," + payload()[1:]

BAD = {
    "broken base64": ("eyJyaWRlIjo=!", "data is not base64"),
    "not JSON": (b"a ride, please", "JSON is malformed: invalid character (byte 0)"),
    "missing field": (
        json.dumps({"ride": {"PULocationID": 130, "DOLocationID": 205}, "ride_id": 1}).encode(),
        "Object missing required field `trip_distance` - at `$.ride`",
    ),
    "NaN": (payload(trip_distance=float("nan")), "JSON is malformed: invalid character (byte 69)"),
    "zone 266": (
        payload(PULocationID=266),
        "Expected `int` <= 265 - at `$.ride.PULocationID`",
    ),
    "deep nesting": (NESTED, "JSON is nested too deeply"),
    "gzip bomb": (ZEROS, "gzip holds more than 1048576 bytes"),
    "unlucky ride": (
        payload(PULocationID=UNLUCKY_ZONE),
        "the model cannot score this ride: LookupError",
    ),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD)
def test_a_bad_record_among_a_thousand_touches_no_other(
    handler: Handler,
    outside: Outside,
    capsys: pytest.CaptureFixture[str],
    bad: bytes | str,
    reason: str,
) -> None:
    good = [payload(ride_id) for ride_id in range(999)]
    event = kinesis_event(*good[:613], bad, *good[613:])

    answer = handler(event, Context())

    assert answer == {"batchItemFailures": []}
    assert [p["prediction"]["ride_id"] for p in outside.predictions()] == list(range(999))
    assert {p["prediction"]["ride_duration"] for p in outside.predictions()} == {20.3}
    assert outside.kept() == [kept_as(event, 613)]
    assert_kept(outside, event["Records"][613], reason)
    assert_counted(capsys, received=1000, published=999, rejected=1, to_retry=0, publish_retries=0)


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD)
def test_a_bad_record_by_itself_is_rejected_and_not_retried(
    handler: Handler,
    outside: Outside,
    capsys: pytest.CaptureFixture[str],
    bad: bytes | str,
    reason: str,
) -> None:
    event = kinesis_event(bad)

    answer = handler(event, Context())

    assert answer == {"batchItemFailures": []}
    assert outside.predictions() == []
    assert outside.kept() == [kept_as(event, 0)]
    assert_kept(outside, event["Records"][0], reason)
    assert_counted(capsys, received=1, published=0, rejected=1, to_retry=0, publish_retries=0)


def fresh(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> ModuleType:
    """The function, imported anew in an environment of *settings* alone."""
    monkeypatch.setattr("os.environ", dict(settings))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    sys.modules.pop("lambda_function", None)
    return importlib.import_module("lambda_function")


def minutes_unless_unlucky(rides: Any) -> list[float]:
    unlucky = f"{UNLUCKY_ZONE}_"
    if any(ride["PU_DO"].startswith(unlucky) for ride in rides):
        raise LookupError("no such zone")
    return [2 + 5 * ride["trip_distance"] for ride in rides]


def kept_as(event: dict[str, Any], position: int, last: int | None = None) -> str:
    """Return the key of the object with the rejected record at *position*.

    If *last* is given, return how the key begins that has rejections from *position* to *last*.
    """
    first = sequence_number(event, position)
    return f"{KEPT_UNDER}/{first}-{first if last is None else sequence_number(event, last)}"


def assert_kept(outside: Outside, record: dict[str, Any], reason: str) -> None:
    """One object with one reason, and the record as Lambda delivered it."""
    [kept] = outside.rejects()
    assert kept["reasons"] == {record["eventID"]: reason}
    assert json.loads(kept["payload"]) == {"Records": [record]}
    assert kept["KinesisBatchInfo"]["streamArn"] == STREAM_ARN


def assert_counted(capsys: pytest.CaptureFixture[str], **counts: int) -> None:
    metrics = json.loads(capsys.readouterr().out)
    assert {name: metrics[name] for name in counts} == {n: [c] for n, c in counts.items()}


def test_at_no_log_level_is_a_customer_s_data_logged(
    start: Start,
    module_aws: Embedded,
    outside: Outside,
    line: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    function = start(
        **module_aws.environ, MODEL_LOCATION=str(line), REJECTS_LOCATION=REJECTS, LOG_LEVEL="DEBUG"
    )

    function.lambda_handler(kinesis_event(payload("a customer"), b'{"ride": "a secret"}'), None)

    assert len(outside.predictions()) == len(outside.kept()) == 1
    assert "customer" not in caplog.text
    assert "secret" not in caplog.text


def test_a_model_of_another_target_stops_the_start(start: Start, tmp_path: Path) -> None:
    path = models.write_onnx(tmp_path, metadata={"target": "cost"})

    with pytest.raises(ModelError, match="predicts a ride's cost"):
        start(MODEL_LOCATION=str(path), TEST_RUN="True")


def test_the_minimal_event_of_the_course_is_scored_in_a_test_run(start: Start, line: Path) -> None:
    function = start(MODEL_LOCATION=str(line), RUN_ID="Test123", TEST_RUN="True")
    data = kinesis_event(payload(256))["Records"][0]["kinesis"]["data"]
    event = {"Records": [{"kinesis": {"data": data}}]}

    [prediction] = function.lambda_handler(event, None)["predictions"]

    assert prediction["version"] == "Test123"
    assert prediction["prediction"] == {"ride_duration": pytest.approx(20.3), "ride_id": 256}
    assert prediction["source"]["event_id"] == "test-run:0"


def test_the_minimal_event_of_the_course_is_refused_outside_a_test_run(handler: Handler) -> None:
    with pytest.raises(EventError, match="sequenceNumber"):
        handler({"Records": [{"kinesis": {"data": "e30="}}]}, Context())
