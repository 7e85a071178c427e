"""The function, as a poller invokes it and as Lambda's API does: the three routes that people use.

One instance serves both, so invocations follow one another, as those of a sandbox do.  A fault is
answered as Lambda answers it: its type, its words, and the end of the log.
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

from model_service.errors import ServiceError

from .event_source import FUNCTION, TIMEOUT_SECONDS, Context, Handler
from .server import HOST

ARN = f"arn:aws:lambda:us-east-1:123456789012:function:{FUNCTION}"
API = "/2015-03-31/functions/"
LOG_BYTES = 4096  # of its end; all that Lambda answers


Deploy = Callable[[Mapping[str, str]], Handler]
"""Starts the function with other settings.  Raises `ServiceError`."""


class Function:
    """A class because it holds whose turn it is, and what is deployed."""

    def __init__(
        self, deploy: Deploy, variables: Mapping[str, str], say: Callable[[str], object]
    ) -> None:
        """*say* gets what the handler prints.  Raises `ServiceError` where it does not start."""
        self._deploy = deploy
        self._say = say
        self._turn = threading.Lock()
        self.change(variables)

    def change(self, variables: Mapping[str, str]) -> None:
        """Start anew.  Raises `ServiceError`; then what was there stays."""
        with self._turn:
            self._handler = self._deploy(variables)
            self.variables = dict(variables)

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        """A `Handler`."""
        return self.logged(event, context, io.StringIO())

    def logged(self, event: dict[str, Any], context: Any, log: io.StringIO) -> Any:
        with self._turn, contextlib.redirect_stdout(log):
            try:
                return self._handler(event, context)
            finally:
                self._say(log.getvalue())


def application(function: Function) -> Any:
    """Lambda's API, of which *function* is the only function."""

    @Request.application
    def serve(request: Request) -> Response:
        name, _, action = request.path.removeprefix(API).partition("/")
        if name.split(":")[0] != FUNCTION:
            return _fault(404, "ResourceNotFoundException", f"the only function is {FUNCTION}")
        match request.method, action:
            case "GET", "configuration":
                return _configuration(function)
            case "PUT", "configuration":
                return _changed(function, request)
            case "POST", "invocations":
                return _invoked(function, request)
        return _fault(400, "InvalidRequestContentException", "this is not one of its three calls")

    return serve


def _configuration(function: Function) -> Response:
    found = {"FunctionArn": ARN, "Environment": {"Variables": function.variables}}
    return Response(json.dumps(found), mimetype="application/json")


def _changed(function: Function, request: Request) -> Response:
    """Variables that are not given stay, unlike Lambda's."""
    given = json.loads(request.data).get("Environment", {}).get("Variables", {})
    try:
        function.change(function.variables | given)
    except ServiceError as exc:
        return _fault(400, "InvalidParameterValueException", str(exc))
    return _configuration(function)


def _invoked(function: Function, request: Request) -> Response:
    log, headers = io.StringIO(), {}
    try:
        answer = function.logged(json.loads(request.data), _context(), log)
    except Exception as exc:  # whatever a function raises is its answer
        answer = {"errorType": type(exc).__name__, "errorMessage": str(exc)}
        headers["X-Amz-Function-Error"] = "Unhandled"
    tail = log.getvalue().encode()[-LOG_BYTES:]
    headers["X-Amz-Log-Result"] = base64.b64encode(tail).decode()
    return Response(json.dumps(answer), mimetype="application/json", headers=headers)


def _context() -> Context:
    return Context(time.monotonic() + TIMEOUT_SECONDS, str(uuid.uuid4()), ARN)


def _fault(status: int, kind: str, message: str) -> Response:
    return Response(json.dumps({"Message": message}), status, headers={"x-amzn-ErrorType": kind})


class _Silent(WSGIRequestHandler):
    """A class because that is how werkzeug is told to log no requests."""

    def log_request(self, *_: Any) -> None: ...


@contextmanager
def served(function: Function) -> Iterator[str]:
    """The address of the API, on a free port of loopback, for the length of the block."""
    server = make_server(HOST, 0, application(function), threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
