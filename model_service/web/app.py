"""The Flask application: every path of the web service and the function that answers it.

`middleware` first gives each request an id, and logs its response.  Flask then calls one of the
functions below.  To score rides, these functions call `routes`.  The handlers in
`_add_error_handlers` turn exceptions into problem documents.
"""

from __future__ import annotations

from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from .. import scoring, zones
from ..models.served import Models
from . import api_reference, middleware, openapi, problems, routes, wire
from . import metrics as prometheus
from .metrics import Metrics
from .middleware import Write
from .routes import Reply, Service

PAGE = Path(__file__).parent / "static"
HTTP_PROBLEMS = {404: "not-found", 405: "method-not-allowed"}
HTML, CSS = "text/html; charset=utf-8", "text/css; charset=utf-8"


def create_app(
    models: Models, *, write: Write, page: Path = PAGE, multiprocess_dir: str = ""
) -> Flask:
    """Return the web service as a WSGI application.

    *write* receives each line of the log.  *page* is the directory with the files of the riders'
    page.  *multiprocess_dir* is the directory in which workers share their metrics, or empty if
    there is only one process.
    """
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.url_map.strict_slashes = True
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    service = Service(models, Metrics(models, multiprocess_dir), write)
    app.before_request(_record_route)
    _add_quotes(app, service)
    _add_health(app, service)
    _add_reference(app)
    _add_page(app, page, models)
    _add_error_handlers(app, service)
    app.extensions[wire.DOOR] = routes.door(service)
    instrumented = middleware.instrument(app.wsgi_app, service.metrics, write)
    app.wsgi_app = instrumented  # type: ignore[assignment, method-assign]
    return app


def _record_route() -> None:
    """Store the matched route in the environ; the middleware logs ``other`` if none matched."""
    if request.url_rule:
        request.environ["route"] = request.url_rule.rule


def _add_quotes(app: Flask, service: Service) -> None:
    @app.post("/predict")
    def predict() -> Response:
        return _response(routes.predict(service, request.environ))

    @app.post("/predict/batch")
    def predict_batch() -> Response:
        return _response(routes.predict_batch(service, request.environ))


def _add_health(app: Flask, service: Service) -> None:
    duration, cost = service.models.duration.model, service.models.cost
    ready = openapi.Ready(
        "ready",
        openapi.ServedModel(duration.version),
        openapi.ServedModel(cost.model.version) if cost else None,
    )

    @app.get("/livez")
    def livez() -> Response:
        return _response(routes.json(openapi.Alive("alive")))

    @app.get("/readyz")
    def readyz() -> Response:
        for served in service.models:
            scoring.warm_up(served.model)
        return _response(routes.json(ready))

    @app.get("/metrics")
    def metrics() -> Response:
        return _response(Reply(service.metrics.text(), prometheus.MEDIA_TYPE))


def _add_reference(app: Flask) -> None:
    document = openapi.document()
    as_json = routes.json(document)
    as_html = Reply(api_reference.page(document).encode(), HTML)
    style = Reply(api_reference.STYLE.encode(), CSS)

    @app.get("/openapi.json")
    def openapi_json() -> Response:
        return _response(as_json)

    @app.get("/docs")
    def docs() -> Response:
        return _response(as_html)

    @app.get("/docs.css")
    def docs_css() -> Response:
        return _response(style)


def _add_page(app: Flask, page: Path, models: Models) -> None:
    files = {path.name: _read_file(path) for path in sorted(page.glob("*")) if path.is_file()}
    table = routes.json(zones.zone_table())
    described = routes.json(_describe(models))

    @app.get("/page/<name>")
    def file(name: str) -> Response:
        return _cacheable(files[name]) if name in files else _problem("not-found")

    @app.get("/")
    def index() -> Response:
        return file("index.html")

    @app.get("/zones.json")
    def zones_json() -> Response:
        return _cacheable(table)

    @app.get("/models.json")
    def models_json() -> Response:
        return _cacheable(described)


def _describe(models: Models) -> openapi.DescribedModels:
    duration, cost = models.duration, models.cost
    return openapi.DescribedModels(
        openapi.DescribedModel(duration.model.version, duration.training_rides),
        openapi.DescribedModel(cost.model.version, cost.training_rides) if cost else None,
    )


def _add_error_handlers(app: Flask, service: Service) -> None:
    @app.errorhandler(HTTPException)
    def http_error(exc: HTTPException) -> Response:
        response = _problem(HTTP_PROBLEMS.get(exc.code or 500, "bad-request"))
        allow = [(name, value) for name, value in exc.get_headers() if name == "Allow"]
        response.headers.extend(allow)
        return response

    @app.errorhandler(Exception)
    def failure(exc: Exception) -> Response:
        return _response(routes.failure(exc, service, request.environ))


def _read_file(path: Path) -> Reply:
    media_type = guess_type(path.name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    return Reply(path.read_bytes(), media_type + charset)


def _cacheable(reply: Reply) -> Response:
    """Return a response that browsers may cache; status 304 if the ETag in the request matches."""
    response = _response(reply)
    response.headers["Cache-Control"] = "no-cache"
    response.set_etag(sha256(reply.body).hexdigest()[:32])
    response.make_conditional(request)
    return response


def _problem(kind: str) -> Response:
    return _response(routes.problem_reply(problems.make_problem(kind)))


def _response(reply: Reply) -> Response:
    return Response(reply.body, routes.STATUS[reply.status], reply.headers)
