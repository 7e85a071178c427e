"""The functions that answer ``/predict`` and ``/predict/batch``.

Each takes the WSGI environment of a request, reads and decodes its body, has `quotes` score the
rides, and returns a `Reply`.  Flask calls them through `app`; for one ride on a connection that
stays open, the worker calls `predict` directly through `door`.

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
    """What a route needs: the models, the metrics to update and the log to write to."""

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
    """A request whose body is not read; *kind* names the problem in `problems.KINDS`."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.problem = problems.make_problem(kind)


def json(content: object) -> Reply:
    return Reply(_encode(content), openapi.JSON)


def problem_reply(problem: Problem) -> Reply:
    return Reply(_encode(problem), problems.MEDIA_TYPE, problem.status)


def predict(service: Service, environ: WSGIEnvironment) -> Reply:
    """Return the quote of one ride.  `failure` turns the exceptions that this raises into replies.

    A ride that a model rejects, or that there is no time left for, gets a problem.
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
    """Return the response to a request that raised *exc*, and log errors of the service."""
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
    """Return the worker's interface, which answers without Flask and without the middleware.

    Its responses, metrics and log lines are the same as with them.
    """

    def quote(environ: WSGIEnvironment) -> bytes:
        middleware.begin_request(environ)
        environ["route"] = "/predict"
        try:
            reply = predict(service, environ)
        except Exception as exc:  # as Flask's error handler: every exception gets a response
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
    """Return the body.  Raises `RequestRejected` unless it is JSON of a known, limited length."""
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
    """Count a ride without a quote and return its problem; None means the time ran out."""
    if outcome is None:
        metrics.rides["unanswered"].inc()
        return problems.make_problem("unavailable")
    metrics.rides["unscorable"].inc()
    return problems.ride_problem("unscorable", outcome)
