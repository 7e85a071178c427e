"""The command and the drivers work with the real protocols of Kinesis, S3 and SQS."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import boto3
import pytest

from event_source_mapping.__main__ import main
from event_source_mapping.destinations import deliver_to
from event_source_mapping.errors import CreateError
from event_source_mapping.functions import (
    NotInvoked,
    Raised,
    Returned,
    in_process,
    over_http,
)
from event_source_mapping.identity import identity
from event_source_mapping.kinesis import KinesisSource
from event_source_mapping.settings import Destination, Settings, destination
from event_source_mapping.threads import run
from local.aws.server import KEY, REGION, Embedded

STREAM = "rides"
NAMES = identity(STREAM, "scorer")


@pytest.fixture
def aws(module_aws: Embedded, monkeypatch: pytest.MonkeyPatch) -> Embedded:
    for name, value in module_aws.environ.items():
        monkeypatch.setenv(name, value)
    return module_aws


def client(aws: Embedded, service: str) -> Any:
    return boto3.session.Session().client(
        service,  # type: ignore[call-overload]
        endpoint_url=aws.endpoint,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
    )


def created(aws: Embedded, name: str, shards: int = 1) -> Any:
    kinesis = client(aws, "kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    return kinesis


def put(kinesis: Any, stream: str, numbers: range) -> None:
    kinesis.put_records(
        StreamName=stream,
        Records=[{"Data": str(n).encode(), "PartitionKey": str(n)} for n in numbers],
    )


class Seen:
    """A handler that keeps the data of the records, and fails on bad ones."""

    def __init__(self, bad: bytes | None = None) -> None:
        self.bad = bad
        self.data: list[bytes] = []

    def __call__(self, event: dict[str, Any], context: Any) -> None:
        import base64

        data = [base64.b64decode(record["kinesis"]["data"]) for record in event["Records"]]
        if self.bad in data:
            raise ValueError("bad")
        self.data += data


def test_a_stream_is_delivered_across_a_split(aws: Embedded) -> None:
    kinesis = created(aws, "split")
    put(kinesis, "split", range(50))
    source = KinesisSource(kinesis, "split")
    [shard] = kinesis.list_shards(StreamName="split")["Shards"]
    kinesis.split_shard(
        StreamName="split", ShardToSplit=shard["ShardId"], NewStartingHashKey=str(2**127)
    )
    time.sleep(1.1)  # the split of the emulator takes a moment
    put(kinesis, "split", range(50, 100))
    seen = Seen()

    run(
        in_process(seen, NAMES, 60),
        source,
        Settings(batch_size=7),
        NAMES,
        finished=lambda: True,
        idle=0.05,
    )

    assert sorted(map(int, seen.data)) == list(range(100))
    assert len(source.shards()) == 3
    assert {info.parents for info in source.shards()} == {(), (shard["ShardId"],)}


def test_fact_16_a_stream_that_does_not_exist(aws: Embedded) -> None:
    """L, the error of AWS: InvalidParameterValueException with status 400."""
    with pytest.raises(CreateError, match="there is no stream nowhere") as caught:
        KinesisSource(client(aws, "kinesis"), "nowhere")

    assert (caught.value.code, caught.value.status) == ("InvalidParameterValueException", 400)


@pytest.mark.parametrize("service", ["s3", "sqs"])
def test_a_given_up_batch_is_at_the_destination(aws: Embedded, service: str) -> None:
    """Fact 10: the key and the content type on S3; fact 9: the message on SQS."""
    name = f"failed-{service}"
    kinesis = created(aws, name)
    put(kinesis, name, range(3))
    target, read = _target(aws, service, name)
    names = identity(name, "scorer")

    run(
        in_process(Seen(bad=b"1"), names, 60),
        KinesisSource(kinesis, name),
        Settings(maximum_retry_attempts=0, bisect_batch_on_function_error=True, destination=target),
        names,
        deliver=deliver_to(target, names, client(aws, service)),
        finished=lambda: True,
        idle=0.05,
    )

    found = read()
    assert found["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert found["KinesisBatchInfo"]["batchSize"] == 1
    if service == "s3":
        [record] = json.loads(found["payload"])["Records"]
        assert record["kinesis"]["partitionKey"] == "1"


def _target(aws: Embedded, service: str, name: str) -> tuple[Destination, Any]:
    """Create a destination, and return it with a function that reads its only message."""
    own = client(aws, service)
    if service == "sqs":
        url = own.create_queue(QueueName=name)["QueueUrl"]

        def read_queue() -> Any:
            [found] = own.receive_message(QueueUrl=url)["Messages"]
            return json.loads(found["Body"])

        return destination(f"arn:aws:sqs:us-east-1:123456789012:{name}"), read_queue
    own.create_bucket(Bucket=name)

    def read_bucket() -> Any:
        [entry] = own.list_objects_v2(Bucket=name)["Contents"]
        prefix = f"aws/lambda/{identity(name, 'scorer').mapping_id}/shardId-000000000000/"
        assert entry["Key"].startswith(prefix)
        found = own.get_object(Bucket=name, Key=entry["Key"])
        assert found["ContentType"] == "application/octet-stream"
        return json.loads(found["Body"].read())

    return destination(f"arn:aws:s3:::{name}"), read_bucket


@pytest.fixture
def emulator() -> Iterator[Any]:
    """A server that answers as the Runtime Interface Emulator does; `answers` are its responses."""

    class Emulator(http.server.BaseHTTPRequestHandler):
        answers: ClassVar[list[bytes]] = []
        events: ClassVar[list[Any]] = []
        address = ""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/2015-03-31/functions/function/invocations"
            self.events.append(json.loads(body))
            answer = self.answers.pop(0) if self.answers else b"null"
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None: ...

    Emulator.answers, Emulator.events = [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Emulator)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Emulator.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield Emulator
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_emulator_is_invoked_over_http(emulator: Any) -> None:
    emulator.answers = [
        b'{"batchItemFailures": []}',
        b'{"errorType": "ValueError", "errorMessage": "no", "stackTrace": []}',
        b"Task timed out after 3.00 seconds",
        b"",
    ]
    function = over_http(emulator.address, 5)

    assert function({"Records": []}, "1") == Returned({"batchItemFailures": []})
    assert function({"Records": []}, "1") == Raised("ValueError: no")
    assert function({"Records": []}, "1") == Raised("the response is no JSON")
    assert function({"Records": []}, "1") == Returned(None)
    assert emulator.events == [{"Records": []}] * 4


def test_an_emulator_that_is_gone_spends_no_retry(emulator: Any) -> None:
    gone = over_http("http://127.0.0.1:9", 1)

    assert isinstance(gone({}, "1"), NotInvoked)


def test_the_command_shows_a_split_line_by_line(
    aws: Embedded, emulator: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    kinesis = created(aws, "command")
    put(kinesis, "command", range(4))
    error = b'{"errorType": "ValueError", "errorMessage": "no"}'
    emulator.answers = [error, b"null", error, error, b"null"]

    code = main(
        [
            *("--stream", "command", "--endpoint", aws.endpoint, "--invoke", emulator.address),
            *("--set", "bisect_batch_on_function_error=true", "--set", "maximum_retry_attempts=0"),
            "--drain",
        ]
    )

    assert code == 0
    told = capsys.readouterr().out
    steps = [line[12:].split(None, 1)[1] for line in told.split("\n\n")[0].splitlines()[1:]]
    assert [" ".join(step.split()) for step in steps] == [
        "opened: read from its oldest record",
        "1-4 function invoked with 4 records",
        "1-4 failed: ValueError: no",
        "1-4 split to find the bad record: half 1-2 now, half 3-4 after it",
        "1-2 function invoked with 2 records",
        "1-2 processed",
        "checkpoint: all records up to 2 are resolved",
        "3-4 function invoked with 2 records",
        "3-4 failed: ValueError: no",
        "3-4 split to find the bad record: half 3 now, half 4 after it",
        "3 function invoked with 1 record",
        "3 failed: ValueError: no",
        "3 given up after 1 attempt: LOST",
        "checkpoint: all records up to 3 are resolved",
        "4 function invoked with 1 record",
        "4 processed",
        "checkpoint: all records up to 4 are resolved",
    ]
    assert "Why a batch is split" in told
    assert "records processed: 3, batches: 5, retries: 0, splits: 2, messages: 0" in told


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--stream", "nowhere"], "InvalidParameterValueException (400): there is no stream"),
        (["--stream", "nowhere", "--set", "batch_size=0"], "batch_size must be a whole number"),
        (["--stream", "x", "--template", "template.yaml"], "Give --function"),
        (["--stream", "x", "--handler", "no.such"], "no stream"),
        (["--stream", "x", "--template", "template.yaml", "--function", "DurationScorer"], "loops"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    aws: Embedded, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--endpoint", aws.endpoint]) == 2

    err = capsys.readouterr().err
    assert sentence in err
    assert err.startswith("event_source_mapping: ")
    assert err.count("\n") == 1
