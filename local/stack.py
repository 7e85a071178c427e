"""Runs the service on this machine until it is interrupted: ``python -m local.stack``.

It creates the streams and the rejects bucket in an embedded AWS, as the CloudFormation stack
`NAME`, and runs the real function, which reads from one stream and writes to the other.  The
function reads its settings from the environment, for example ``PREDICTION_MAX=10``.  After ``source
build/stack.env`` (the file `ENVIRONMENT`), the AWS command line and the commands in `operate/` use
the embedded AWS.
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

from event_source_mapping.functions import Handler
from model_service.errors import ServiceError
from model_service.settings import Settings

from .aws.lambda_api import FUNCTION, LocalFunction, serve_api
from .aws.server import Embedded, embedded
from .run_stream import PREDICTIONS, REJECTS, RIDE_EVENTS, SHARDS, deliver, wait_for_streams

NAME = "ride-predictions-local"
MODEL = "build/model"
ENVIRONMENT = Path("build/stack.env")
POLL_SECONDS = 0.2  # between two reads of an idle stream
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
"""A template for the resources that exist on this machine; its outputs have the same names as those
of the deployed stack."""

INSTRUCTIONS = f"""\
The service runs until Ctrl-C and prints a line for each batch. In another terminal:

  source {ENVIRONMENT}
  make smoke STACK={NAME}
  .venv/bin/python -m operate.replay {LOCATION} --function {FUNCTION}:live
"""


@contextlib.contextmanager
def running() -> Iterator[tuple[dict[str, str], Future[None]]]:
    """Run the service while the block runs.

    Yields the environment variables for its clients, and the future of the delivery of records.

    Raises `ServiceError` if the function does not start.
    """
    with embedded() as aws:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(aws.environ)
        function = LocalFunction(_deploy, _settings(aws), _say)
        _create(aws)  # takes seconds, so only for a function that starts
        with serve_api(function) as api, _polling(aws, function) as polling:
            yield {**aws.environ, "AWS_ENDPOINT_URL_LAMBDA": api}, polling


def _settings(aws: Embedded) -> dict[str, str]:
    """Return the function's settings: those in the environment, and the locations in this stack."""
    own = [field.name.upper() for field in fields(Settings)]
    return {
        "MODEL_LOCATION": MODEL,
        **{name: os.environ[name] for name in own if name in os.environ},
        "PREDICTIONS_STREAM_NAME": PREDICTIONS,
        "KINESIS_ENDPOINT_URL": aws.endpoint,
        "TEST_RUN": "False",
        "REJECTS_LOCATION": LOCATION,
        "RETURN_PREDICTIONS": "False",  # as in the deployed stack
    }


def _deploy(settings: Mapping[str, str]) -> Handler:
    """Import the function again with *settings*.  Raises `ServiceError` if it does not start."""
    os.environ.update(settings)
    sys.modules.pop("lambda_function", None)
    handler: Handler = importlib.import_module("lambda_function").lambda_handler
    return handler


def _create(aws: Embedded) -> None:
    import boto3

    cloudformation: Any = boto3.client("cloudformation")
    cloudformation.create_stack(StackName=NAME, TemplateBody=json.dumps(TEMPLATE))
    wait_for_streams(aws)


@contextlib.contextmanager
def _polling(aws: Embedded, function: LocalFunction) -> Iterator[Future[None]]:
    """Deliver ride events to *function* while the block runs; yield the delivery's future."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        try:
            yield threads.submit(deliver, aws, function, stop=stop, idle=POLL_SECONDS)
        finally:
            stop.set()


def _say(text: str) -> None:
    print(text, end="", file=sys.__stdout__, flush=True)


def address(environment: Path) -> str | None:
    """Return the endpoint in the file of a running stack; None if there is no such file.

    >>> address(Path("no stack"))
    """
    if not environment.exists():
        return None
    pairs = [shlex.split(line)[1].split("=", 1) for line in environment.read_text().splitlines()]
    return dict(pairs)["AWS_ENDPOINT_URL"]


def shell(variables: Mapping[str, str]) -> str:
    """Return *variables* as export commands for a shell.

    >>> shell({"AWS_REGION": "us-east-1"})
    'export AWS_REGION=us-east-1\\n'
    """
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def main() -> int:
    """Run the service and return the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running() as (variables, polling):
            ENVIRONMENT.parent.mkdir(exist_ok=True)
            ENVIRONMENT.write_text(shell(variables))
            print(INSTRUCTIONS, flush=True)
            polling.result()  # ends only with an error
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
