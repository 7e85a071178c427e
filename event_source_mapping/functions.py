"""Invokes a function: a handler in this process, or one behind a Runtime Interface Emulator."""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .errors import MappingError
from .identity import Identity

logger = logging.getLogger(__name__)

RESPONSE_BYTES = 6_291_556  # the maximum response of an invocation
INVOCATIONS = "/2015-03-31/functions/function/invocations"
GRACE_SECONDS = 10.0  # for the emulator to report the timeout of its function
MEMORY_MB = "1769"

Handler = Callable[[dict[str, Any], Any], Any]
"""A Lambda handler: a function that takes an event and a context, and returns a response."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The function returned *response*, which is decoded from JSON."""

    response: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """The invocation failed; *error* is the reason, in Lambda's words."""

    error: str


@dataclass(frozen=True, slots=True)
class NotInvoked:
    """The event did not reach the function; *reason* says why."""

    reason: str


Result = Returned | Raised | NotInvoked
Function = Callable[[dict[str, Any], str], Result]
"""Invokes a function with an event, under a request id."""


@dataclass(frozen=True, slots=True)
class Context:
    """The part of Lambda's context that has the deadline and identifies the function."""

    deadline: float
    """The deadline of the invocation, on the clock of `time.monotonic`."""
    aws_request_id: str
    invoked_function_arn: str
    function_name: str
    function_version: str = "$LATEST"
    memory_limit_in_mb: str = MEMORY_MB

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(1000 * (self.deadline - time.monotonic())))


def in_process(handler: Handler, names: Identity, timeout: float) -> Function:
    """Return a function that calls *handler* in this process.

    As in Lambda, an invocation fails if the handler raises an exception, returns a response that is
    not JSON, or takes longer than *timeout* seconds.  Unlike in Lambda, the handler is not stopped
    after this time, but runs to its end.  The traceback of an exception is logged once: if the
    handler raises the same exception again in the same place, one line is logged.
    """

    logged: set[tuple[str, str]] = set()

    def invoke(event: dict[str, Any], request_id: str) -> Result:
        context = Context(
            time.monotonic() + timeout,
            request_id,
            names.function_arn,
            names.function_name,
            names.executed_version,
        )
        try:
            response = json.dumps(handler(event, context))
        except Exception as exc:  # any exception of a function is a failed invocation
            error = f"{type(exc).__name__}: {exc}"
            _log(error, exc, logged)
            return Raised(error)
        if time.monotonic() > context.deadline:
            return Raised(timed_out(timeout))
        if len(response) > RESPONSE_BYTES:
            return Raised("Function.ResponseSizeTooLarge")
        return Returned(json.loads(response))

    return invoke


def over_http(address: str, timeout: float) -> Function:
    """Return a function that invokes the Runtime Interface Emulator at *address*.

    The emulator accepts one invocation at a time, so invocations wait for each other.
    """
    parts = urlsplit(address)
    if parts.scheme != "http" or not parts.hostname:
        raise MappingError(f"{address!r} is no address of an emulator: use http://host:port.")
    lock = threading.Lock()

    def invoke(event: dict[str, Any], request_id: str) -> Result:
        del request_id  # the emulator makes its own
        body = json.dumps(event).encode()
        path = parts.path if parts.path.strip("/") else INVOCATIONS
        with lock:
            connection = http.client.HTTPConnection(
                str(parts.hostname), parts.port or 80, timeout=timeout + GRACE_SECONDS
            )
            try:
                connection.request("POST", path, body)
                answer = connection.getresponse()
                status, content = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as exc:
                return NotInvoked(f"the emulator does not answer ({type(exc).__name__})")
            finally:
                connection.close()
        return _result_of(status, content)

    return invoke


def one_at_a_time(function: Function) -> Function:
    """Return *function* without overlapping invocations, as if there were only one sandbox."""
    lock = threading.Lock()

    def invoke(event: dict[str, Any], request_id: str) -> Result:
        with lock:
            return function(event, request_id)

    return invoke


def timed_out(timeout: float) -> str:
    """Return Lambda's error for a function that took longer than *timeout* seconds."""
    return f"Task timed out after {timeout:.2f} seconds"


def _log(error: str, exc: Exception, logged: set[tuple[str, str]]) -> None:
    """Log a failed invocation, with the traceback of *exc* if it is not in *logged* yet."""
    places = traceback.extract_tb(exc.__traceback__)
    place = str([(place.filename, place.lineno) for place in places])
    first = error.partition("\n")[0]
    if (error, place) in logged:
        logger.warning("the function failed again: %s", first)
        return
    logged.add((error, place))
    logger.warning("the function failed: %s", first, exc_info=exc)


def _result_of(status: int, content: bytes) -> Result:
    """Return the result in a response of the emulator, which reports errors as JSON or as text."""
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return NotInvoked("throttled")
    try:
        response = json.loads(content or b"null")
    except ValueError:
        return Raised("the response is no JSON")
    if isinstance(response, dict) and {"errorType", "errorMessage"} <= response.keys():
        return Raised(f"{response['errorType']}: {response['errorMessage']}")
    if status >= http.HTTPStatus.BAD_REQUEST:
        return Raised(f"HTTP status {status}")
    return Returned(response)
