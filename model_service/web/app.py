"""The same scoring over HTTP: a request is read, asked of the models, and answered.

What a request may cost is bounded before it is read.  An answer is a quote or a problem; neither
a problem nor a log line has a value of a customer.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

import msgspec
from flask import Flask, Response, request
from msgspec import Struct
from werkzeug.exceptions import HTTPException

from .. import scoring, zones
from ..models.served import Models
from . import api_reference, middleware, openapi, problems, routes, wire
from . import metrics as counts
from .metrics import Metrics
from .middleware import Write
from .problems import Problem
from .routes import Reply

PAGE = Path(__file__).parent / "static"
HTTP_PROBLEMS = {404: "not-found", 405: "method-not-allowed"}

_encode = msgspec.json.Encoder().encode


def create_app(
    models: Models, *, write: Write, page: Path = PAGE, multiprocess_dir: str = ""
) -> Flask:
    """The service as a WSGI application."""
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.url_map.strict_slashes = True
    metrics = Metrics(models, multiprocess_dir)
    views = routes.views(models, metrics, write)
    for route, view in views.items():
        _add(app, route, lambda view=view: _response(view(request.environ)), "POST")
    _add_health(app, models, metrics)
    _add_pages(app, page)
    _add_problems(app, write)
    app.extensions[wire.DOOR] = routes.door(views["/predict"], metrics, write)
    observed = middleware.observed(app.wsgi_app, metrics, write)
    app.wsgi_app = observed  # type: ignore[assignment, method-assign]
    return app


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
    html = api_reference.page(document).encode()
    table = _encode(zones.zone_table())
    files = {path.name: _file(path) for path in sorted(page.glob("*")) if path.is_file()}

    def file(name: str) -> Response:
        if name not in files:
            return _refusal(problems.problem("not-found"))
        return _kept(*files[name])

    _add(app, "/openapi.json", lambda: _text(description, openapi.JSON))
    _add(app, "/docs", lambda: _text(html, "text/html; charset=utf-8"))
    _add(app, "/docs.css", lambda: _text(api_reference.STYLE.encode(), "text/css; charset=utf-8"))
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
    def by_http(exc: HTTPException) -> Response:
        response = _refusal(problems.problem(HTTP_PROBLEMS.get(exc.code or 500, "bad-request")))
        response.headers.extend(
            [(name, value) for name, value in exc.get_headers() if name == "Allow"]
        )
        return response

    def failed(exc: Exception) -> Response:
        return _response(routes.failure(exc, request.environ, write))

    app.register_error_handler(HTTPException, by_http)
    app.register_error_handler(Exception, failed)


def _add(app: Flask, rule: str, view: Callable[..., Response], method: str = "GET") -> None:
    def noted(**arguments: str) -> Response:
        request.environ["route"] = rule
        return view(**arguments)

    app.add_url_rule(
        rule, endpoint=rule, view_func=noted, methods=[method], provide_automatic_options=False
    )


def _json(answer: Struct) -> Response:
    return _response(routes.json(answer))


def _refusal(found: Problem) -> Response:
    return _response(routes.refusal(found))


def _text(body: bytes, media_type: str) -> Response:
    return _response(Reply(body, media_type))


def _response(reply: Reply) -> Response:
    return Response(reply.body, routes.STATUS[reply.status], reply.headers)
