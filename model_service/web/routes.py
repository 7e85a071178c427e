"""The routes that quote rides, each a function from a WSGI environment to a reply.

Flask finds them, as any other; a plain request for one ride goes past it (see `wire`).
What a request may cost is bounded before it is read, and no reply has a value of a customer but
the id that came with the ride.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct
from werkzeug.http import parse_options_header

from .. import scoring
from ..errors import MalformedJson, ModelError, RideRejected
from ..models.served import Models
from . import middleware, openapi, problems, quotes, wire
from .metrics import Metrics
from .middleware import Write
from .problems import Problem
from .quotes import Asked, Quote

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    View = Callable[[WSGIEnvironment], "Reply"]

SCORE_SECONDS = 10.0  # for finding the rides at fault in a batch
STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}

_encode = msgspec.json.Encoder().encode


class Reply(NamedTuple):
    """What is said to a request."""

    body: bytes
    media_type: str
    status: int = 200

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [
            ("Content-Type", self.media_type),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
        ]


class Refused(Exception):
    """A request that is answered with a problem before it is read."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.problem = problems.problem(name)


def json(answer: Struct | Sequence[Struct]) -> Reply:
    return Reply(_encode(answer), openapi.JSON)


def refusal(found: Problem) -> Reply:
    return Reply(_encode(found), problems.MEDIA_TYPE, found.status)


def views(models: Models, metrics: Metrics, write: Write) -> Mapping[str, View]:
    """By route; all of them take POST."""
    quote = {"/predict": _predict, "/predict/batch": _predict_batch}

    def of(route: str) -> View:
        def answer(environ: WSGIEnvironment) -> Reply:
            environ["route"] = route
            try:
                return quote[route](environ, models, metrics)
            except Exception as exc:  # each has its reply
                return failure(exc, environ, write)

        return answer

    return {route: of(route) for route in quote}


def door(view: View, metrics: Metrics, write: Write) -> wire.Door:
    """*view*, and what is refused, as `access.observed` has all other requests."""

    def quote(environ: WSGIEnvironment) -> bytes:
        middleware.arrive(environ)
        return whole(view(environ), environ)

    def refuse(name: str) -> bytes:
        environ: WSGIEnvironment = {"REQUEST_METHOD": ""}  # it was not read
        middleware.arrive(environ)
        return whole(refusal(problems.problem(name)), environ, "close")

    def whole(reply: Reply, environ: WSGIEnvironment, connection: str = "keep-alive") -> bytes:
        added = middleware.leave(environ, str(reply.status), metrics, write)
        headers = [*reply.headers, *added]
        return wire.answer(STATUS[reply.status], headers, reply.body, connection)

    return wire.Door(quote, refuse)


def failure(exc: Exception, environ: WSGIEnvironment, write: Write) -> Reply:
    """What is said of *exc*; a fault of ours leaves a line in the log."""
    match exc:
        case Refused():
            return refusal(exc.problem)
        case MalformedJson():
            return refusal(problems.problem("malformed", str(exc)))
        case RideRejected():
            return refusal(problems.of_ride("invalid-ride", exc))
    write(middleware.fault(exc, environ["request_id"]))
    return refusal(problems.problem("unavailable" if isinstance(exc, ModelError) else "error"))


def _predict(environ: WSGIEnvironment, models: Models, metrics: Metrics) -> Reply:
    environ["rides"] = 1
    try:
        asked = quotes.decode(_body(environ), datetime.now(UTC))
    except RideRejected:
        metrics.rides["invalid"].inc()
        raise
    [outcome] = quotes.quote(models, [asked], time_left=_clock())
    if isinstance(outcome, Quote):
        metrics.rides["quoted"].inc()
        return json(outcome)
    return refusal(_problem(outcome, metrics))


def _predict_batch(environ: WSGIEnvironment, models: Models, metrics: Metrics) -> Reply:
    found = quotes.decode_batch(_body(environ), datetime.now(UTC))
    environ["rides"] = len(found)
    good = [one for one in found if isinstance(one, Asked)]
    outcomes = iter(quotes.quote(models, good, time_left=_clock()))

    def answer(one: Asked | RideRejected) -> Quote | Problem:
        if isinstance(one, RideRejected):
            metrics.rides["invalid"].inc()
            return problems.of_ride("invalid-ride", one)
        outcome = next(outcomes)
        return outcome if isinstance(outcome, Quote) else _problem(outcome, metrics)

    answers = [answer(one) for one in found]
    metrics.rides["quoted"].inc(sum(isinstance(one, Quote) for one in answers))
    return json(answers)


def _problem(outcome: RideRejected | None, metrics: Metrics) -> Problem:
    if outcome is None:
        metrics.rides["unanswered"].inc()
        return problems.problem("unavailable")
    metrics.rides["unscorable"].inc()
    return problems.of_ride("unscorable", outcome)


def _body(environ: WSGIEnvironment) -> bytes:
    """The request's body.  Raises `Refused` before reading what is too much or no JSON."""
    media_type = environ.get("CONTENT_TYPE", "")
    if media_type != openapi.JSON and parse_options_header(media_type)[0].lower() != openapi.JSON:
        raise Refused("not-json")
    if environ.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
        raise Refused("not-json")
    length = environ.get("CONTENT_LENGTH", "")
    if not length.isdecimal() or "HTTP_TRANSFER_ENCODING" in environ:
        raise Refused("length-required")
    if int(length) > quotes.MAX_BODY:
        raise Refused("too-large")
    body: bytes = environ["wsgi.input"].read(int(length))
    if len(body) < int(length):
        raise Refused("timeout")
    return body


def _clock() -> scoring.TimeLeft:
    deadline = time.monotonic() + SCORE_SECONDS
    return lambda: deadline - time.monotonic()
