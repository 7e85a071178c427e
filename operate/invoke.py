"""The function, invoked with records as Lambda itself would.

Throttling, 5xx and lost connections are the SDK's to retry, with growing pauses; an invocation is
waited for longer than any function may run, since giving up early would run it twice.
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
from .errors import BadInput
from .failed_records import function_name

SECONDS = 910  # a function may run for 900
SDK_ATTEMPTS = 10  # with pauses of up to 20 s: a few minutes of throttling
PASSING = frozenset({"TooManyRequestsException", "EC2ThrottledException", "ServiceException"})
TOO_LARGE = "RequestTooLargeException"


class LambdaClient(Protocol):
    """What is used of boto3's client."""

    def invoke(
        self, *, FunctionName: str, InvocationType: str, LogType: str, Payload: bytes
    ) -> Mapping[str, Any]: ...

    def get_function_configuration(self, *, FunctionName: str) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an invocation."""

    dealt_with: int
    """How many records, from the first, need not be sent again."""
    fault: str = ""
    """Why not all, where the invocation failed as a whole."""
    rejected: int | None = 0
    """Ride events that were rejected again; None where the function's log does not say."""


@dataclass(frozen=True, slots=True)
class Function:
    """A deployed function; a class because it holds a client."""

    client: LambdaClient
    name: str
    """Or its ARN, or either with an alias."""
    bare_name: str
    model: str

    @classmethod
    def named(cls, client: LambdaClient, name: str) -> Function:
        """The function, if replaying into it makes sense.

        Raises `BadInput`.
        """
        try:
            found = client.get_function_configuration(FunctionName=name)
        except (ClientError, BotoCoreError) as exc:
            raise BadInput(f"the function {name} cannot be looked up: {exc}") from None
        environment = found.get("Environment", {}).get("Variables", {})
        if environment.get("TEST_RUN", "").strip().lower() == "true":
            raise BadInput(f"the function {name} publishes nothing: its TEST_RUN is True")
        model = environment.get("MODEL_NAME", "").strip() or Settings().model_name
        return cls(client, name, function_name(found["FunctionArn"]), model)

    def __call__(self, batch: Sequence[Record]) -> Answer:
        """Invoke it with *batch*.

        Raises `BadInput` where it may not be invoked.
        """
        try:
            reply = self.client.invoke(
                FunctionName=self.name,
                InvocationType="RequestResponse",
                LogType="Tail",
                Payload=event(batch),
            )
            payload = reply["Payload"].read()
        except ClientError as exc:
            code = exc.response["Error"]["Code"]
            if code in PASSING or code == TOO_LARGE or _status(exc) >= 500:
                return Answer(0, code)
            raise BadInput(f"the function {self.name} cannot be invoked: {exc}") from None
        except BotoCoreError as exc:  # no answer, or none to its end
            return Answer(0, type(exc).__name__)
        if "FunctionError" in reply:
            return Answer(0, _error_type(payload))
        return answer(batch, payload, base64.b64decode(reply.get("LogResult", "")))


def connect(name: str) -> Function:
    """The function in the caller's account.

    Raises `BadInput`.
    """
    patient = client(
        "lambda",
        attempts=SDK_ATTEMPTS,
        connect_timeout=5,
        read_timeout=SECONDS,
        tcp_keepalive=True,
    )
    return Function.named(patient, name)


def event(batch: Sequence[Record]) -> bytes:
    """What the function is invoked with: the records as Lambda first delivered them."""
    return json.dumps({"Records": [record.raw for record in batch]}).encode()


def answer(batch: Sequence[Record], payload: bytes, log: bytes) -> Answer:
    """What *payload*, the function's response, says of *batch*.

    Stricter than Lambda, to which no answer at all is a success: a function that does not report
    is not the one that was meant.
    """
    places = {record.sequence_number: place for place, record in enumerate(batch)}
    try:
        failures = [failure["itemIdentifier"] for failure in json.loads(payload)[_FAILURES]]
        done = min((places[number] for number in failures), default=len(batch))
    except (ValueError, LookupError, TypeError):
        return Answer(0, "an answer that is not this service's", None)
    return Answer(done, "", rejected(log))


_FAILURES = "batchItemFailures"


def rejected(log: bytes) -> int | None:
    """How many ride events the metrics in *log*, maybe cut off at its start, say were rejected.

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
        return "an error without a name"
