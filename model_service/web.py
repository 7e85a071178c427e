"""The same scoring over HTTP: a request is read, asked of the models, and answered.

What a request may cost is bounded before it is read.  An answer is a quote or a problem; neither
a problem nor a log line has a value of a customer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Flask, Request, Response, request
from msgspec import Struct
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from . import access, model, openapi, problems, quotes, reference, scoring, zones
from . import metrics as counts
from .access import Write
from .errors import EventError, ModelError, RideRejected
from .metrics import Metrics
from .problems import Problem
from .quotes import Asked, Models, Served
from .scoring import Target
from .settings import WebSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PAGE = Path(__file__).parent / "page"
SCORE_SECONDS = 10.0  # for finding the rides at fault in a batch
HTTP_PROBLEMS = {404: "not-found", 405: "method-not-allowed"}

_encode = msgspec.json.Encoder().encode


class _Refused(Exception):
    """A request that is answered with a problem before it is read."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.problem = problems.problem(name)


class Answer(Response):
    """A response whose headers are whole as they are."""

    automatically_set_content_length = False

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        return self.headers


class Service(Flask):
    """Flask, without the work a request that nothing here needs: a third of its time."""

    response_class = Answer

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func  # no view is a coroutine

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return None
        environ = request.environ  # routes look at path and method: no host is made sense of
        return MapAdapter(
            self.url_map,
            server_name="",
            script_name=environ.get("SCRIPT_NAME") or "/",
            subdomain="",
            url_scheme=environ["wsgi.url_scheme"],
            path_info=environ.get("PATH_INFO", ""),
            default_method=environ["REQUEST_METHOD"],
            query_args=environ.get("QUERY_STRING", ""),
        )


def load(settings: WebSettings) -> Models:
    """The models that *settings* name, warmed up.  Raises `ModelError`."""
    duration = model.load(
        settings.model_location,
        sha256=settings.model_sha256,
        allow_pickled=settings.allow_pickled_models,
    )
    duration_target = Target(minimum=settings.prediction_min, maximum=settings.prediction_max)
    if not settings.cost_model_location:
        return Models(Served(duration, duration_target))
    cost = model.load(
        settings.cost_model_location,
        sha256=settings.cost_model_sha256,
        allow_pickled=settings.allow_pickled_models,
    )
    cost_target = Target(
        "ride_cost_prediction_model",
        "ride_cost",
        settings.cost_prediction_min,
        settings.cost_prediction_max,
    )
    return Models(Served(duration, duration_target), Served(cost, cost_target))


def create_app(
    models: Models, *, write: Write, page: Path = PAGE, multiprocess_dir: str = ""
) -> Flask:
    """The service as a WSGI application."""
    app = Service(__name__, static_folder=None, template_folder=None)
    app.url_map.strict_slashes = True
    metrics = Metrics(models, multiprocess_dir)
    _add_predictions(app, models, metrics)
    _add_health(app, models, metrics)
    _add_pages(app, page)
    _add_problems(app, write)
    app.wsgi_app = access.observed(app.wsgi_app, metrics, write)  # type: ignore[assignment, method-assign]
    return app


# --- rides ----------------------------------------------------------------------------------


def _add_predictions(app: Flask, models: Models, metrics: Metrics) -> None:
    count = metrics.rides

    def predict() -> Response:
        try:
            request.environ["rides"] = 1
            asked = quotes.decode(_body(), datetime.now(UTC))
        except RideRejected as exc:
            count["invalid"].inc()
            return _refusal(problems.of_ride("invalid-ride", exc))
        [outcome] = quotes.quote(models, [asked], time_left=_clock())
        if isinstance(outcome, quotes.Quote):
            count["quoted"].inc()
            return _json(outcome)
        return _refusal(_problem(outcome, metrics))

    def predict_batch() -> Response:
        found = quotes.decode_batch(_body(), datetime.now(UTC))
        request.environ["rides"] = len(found)
        good = [one for one in found if isinstance(one, Asked)]
        outcomes = iter(quotes.quote(models, good, time_left=_clock()))

        def answer(one: Asked | RideRejected) -> quotes.Quote | Problem:
            if isinstance(one, RideRejected):
                count["invalid"].inc()
                return problems.of_ride("invalid-ride", one)
            outcome = next(outcomes)
            if isinstance(outcome, quotes.Quote):
                return outcome
            return _problem(outcome, metrics)

        answers = [answer(one) for one in found]
        count["quoted"].inc(sum(isinstance(one, quotes.Quote) for one in answers))
        return _json(answers)

    _add(app, "/predict", predict, "POST")
    _add(app, "/predict/batch", predict_batch, "POST")


def _problem(outcome: RideRejected | None, metrics: Metrics) -> Problem:
    if outcome is None:
        metrics.rides["unanswered"].inc()
        return problems.problem("unavailable")
    metrics.rides["unscorable"].inc()
    return problems.of_ride("unscorable", outcome)


