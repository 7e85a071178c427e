"""What every request gets: an id, the headers that keep browsers safe, counts, and a log line.

No log line has a value of a customer: of a path it has the route, of an error the type.
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

from ..errors import ModelError
from .metrics import Metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Write = Callable[[bytes], object]
"""Writes one line of the log."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
METHODS = frozenset({"GET", "HEAD", "POST"})  # any other may be a client's own words
SECURITY = [
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


class Line(Struct):
    """A request, in the log."""

    time: str
    method: str
    route: str
    status: int
    ms: float
    request_id: str
    rides: int


class Fault(Struct):
    """An error of ours, in the log."""

    time: str
    error: str
    at: list[str]
    request_id: str


def observed(serve: WSGIApplication, metrics: Metrics, write: Write) -> WSGIApplication:
    """*serve*, which says in its environment what ``route`` it took and how many ``rides``."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        arrive(environ)

        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            added = leave(environ, status[:3], metrics, write)
            return start_response(status, [*headers, *added], exc_info)

        return serve(environ, begin)

    return answer


def arrive(environ: WSGIEnvironment) -> None:
    """Note when a request came, and its id."""
    environ["arrived"] = time.perf_counter()
    given = environ.get("HTTP_X_REQUEST_ID", "")
    environ["request_id"] = given if REQUEST_ID.fullmatch(given) else f"{getrandbits(128):032x}"


def leave(
    environ: WSGIEnvironment, status: str, metrics: Metrics, write: Write
) -> list[tuple[str, str]]:
    """Count and log an answer of *status* (three digits); the headers that it gets."""
    seconds = time.perf_counter() - environ["arrived"]
    route, method = environ.get("route", "other"), environ["REQUEST_METHOD"]
    metrics.requests(route, status).inc()
    metrics.seconds(route).observe(seconds)
    line = Line(
        _now(),
        method if method in METHODS else "other",
        route,
        int(status),
        round(seconds * 1000, 3),
        environ["request_id"],
        environ.get("rides", 0),
    )
    write(_encoder.encode(line) + b"\n")
    return [*SECURITY, ("X-Request-ID", environ["request_id"])]


def fault(exc: Exception, request_id: str) -> bytes:
    """A line on an error of ours; what it says itself may quote a customer, so its type."""
    frames = traceback.extract_tb(exc.__traceback__)[-5:]
    line = Fault(
        _now(),
        str(exc) if isinstance(exc, ModelError) else type(exc).__name__,
        [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
        request_id,
    )
    return _encoder.encode(line) + b"\n"


def _now() -> str:
    second, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second(second)}.{milliseconds:03d}+00:00"


@lru_cache(1)
def _second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
