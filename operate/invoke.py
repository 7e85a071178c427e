"""Invokes a deployed function with records, as Lambda's event source mapping would.

The SDK retries throttling, 5xx responses and lost connections with growing pauses.  It waits for a
response longer than any function may run, because a retry after a timeout would run the function
twice.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from model_service.kinesis.records import Record
from model_service.settings import Settings

from .aws import client
from .command import CommandError
from .failed_records import function_name

READ_TIMEOUT_SECONDS = 910  # a function may run for 900
SDK_ATTEMPTS = 10  # with pauses of up to 20 s: a few minutes of throttling
TRANSIENT = frozenset({"TooManyRequestsException", "EC2ThrottledException", "ServiceException"})
TOO_LARGE = "RequestTooLargeException"


class LambdaClient(Protocol):
    """The methods of boto3's Lambda client that are used here."""

    def invoke(
        self, *, FunctionName: str, InvocationType: str, LogType: str, Payload: bytes
    ) -> Mapping[str, Any]: ...

    def get_function_configuration(self, *, FunctionName: str) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """The result of one invocation."""

    processed: int
    """How many records, counted from the first, need not be sent again."""
    error: str = ""
    """Why the invocation failed as a whole; empty if it did not."""
    rejected: int | None = 0
    """Ride events that the function rejected again; None if its log does not say."""


@dataclass(frozen=True, slots=True)
class DeployedFunction:
    """A function on AWS that records can be sent to; a class because it holds a client."""

    client: LambdaClient
    name: str
    """A name or an ARN, with or without an alias."""
    bare_name: str
    """The name alone."""
    model: str

    @classmethod
    def named(cls, client: LambdaClient, name: str) -> DeployedFunction:
        """Look up the function *name*.

        Raises `CommandError` if it does not exist or does not publish predictions.
        """
        try:
            found = client.get_function_configuration(FunctionName=name)
        except (ClientError, BotoCoreError) as exc:
            raise CommandError(f"the function {name} cannot be looked up: {exc}") from None
        environment = found.get("Environment", {}).get("Variables", {})
        if environment.get("TEST_RUN", "").strip().lower() == "true":
            raise CommandError(f"the function {name} publishes nothing: its TEST_RUN is True")
        model = environment.get("MODEL_NAME", "").strip() or Settings().model_name
        return cls(client, name, function_name(found["FunctionArn"]), model)

    def __call__(self, batch: Sequence[Record]) -> InvocationResult:
        """Invoke the function with *batch*.

        Raises `CommandError` if the function may not be invoked.
        """
        try:
            response = self.client.invoke(
                FunctionName=self.name,
                InvocationType="RequestResponse",
                LogType="Tail",
                Payload=event(batch),
            )
            payload = response["Payload"].read()
        except ClientError as exc:
            code = exc.response["Error"]["Code"]
            if code in TRANSIENT or code == TOO_LARGE or _status(exc) >= 500:
                return InvocationResult(0, code)
            raise CommandError(f"the function {self.name} cannot be invoked: {exc}") from None
        except BotoCoreError as exc:  # the response is missing or incomplete
            return InvocationResult(0, type(exc).__name__)
        if "FunctionError" in response:
            return InvocationResult(0, _error_type(payload))
        return read_response(batch, payload, base64.b64decode(response.get("LogResult", "")))


def connect(name: str) -> DeployedFunction:
    """The function *name* in the caller's account.

    Raises `CommandError` if it does not exist or does not publish predictions.
    """
    patient = client(
        "lambda",
        attempts=SDK_ATTEMPTS,
        connect_timeout=5,
        read_timeout=READ_TIMEOUT_SECONDS,
        tcp_keepalive=True,
    )
    return DeployedFunction.named(patient, name)


def event(batch: Sequence[Record]) -> bytes:
    """The event for an invocation: the records as Lambda first delivered them."""
    return json.dumps({"Records": [record.raw for record in batch]}).encode()


def read_response(batch: Sequence[Record], payload: bytes, log: bytes) -> InvocationResult:
    """The result that the function's response *payload* reports for *batch*.

    This is stricter than Lambda, which takes a missing response for success.  A function that does
    not report failures is not the scorer, so its response is an error.
    """
    positions = {record.sequence_number: position for position, record in enumerate(batch)}
    try:
        failures = json.loads(payload)["batchItemFailures"]
        failed = [positions[failure["itemIdentifier"]] for failure in failures]
    except (ValueError, LookupError, TypeError):
        return InvocationResult(0, "the response is not one of this service", None)
    return InvocationResult(min(failed, default=len(batch)), "", rejected(log))


def rejected(log: bytes) -> int | None:
    """The number of rejected ride events in the metrics line of *log*; None without such a line.

    The beginning of *log* may be cut off.

    >>> rejected(b'{"_aws":{},"received":[4.0],"rejected":[3.0]}')
    3
    """
    found = re.search(rb'"rejected": ?\[([0-9.]+)\]', log)
    return int(float(found[1])) if found else None


def _status(exc: ClientError) -> int:
    return exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _error_type(payload: bytes) -> str:
    try:
        return str(json.loads(payload)["errorType"])
    except (ValueError, LookupError, TypeError):
        return "an error without a type"
