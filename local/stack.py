"""The service on this machine until it is interrupted, for people to try its tools on.

``python -m local.stack``: the streams and the bucket of rejects in an embedded AWS, where
CloudFormation knows them as the stack `NAME`, and the real function between them, with the settings
that the environment has (``PREDICTION_MAX=10``, say).  *ENVIRONMENT* is a file for a shell: what is
started from there finds all of it, and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

from model_service.errors import ServiceError
from model_service.settings import Settings

from .aws.event_source import FUNCTION, Handler, Shard, poll
from .aws.kinesis_reader import readers
from .aws.lambda_api import Function, served
from .aws.server import Embedded, embedded
from .run_stream import BATCH_SIZE, PREDICTIONS, REJECTS, RIDE_EVENTS, SHARDS

NAME = "ride-predictions-local"
MODEL = "build/model"
ENVIRONMENT = Path("build/stack.env")
GLANCE_SECONDS = 0.2  # between two looks at a stream on which nothing comes
BAD_INPUT = 2  # exit code
LOCATION = f"s3://{REJECTS}/rejects"
TEMPLATE = {
    "Resources": {
        "RideEvents": {
            "Type": "AWS::Kinesis::Stream",
            "Properties": {"Name": RIDE_EVENTS, "ShardCount": SHARDS},
        },
        "Predictions": {
            "Type": "AWS::Kinesis::Stream",
            "Properties": {"Name": PREDICTIONS, "ShardCount": SHARDS},
        },
        "Rejects": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": REJECTS}},
    },
    "Outputs": {
        "RideEventsStreamName": {"Value": {"Ref": "RideEvents"}},
        "RidePredictionsStreamName": {"Value": {"Ref": "Predictions"}},
        "RejectsLocation": {"Value": LOCATION},
        "DurationFunctionName": {"Value": FUNCTION},
    },
}
"""With the outputs that the deployed stack has, as far as there is something behind them."""


WORDS = f"""\
The service runs until Ctrl-C, with a line for each batch. In another terminal:

  source {ENVIRONMENT}
  make smoke STACK={NAME}
  .venv/bin/python -m operate.replay {LOCATION} --function {FUNCTION}:live
"""


class _Stopped(Exception):
    """Ends the poller, which by itself retries for ever."""


@contextlib.contextmanager
def running() -> Iterator[tuple[dict[str, str], Future[None]]]:
    """The service, for the length of the block: variables by which tools find it, and the poller.

    Raises `ServiceError` where the function does not start.
    """
    with embedded() as aws:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(aws.environ)
        _create(aws)
        function = Function(_deployed, _settings(aws), _say)
        with served(function) as api, _polled(aws, function) as polling:
            yield {**aws.environ, "AWS_ENDPOINT_URL_LAMBDA": api}, polling


def _settings(aws: Embedded) -> dict[str, str]:
    """Those of the environment, and where everything is."""
    own = [field.name.upper() for field in fields(Settings)]
    return {
        "MODEL_LOCATION": MODEL,
        **{name: os.environ[name] for name in own if name in os.environ},
        "PREDICTIONS_STREAM_NAME": PREDICTIONS,
        "KINESIS_ENDPOINT_URL": aws.endpoint,
        "TEST_RUN": "False",
        "REJECTS_LOCATION": LOCATION,
        "RETURN_PREDICTIONS": "False",  # as it is deployed
    }


def _deployed(settings: Mapping[str, str]) -> Handler:
    """The real function, begun anew.  Raises `ServiceError`."""
    os.environ.update(settings)
    sys.modules.pop("lambda_function", None)
    handler: Handler = importlib.import_module("lambda_function").lambda_handler
    return handler


def _create(aws: Embedded) -> None:
    import boto3

    cloudformation: Any = boto3.client("cloudformation")
    cloudformation.create_stack(StackName=NAME, TemplateBody=json.dumps(TEMPLATE))
    for stream in (RIDE_EVENTS, PREDICTIONS):
        waiter = aws.kinesis().get_waiter("stream_exists")
        waiter.wait(StreamName=stream, WaiterConfig={"Delay": 1})


@contextlib.contextmanager
def _polled(aws: Embedded, function: Function) -> Iterator[Future[None]]:
    """Rides are delivered to *function* while the block lasts."""
    kinesis, stop = aws.kinesis(), threading.Event()
    described = kinesis.describe_stream_summary(StreamName=RIDE_EVENTS)
    arn = described["StreamDescriptionSummary"]["StreamARN"]
    shards = [Shard(reader.shard_id, reader) for reader in readers(kinesis, RIDE_EVENTS)]

    def finished() -> bool:
        if stop.is_set():
            raise _Stopped
        return False

    def deliver() -> None:
        with contextlib.suppress(_Stopped):
            poll(shards, function, stream_arn=arn, batch_size=BATCH_SIZE, finished=finished,
                 idle=GLANCE_SECONDS)  # fmt: skip

    with ThreadPoolExecutor(1) as threads:
        polling = threads.submit(deliver)
        try:
            yield polling
        finally:
            stop.set()


def _say(text: str) -> None:
    print(text, end="", file=sys.__stdout__, flush=True)


def shell(variables: Mapping[str, str]) -> str:
    """*variables*, as a shell reads them.

    >>> shell({"AWS_REGION": "us-east-1"})
    'export AWS_REGION=us-east-1\\n'
    """
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def main() -> int:
    """The exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running() as (variables, polling):
            ENVIRONMENT.parent.mkdir(exist_ok=True)
            ENVIRONMENT.write_text(shell(variables))
            print(WORDS, flush=True)
            polling.result()  # does not end, unless something is broken
    except ServiceError as exc:
        print(f"stack: {exc}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("stack: stopped", file=sys.stderr)
    finally:
        ENVIRONMENT.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
