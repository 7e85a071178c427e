"""Invokes a deployed function with records, in the same way as Lambda's event source mapping.

The SDK retries throttling, 5xx responses and lost connections after increasing pauses.  The timeout
for a response is longer than any function may run, because a retry after a timeout would run the
function twice.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from model_service.kinesis.records import REPLAY_MARK, Record
from model_service.settings import DECISIONS, Settings

from .aws import client
from .command import CommandError
from .failed_records import function_name

ARCHIVE = "the archive"
"""Stands for the model of a function that archives records.  No model can have this name."""
READ_TIMEOUT_SECONDS = 910  # Lambda ends a function after 900 seconds at the latest
SDK_ATTEMPTS = 10  # with pauses of up to 20 s: a few minutes of throttling
TRANSIENT = frozenset({"TooManyRequestsException", "EC2ThrottledException", "ServiceException"})
TOO_LARGE = "RequestTooLargeException"


class LambdaClient(Protocol):
    """The methods of boto3's Lambda client that this module uses."""

    def invoke(
        self, *, FunctionName: str, InvocationType: str, LogType: str, Payload: bytes
    ) -> Mapping[str, Any]: ...

    def get_function_configuration(self, *, FunctionName: str) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """The result of one invocation."""

    processed: int
    """The number of records that need not be sent again: those before the first failed record."""
    error: str = ""
    """Why the whole invocation failed; empty if it did not fail."""
    rejected: int | None = 0
    """The number of ride events that the function rejected again; None if its log does not show it.
    """


@dataclass(frozen=True, slots=True)
class DeployedFunction:
    """A Lambda function to which records are sent.  It is a class because it holds a client."""

    client: LambdaClient
    name: str
    """The name or ARN of the function, with or without an alias."""
    bare_name: str
    """The name of the function without account and alias."""
    model: str
    """The name of its model, or `DECISIONS`: the first part of the keys of its rejected records.

    `ARCHIVE` if the function archives records, because such a function rejects none.
    """

    @classmethod
    def named(cls, client: LambdaClient, name: str) -> DeployedFunction:
        """Look up the function *name* (a name or an ARN, with or without an alias) and return it.

        Raises `CommandError` if the function does not exist, or runs as a test.
        """
        try:
            found = client.get_function_configuration(FunctionName=name)
        except (ClientError, BotoCoreError) as exc:
            raise CommandError(f"the function {name} cannot be looked up: {exc}") from None
        environment = found.get("Environment", {}).get("Variables", {})
        if environment.get("TEST_RUN", "").strip().lower() == "true":
            raise CommandError(f"the function {name} publishes nothing: its TEST_RUN is True")
        model = environment.get("MODEL_NAME", "").strip() or Settings().model_name
        if "EXPECTED_MODELS" in environment:
            model = DECISIONS
        if "ARCHIVE_LOCATION" in environment:
            model = ARCHIVE
        arn = found.get("FunctionArn")
        if not arn:
            raise CommandError(f"the reply for the function {name} did not come from Lambda")
        return cls(client, name, function_name(arn), model)

    def __call__(self, batch: Sequence[Record]) -> InvocationResult:
        """Invoke the function with *batch* and return the result.

        Raises `CommandError` if the caller has no permission to invoke the function.
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
    """Return the function *name* (a name or an ARN) in the caller's AWS account.

    Raises `CommandError` if the function does not exist, or runs as a test.
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
    """Return the JSON event for an invocation: the records of *batch* as Lambda delivered them.

    The event has a mark, so that the function counts its records apart from those of the stream.
    """
    return json.dumps({"Records": [record.raw for record in batch], REPLAY_MARK: True}).encode()


def read_response(batch: Sequence[Record], payload: bytes, log: bytes) -> InvocationResult:
    """Return the result for *batch*, from the function's response *payload* and the end of its log.

    This is stricter than Lambda, for which an empty response means success.  The functions of this
    service always report failed records, as a list that may be empty.  So a response without this
    list comes from another function, and is an error.
    """
    # User records of an aggregate share a sequence number (enhanced fan-out): the first one counts.
    positions = {batch[n].sequence_number: n for n in reversed(range(len(batch)))}
    try:
        failures = json.loads(payload)["batchItemFailures"]
        failed = [positions[failure["itemIdentifier"]] for failure in failures]
    except (ValueError, LookupError, TypeError):
        return InvocationResult(0, "the response is not one of this service", None)
    return InvocationResult(min(failed, default=len(batch)), "", rejected(log))


def rejected(log: bytes) -> int | None:
    """Return the number of rejected ride events that the function reported in its log.

    *log* is the end of the log of an invocation, and may begin in the middle of a line.  Returns
    None if it has no line with metrics.

    >>> rejected(b'{"_aws":{},"received":[4],"rejected":[3]}')
    3
    """
    found = re.search(rb'"rejected": ?\[([0-9]+)\]', log)
    return int(found[1]) if found else None


def _status(exc: ClientError) -> int:
    return exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _error_type(payload: bytes) -> str:
    try:
        return str(json.loads(payload)["errorType"])
    except (ValueError, LookupError, TypeError):
        return "an error without a type"
