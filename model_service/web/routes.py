"""The API's routes: each function answers the requests to one path.

A function reads the request, calls `quotes`, and returns a response.  It raises an exception for a
request that it cannot answer; `app` registers the functions that turn exceptions into problem
documents.  A response repeats two things of the request: the ``ride_id``, and the names of fields
that resemble the name of an optional field.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    NotFound,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from .. import scoring
from ..decisions.decision import Decided, State
from ..errors import MalformedJson, RideRejected
from ..models.served import Models
from ..rides import MAX_ID_LENGTH
from . import invocations, openapi, problems, quotes
from . import metrics as prometheus
from .invocations import RowRejected
from .metrics import Metrics
from .middleware import Write
from .problems import Problem
from .quotes import Quote, QuoteRequest

SCORE_SECONDS = 10.0  # time limit for isolating the rides that make a model fail
EXTENSION = "ride-predictions"
Find = Callable[[str], State]
"""A function that returns the state of the ride with an id; see `decisions.store.Table.find`."""
TEXT = "text/plain; charset=utf-8"
OUTCOMES = {"invalid-ride": "invalid", "unscorable": "unscorable", "unavailable": "unanswered"}
"""Kind of problem of a row -> outcome of the ride in the metrics."""

routes = Blueprint("api", __name__)

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Service:
    """The objects that the routes use: the models, the metrics, and two functions."""

    models: Models
    metrics: Metrics
    write: Write
    find: Find | None
    """Looks up decisions; None if no table is configured."""


def service() -> Service:
    """Return the service of the application that handles the current request."""
    found: Service = current_app.extensions[EXTENSION]
    return found


@routes.post("/predict")
def predict() -> Response:
    """Answer with the quote of one ride, or with a problem if it has none."""
    request.environ["rides"] = 1
    ours = service()
    counts = ours.metrics.rides
    try:
        ride = quotes.decode(body(), datetime.now(UTC))
    except RideRejected as exc:
        if not isinstance(exc, MalformedJson):  # without JSON there is no ride to count
            counts["invalid"].inc()
        raise
    [outcome] = quotes.quote(ours.models, [ride], time_left=_time_left())
    if not isinstance(outcome, Quote):
        return problem_response(_problem(outcome))
    counts["quoted"].inc()
    return json_response(outcome)


@routes.post("/predict/batch")
def predict_batch() -> Response:
    """Answer with a list of one quote or one problem for each ride, in the order of the request."""
    counts = service().metrics.rides
    decoded = quotes.decode_batch(body(), datetime.now(UTC))
    request.environ["rides"] = len(decoded)
    valid = [ride for ride in decoded if isinstance(ride, QuoteRequest)]
    outcomes = iter(quotes.quote(service().models, valid, time_left=_time_left()))

    def result(ride: QuoteRequest | RideRejected) -> Quote | Problem:
        if isinstance(ride, RideRejected):
            counts["invalid"].inc()
            return problems.ride_problem("invalid-ride", ride, root=request.script_root)
        outcome = next(outcomes)
        return outcome if isinstance(outcome, Quote) else _problem(outcome)

    results = [result(ride) for ride in decoded]
    counts["quoted"].inc(sum(isinstance(one, Quote) for one in results))
    return json_response(results)


@routes.get("/decisions/<path:ride_id>")
def decision(ride_id: str) -> Response:
    """Answer with the decision of one ride, or with a problem if it has none.

    The text of an integer id finds the ride with that integer.  Raises `NotFound` if no table of
    decisions is configured, and `StoreError` if the table cannot be read.
    """
    find = service().find
    if find is None:
        raise NotFound
    found = find(ride_id) if len(ride_id) <= MAX_ID_LENGTH else None
    if not isinstance(found, Decided):
        return problem_response(problems.make_problem("no-decision", root=request.script_root))
    response = fresh(found.body, openapi.JSON)
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(sha256(found.body).hexdigest()[:32])
    response.make_conditional(request)
    return response


@routes.post("/invocations")
def invoke() -> Response:
    """Answer with durations in MLflow's protocol, or with one problem for all rides."""
    counts = service().metrics.rides
    try:
        asked = invocations.decode(body(), datetime.now(UTC))
        request.environ["rides"] = len(asked)
        duration = service().models.duration
        found = invocations.predict(duration, asked, time_left=_time_left())
    except RowRejected as exc:
        counts[OUTCOMES[exc.kind]].inc()
        raise
    counts["quoted"].inc(len(asked))
    return json_response(found)


@routes.get("/ping")
def ping() -> Response:
    """Answer in MLflow's protocol: 200 if the models can score rides, otherwise 503."""
    readyz()
    return fresh(b"\n", TEXT)


@routes.get("/version")
def version() -> Response:
    return fresh(invocations.MLFLOW_VERSION.encode(), TEXT)


@routes.get("/livez")
def livez() -> Response:
    return json_response(openapi.Alive("alive"))


@routes.get("/readyz")
def readyz() -> Response:
    models = service().models
    for served in models:
        scoring.warm_up(served.model)
    cost = openapi.ServedModel(models.cost.model.version) if models.cost else None
    duration = openapi.ServedModel(models.duration.model.version)
    return json_response(openapi.Ready("ready", duration, cost))


@routes.get("/metrics")
def metrics() -> Response:
    return fresh(service().metrics.text(), prometheus.MEDIA_TYPE)


def body() -> bytes:
    """Return the body of the request.

    Raises an `HTTPException` if the headers do not announce uncompressed JSON, or if the body is
    larger than `quotes.MAX_BODY` or damaged.
    """
    encoding = request.environ.get("HTTP_CONTENT_ENCODING", "identity")
    if request.mimetype != openapi.JSON or encoding.lower() != "identity":
        raise UnsupportedMediaType
    try:
        data = request.get_data(cache=False)
        # Werkzeug stops at the limit if the body is chunked, and ignores the rest.
        chunked = request.content_length is None
        if chunked and len(data) == quotes.MAX_BODY and request.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
    except HTTPException:
        raise
    except Exception as exc:  # the types of a server's exceptions are its own
        raise BadRequest from exc
    return data


def json_response(content: object) -> Response:
    return fresh(_encode(content), openapi.JSON)


def problem_response(problem: Problem) -> Response:
    return fresh(_encode(problem), problems.MEDIA_TYPE, problem.status)


def fresh(content: bytes, media_type: str, status: int = 200) -> Response:
    """Return a response that no browser or proxy may store."""
    headers = [("Content-Type", media_type), ("Cache-Control", "no-store")]
    return Response(content, status, headers)


def _time_left() -> scoring.TimeLeft:
    deadline = time.monotonic() + SCORE_SECONDS
    return lambda: deadline - time.monotonic()


def _problem(outcome: RideRejected | None) -> Problem:
    """Count a ride that gets no quote, and return its problem.

    *outcome* is None if the time ran out before the ride was scored.
    """
    counts = service().metrics.rides
    if outcome is None:
        counts["unanswered"].inc()
        return problems.make_problem("unavailable", root=request.script_root)
    counts["unscorable"].inc()
    return problems.ride_problem("unscorable", outcome, root=request.script_root)
