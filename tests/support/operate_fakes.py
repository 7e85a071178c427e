"""Fakes of Lambda and S3 for tests of operate/.

The embedded AWS has no Lambda, and its S3 is too slow for property tests.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from operate.invoke import DeployedFunction

Handler = Callable[[dict[str, Any], Any], Any]
MODEL = "ride_duration_prediction_model"
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:ride-duration"
LOG_BYTES = 4096  # the end of a log that Lambda returns


def client_error(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "Operation",
    )


@dataclass
class FakeLambda:
    """A `LambdaClient` whose function is *handler*; it first raises each of *faults*."""

    handler: Handler
    environment: Mapping[str, str] = field(default_factory=dict)
    faults: list[Exception] = field(default_factory=list)
    batches: list[list[dict[str, Any]]] = field(default_factory=list)

    def invoke(
        self, *, FunctionName: str, InvocationType: str, LogType: str, Payload: bytes
    ) -> dict[str, Any]:
        assert (InvocationType, LogType) == ("RequestResponse", "Tail")
        if self.faults:
            raise self.faults.pop(0)
        event = json.loads(Payload)
        self.batches.append(event["Records"])
        log = io.StringIO()
        reply: dict[str, Any] = {"StatusCode": 200}
        try:
            with contextlib.redirect_stdout(log):
                answer = self.handler(event, None)
        except Exception as exc:  # as Lambda does with whatever a function raises
            answer = {"errorType": type(exc).__name__, "errorMessage": str(exc)}
            reply["FunctionError"] = "Unhandled"
        reply["Payload"] = io.BytesIO(json.dumps(answer).encode())
        reply["LogResult"] = base64.b64encode(log.getvalue().encode()[-LOG_BYTES:]).decode()
        return reply

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, Any]:
        if FunctionName.startswith("no-"):
            raise client_error("ResourceNotFoundException", 404)
        return {"FunctionArn": ARN, "Environment": {"Variables": dict(self.environment)}}

    def connect(self, name: str) -> DeployedFunction:
        """The *connect* argument of `replay.main`."""
        return DeployedFunction.named(self, name)

    @property
    def event_ids(self) -> list[str]:
        return [record["eventID"] for batch in self.batches for record in batch]


@dataclass
class MemoryS3:
    """A bucket in memory; it has the S3 client methods that operate/ and rejects use."""

    objects: dict[str, bytes] = field(default_factory=dict)

    def put_object(
        self, *, Bucket: str, Key: str, Body: bytes, ContentType: str = ""
    ) -> dict[str, Any]:
        self.objects[Key] = Body
        return {"ETag": _etag(Body)}

    def get_object(self, *, Bucket: str, Key: str, IfMatch: str) -> dict[str, Any]:
        if Key not in self.objects:
            raise client_error("NoSuchKey", 404)
        if _etag(self.objects[Key]) != IfMatch:
            raise client_error("PreconditionFailed", 412)
        return {"Body": io.BytesIO(self.objects[Key])}

    def get_paginator(self, operation: str) -> MemoryS3:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        if not keys:
            yield {}
        for key in keys:  # a page each
            yield {"Contents": [{"Key": key, "ETag": _etag(self.objects[key])}]}


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
