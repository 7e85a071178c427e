"""Answers the requests to ``/predict`` and ``/predict/batch``.

`predict` and `predict_batch` take the WSGI environ of a request, read and decode its body, call
`quotes` to score the rides, and return a `Reply`.  Flask calls both through `app`.  If a request
with one ride arrives on a connection that stays open, the worker bypasses Flask and calls `predict`
through `door`.

The size of a request is checked before its body is read.  A response repeats no value of the
request except ``ride_id``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from werkzeug.http import parse_options_header

from .. import scoring
from ..errors import MalformedJson, ModelError, RideRejected
from ..models.served import Models
from . import middleware, openapi, problems, quotes, wire
from .metrics import Metrics
from .middleware import Write
from .problems import Problem
from .quotes import Quote, QuoteRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SCORE_SECONDS = 10.0  # time limit for isolating the rides that make a model fail
STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Service:
    """The objects that all routes use: the models, the metrics, and the function to write a log."""

    models: Models
    metrics: Metrics
    write: Write


class Reply(NamedTuple):
    """An HTTP response, before Flask or the worker sends it."""

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


class RequestRejected(Exception):
    """A request that is refused before its body is decoded; *kind* is a key of `problems.KINDS`."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.problem = problems.make_problem(kind)


def json(content: object) -> Reply:
    return Reply(_encode(content), openapi.JSON)


def problem_reply(problem: Problem) -> Reply:
    return Reply(_encode(problem), problems.MEDIA_TYPE, problem.status)


def predict(service: Service, environ: WSGIEnvironment) -> Reply:
    """Return the quote for one ride.

    The reply is a problem if a model rejects the ride, or if the time runs out before the ride is
    scored.  Other failures are exceptions, which `failure` turns into replies.
    """
    environ["rides"] = 1
    try:
        ride = quotes.decode(_body(environ), datetime.now(UTC))
    except RideRejected as exc:
        if not isinstance(exc, MalformedJson):  # without JSON there is no ride to count
            service.metrics.rides["invalid"].inc()
        raise
    [outcome] = quotes.quote(service.models, [ride], time_left=_time_left())
    if not isinstance(outcome, Quote):
        return problem_reply(_problem(outcome, service.metrics))
    service.metrics.rides["quoted"].inc()
    return json(outcome)


def predict_batch(service: Service, environ: WSGIEnvironment) -> Reply:
    """Return a list with one quote or one problem for each ride, in the order of the request."""
    decoded = quotes.decode_batch(_body(environ), datetime.now(UTC))
    environ["rides"] = len(decoded)
    valid = [ride for ride in decoded if isinstance(ride, QuoteRequest)]
    outcomes = iter(quotes.quote(service.models, valid, time_left=_time_left()))

    def result(ride: QuoteRequest | RideRejected) -> Quote | Problem:
        if isinstance(ride, RideRejected):
            service.metrics.rides["invalid"].inc()
            return problems.ride_problem("invalid-ride", ride)
        outcome = next(outcomes)
        return outcome if isinstance(outcome, Quote) else _problem(outcome, service.metrics)

    results = [result(ride) for ride in decoded]
    service.metrics.rides["quoted"].inc(sum(isinstance(one, Quote) for one in results))
    return json(results)


def failure(exc: Exception, service: Service, environ: WSGIEnvironment) -> Reply:
    """Return the response to a request that raised *exc*; log *exc* unless the client caused it."""
    match exc:
        case RequestRejected():
            return problem_reply(exc.problem)
        case MalformedJson():
            return problem_reply(problems.make_problem("malformed", str(exc)))
        case RideRejected():
            return problem_reply(problems.ride_problem("invalid-ride", exc))
    service.write(middleware.error_line(exc, environ["request_id"]))
    kind = "unavailable" if isinstance(exc, ModelError) else "error"
    return problem_reply(problems.make_problem(kind))


def door(service: Service) -> wire.Door:
    """Return the `wire.Door`, through which the worker answers requests without Flask.

    Requests through it also bypass the WSGI middleware, but get the same responses, metrics and log
    lines.
    """

    def quote(environ: WSGIEnvironment) -> bytes:
        middleware.begin_request(environ)
        environ["route"] = "/predict"
        try:
            reply = predict(service, environ)
        except Exception as exc:  # like Flask's error handler: every exception gets a response
            reply = failure(exc, service, environ)
        return serialize(reply, environ, "keep-alive")

    def refuse(kind: str) -> bytes:
        environ: WSGIEnvironment = {"REQUEST_METHOD": ""}  # the request was not parsed
        middleware.begin_request(environ)
        return serialize(problem_reply(problems.make_problem(kind)), environ, "close")

    def serialize(reply: Reply, environ: WSGIEnvironment, connection: str) -> bytes:
        added = middleware.end_request(environ, str(reply.status), service.metrics, service.write)
        headers = [*reply.headers, *added]
        return wire.answer(STATUS[reply.status], headers, reply.body, connection)

    return wire.Door(quote, refuse)


def _body(environ: WSGIEnvironment) -> bytes:
    """Return the body of a request.

    Raises `RequestRejected` if the headers do not announce uncompressed JSON, if Content-Length is
    missing or too large, or if the body is shorter than Content-Length.
    """
    media_type = environ.get("CONTENT_TYPE", "")
    if media_type != openapi.JSON and parse_options_header(media_type)[0].lower() != openapi.JSON:
        raise RequestRejected("not-json")
    if environ.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
        raise RequestRejected("not-json")
    length = environ.get("CONTENT_LENGTH", "")
    if not length.isdecimal() or "HTTP_TRANSFER_ENCODING" in environ:
        raise RequestRejected("length-required")
    if int(length) > quotes.MAX_BODY:
        raise RequestRejected("too-large")
    body: bytes = environ["wsgi.input"].read(int(length))
    if len(body) < int(length):
        raise RequestRejected("timeout")
    return body


def _time_left() -> scoring.TimeLeft:
    deadline = time.monotonic() + SCORE_SECONDS
    return lambda: deadline - time.monotonic()


def _problem(outcome: RideRejected | None, metrics: Metrics) -> Problem:
    """Count a ride that gets no quote, and return its problem.

    *outcome* is None if the time ran out before the ride was scored.
    """
    if outcome is None:
        metrics.rides["unanswered"].inc()
        return problems.make_problem("unavailable")
    metrics.rides["unscorable"].inc()
    return problems.ride_problem("unscorable", outcome)