def _body() -> bytes:
    """The request's body.  Raises `_Refused` before reading what is too much or no JSON."""
    environ = request.environ  # read as it is: what werkzeug makes of it costs a model call
    if environ.get("CONTENT_TYPE") != openapi.JSON and request.mimetype != openapi.JSON:
        raise _Refused("not-json")
    if environ.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
        raise _Refused("not-json")
    length = environ.get("CONTENT_LENGTH", "")
    if not length.isdecimal() or "HTTP_TRANSFER_ENCODING" in environ:
        raise _Refused("length-required")
    if int(length) > quotes.MAX_BODY:
        raise _Refused("too-large")
    body: bytes = environ["wsgi.input"].read(int(length))
    if len(body) < int(length):
        raise _Refused("timeout")
    return body


def _clock() -> scoring.TimeLeft:
    deadline = time.monotonic() + SCORE_SECONDS
    return lambda: deadline - time.monotonic()


# --- the service itself ---------------------------------------------------------------------


def _add_health(app: Flask, models: Models, metrics: Metrics) -> None:
    alive = openapi.Alive("alive")
    cost = models.cost
    ready = openapi.Ready(
        "ready",
        openapi.ServedModel(models.duration.model.version),
        openapi.ServedModel(cost.model.version) if cost else None,
    )

    def readyz() -> Response:
        for served in filter(None, (models.duration, cost)):
            scoring.warm_up(served.model)
        return _json(ready)

    _add(app, "/livez", lambda: _json(alive))
    _add(app, "/readyz", readyz)
    _add(app, "/metrics", lambda: _text(metrics.text(), counts.MEDIA_TYPE))


def _add_pages(app: Flask, page: Path) -> None:
    document = openapi.document()
    description = _encode(document)
    html = reference.page(document).encode()
    table = _encode(zones.zone_table())
    files = {path.name: _file(path) for path in sorted(page.glob("*")) if path.is_file()}

    def file(name: str) -> Response:
        if name not in files:
            return _refusal(problems.problem("not-found"))
        return _kept(*files[name])

    _add(app, "/openapi.json", lambda: _text(description, openapi.JSON))
    _add(app, "/docs", lambda: _text(html, "text/html; charset=utf-8"))
    _add(app, "/docs.css", lambda: _text(reference.STYLE.encode(), "text/css; charset=utf-8"))
    _add(app, "/zones.json", lambda: _kept(table, openapi.JSON))
    _add(app, "/", lambda: file("index.html"))
    _add(app, "/page/<name>", file)


def _file(path: Path) -> tuple[bytes, str]:
    media_type = guess_type(path.name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    return path.read_bytes(), media_type + charset


def _kept(body: bytes, media_type: str) -> Response:
    """What a browser keeps; it asks again, and is answered with 304 where nothing has changed."""
    response = _text(body, media_type)
    response.headers["Cache-Control"] = "no-cache"
    response.set_etag(sha256(body).hexdigest()[:32])
    response.make_conditional(request)
    return response


def _add_problems(app: Flask, write: Write) -> None:
    def refused(exc: _Refused) -> Response:
        return _refusal(exc.problem)

    def unreadable(exc: EventError) -> Response:
        return _refusal(problems.problem("malformed", str(exc)))

    def rejected(exc: RideRejected) -> Response:
        return _refusal(problems.of_ride("invalid-ride", exc))

    def unable(exc: ModelError) -> Response:
        write(access.fault(exc, request.environ["request_id"]))
        return _refusal(problems.problem("unavailable"))

    def by_http(exc: HTTPException) -> Response:
        response = _refusal(problems.problem(HTTP_PROBLEMS.get(exc.code or 500, "bad-request")))
        response.headers.extend(
            [(name, value) for name, value in exc.get_headers() if name == "Allow"]
        )
        return response

    def unforeseen(exc: Exception) -> Response:
        write(access.fault(exc, request.environ["request_id"]))
        return _refusal(problems.problem("error"))

    app.register_error_handler(_Refused, refused)
    app.register_error_handler(EventError, unreadable)
    app.register_error_handler(RideRejected, rejected)
    app.register_error_handler(ModelError, unable)
    app.register_error_handler(HTTPException, by_http)
    app.register_error_handler(Exception, unforeseen)


def _add(app: Flask, rule: str, view: Callable[..., Response], method: str = "GET") -> None:
    def noted(**arguments: str) -> Response:
        request.environ["route"] = rule
        return view(**arguments)

    app.add_url_rule(
        rule, endpoint=rule, view_func=noted, methods=[method], provide_automatic_options=False
    )


def _json(answer: Struct | Sequence[Struct]) -> Response:
    return _text(_encode(answer), openapi.JSON)


def _refusal(found: Problem) -> Response:
    return _text(_encode(found), problems.MEDIA_TYPE, found.status)


def _text(body: bytes, media_type: str, status: int = 200) -> Answer:
    headers = [
        ("Content-Type", media_type),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    return Answer(body, status, headers)
