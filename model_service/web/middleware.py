"""WSGI middleware: gives every request an id, security headers, metrics and a log line.

The middleware handles each request before, and each response after, the rest of the service.  A log
line never repeats a value of a request: it has the route instead of the path, and has the message
of an exception only if the message cannot quote the request.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from random import getrandbits
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from ..decisions.store import StoreError
from ..errors import ModelError
from .metrics import Metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Write = Callable[[bytes], object]
"""A function that writes one line, with its line end, to the log."""

PREFIX = re.compile(r"(/[\w.-]+)*/?", re.ASCII)
"""A path of which links can be made: with two slashes at its start, a link would name a host."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
METHODS = frozenset({"GET", "HEAD", "POST"})  # clients can send any name: others become "other"
SECURITY_HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]

_encoder = msgspec.json.Encoder()


class RequestLog(Struct):
    """The log line of a request, written when the response begins."""

    time: str
    method: str
    route: str
    status: int
    ms: float
    request_id: str
    rides: int


class ErrorLog(Struct):
    """The log line of an unexpected exception."""

    time: str
    error: str
    at: list[str]
    request_id: str


def instrument(app: WSGIApplication, metrics: Metrics, write: Write) -> WSGIApplication:
    """Return a WSGI application that calls *app* and adds headers, metrics and a log line.

    *app* finds ``request_id`` in the environ.  It may set ``route`` (the matched route) and
    ``rides`` (the number of rides in the request) there.
    """

    def instrumented(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        arrived = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if REQUEST_ID.fullmatch(given) else f"{getrandbits(128):032x}"
        environ["request_id"] = request_id

        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            seconds = time.perf_counter() - arrived
            route, method, code = (
                environ.get("route", "other"),
                environ["REQUEST_METHOD"],
                status[:3],
            )
            metrics.requests(route, code).inc()
            metrics.seconds(route).observe(seconds)
            line = RequestLog(
                _now(),
                method if method in METHODS else "other",
                route,
                int(code),
                round(seconds * 1000, 3),
                request_id,
                environ.get("rides", 0),
            )
            write(_encoder.encode(line) + b"\n")
            added = [*SECURITY_HEADERS, ("X-Request-ID", request_id)]
            return start_response(status, [*headers, *added], exc_info)

        return app(environ, begin)

    return instrumented


def without_foreign_prefix(app: WSGIApplication) -> WSGIApplication:
    """Return a WSGI application that calls *app* without an ``X-Forwarded-Prefix`` that is no path.

    Of several prefixes, separated by commas, the last counts: the nearest proxy wrote it.
    """

    def checked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        prefix = environ.get("HTTP_X_FORWARDED_PREFIX", "").rpartition(",")[2].strip()
        if not PREFIX.fullmatch(prefix):
            del environ["HTTP_X_FORWARDED_PREFIX"]
        return app(environ, start_response)

    return checked


def error_line(exc: Exception, request_id: str) -> bytes:
    """Return the log line of *exc*, with its type and its five innermost stack frames.

    The line has the message of *exc* only if *exc* is a `ModelError` or a `StoreError`: other
    messages may quote the request.
    """
    frames = traceback.extract_tb(exc.__traceback__)[-5:]
    line = ErrorLog(
        _now(),
        _reason(exc),
        [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
        request_id,
    )
    return _encoder.encode(line) + b"\n"


def _reason(exc: Exception) -> str:
    if isinstance(exc, ModelError):
        return str(exc)
    name = type(exc).__name__
    return f"{name}: {exc}" if isinstance(exc, StoreError) else name


def _now() -> str:
    """Return the current time in UTC, in the format of RFC 3339 with milliseconds."""
    second, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second(second)}.{milliseconds:03d}+00:00"


@lru_cache(1)
def _second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
