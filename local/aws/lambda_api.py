"""Emulates Lambda's API for one local function: its configuration and its invocation.

The event source and the API share one instance of the function, so invocations do not overlap, as
in a Lambda sandbox.  As in Lambda, the response to a failed invocation contains the type and
message of the error and the end of the log.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from event_source_mapping.functions import Context, Handler
from model_service.errors import ServiceError

from .server import HOST

FUNCTION = "ride-predictions"
TIMEOUT_SECONDS = 60.0
ARN = f"arn:aws:lambda:us-east-1:123456789012:function:{FUNCTION}"
API = "/2015-03-31/functions/"
LOG_BYTES = 4096  # Lambda returns only the end of the log

Deploy = Callable[[Mapping[str, str]], Handler]
"""A function that starts the Lambda function with the given settings.  Raises `ServiceError` if it
does not start."""


class LocalFunction:
    """A deployed function.  It is a class because it holds the handler and a lock."""

    def __init__(
        self, deploy: Deploy, variables: Mapping[str, str], say: Callable[[str], object]
    ) -> None:
        """Deploy the function with the environment *variables*.

        *say* is called with the output of the function.  Raises `ServiceError` if the function does
        not start.
        """
        self._deploy = deploy
        self._say = say
        self._lock = threading.Lock()
        self.change(variables)

    def change(self, variables: Mapping[str, str]) -> None:
        """Deploy the function again, with new environment variables.

        Raises `ServiceError` if the function does not start; the previous one then stays deployed.
        """
        with self._lock:
            self._handler = self._deploy(variables)
            self.variables = dict(variables)

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        """Invoke the function; this method makes the instance a `Handler`."""
        return self.logged(event, context, io.StringIO())

    def logged(self, event: dict[str, Any], context: Any, log: io.StringIO) -> Any:
        """Invoke the function, write its output to *log*, and return its response."""
        with self._lock, contextlib.redirect_stdout(log):
            try:
                return self._handler(event, context)
            finally:
                self._say(log.getvalue())


def application(function: LocalFunction) -> Any:
    """Return a WSGI application: Lambda's API with *function* as its only function."""

    @Request.application
    def serve(request: Request) -> Response:
        name, _, action = request.path.removeprefix(API).partition("/")
        if name.split(":")[0] != FUNCTION:
            return _error(404, "ResourceNotFoundException", f"the only function is {FUNCTION}")
        match request.method, action:
            case "GET", "configuration":
                return _configuration_response(function)
            case "PUT", "configuration":
                return _update(function, request)
            case "POST", "invocations":
                return _invoke(function, request)
        return _error(
            400,
            "InvalidRequestContentException",
            "only Invoke, Get- and UpdateFunctionConfiguration are supported",
        )

    return serve


def _configuration_response(function: LocalFunction) -> Response:
    found = {"FunctionArn": ARN, "Environment": {"Variables": function.variables}}
    return Response(json.dumps(found), mimetype="application/json")


def _update(function: LocalFunction, request: Request) -> Response:
    """Set the environment variables in the request; unlike in Lambda, other variables stay."""
    given = json.loads(request.data).get("Environment", {}).get("Variables", {})
    try:
        function.change(function.variables | given)
    except ServiceError as exc:
        return _error(400, "InvalidParameterValueException", str(exc))
    return _configuration_response(function)


def _invoke(function: LocalFunction, request: Request) -> Response:
    log, headers = io.StringIO(), {}
    try:
        response = function.logged(json.loads(request.data), _context(), log)
    except Exception as exc:  # any exception of a function becomes its response
        response = {"errorType": type(exc).__name__, "errorMessage": str(exc)}
        headers["X-Amz-Function-Error"] = "Unhandled"
    tail = log.getvalue().encode()[-LOG_BYTES:]
    headers["X-Amz-Log-Result"] = base64.b64encode(tail).decode()
    return Response(json.dumps(response), mimetype="application/json", headers=headers)


def _context() -> Context:
    return Context(time.monotonic() + TIMEOUT_SECONDS, str(uuid.uuid4()), ARN, FUNCTION)


def _error(status: int, kind: str, message: str) -> Response:
    return Response(json.dumps({"Message": message}), status, headers={"x-amzn-ErrorType": kind})


class _Silent(WSGIRequestHandler):
    """Logs no requests.  It is a class because werkzeug needs one."""

    def log_request(self, *_: Any) -> None: ...


@contextmanager
def serve_api(function: LocalFunction) -> Iterator[str]:
    """Serve Lambda's API for *function* on a free port of 127.0.0.1 while the block runs.

    Yields the URL of the API.
    """
    server = make_server(HOST, 0, application(function), threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
