"""Creates the Flask application of the web service.

A request first passes through `middleware`, which gives it an id and logs its response.  Flask then
calls the function in `routes` or `pages` that answers its path.  If that function raises an
exception, Flask calls one of the functions below, which turn exceptions into problem documents.
"""

from __future__ import annotations

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import RequestRedirect

from ..decisions.store import StoreError
from ..errors import MalformedJson, ModelError, RideRejected
from ..models.served import Models
from . import middleware, problems, quotes
from .invocations import RowRejected
from .metrics import Metrics
from .middleware import Write
from .pages import pages
from .routes import EXTENSION, TEXT, Find, Service, fresh, problem_response, routes, service


def create_app(
    models: Models, *, write: Write, multiprocess_dir: str = "", find: Find | None = None
) -> Flask:
    """Return the web service as a WSGI application.

    *write* receives each line of the log.  *multiprocess_dir* is the directory in which workers
    share their metrics, or empty if there is only one process.  *find* looks up decisions.
    """
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = quotes.MAX_BODY
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # Werkzeug redirects a path with two slashes, to the host that the client names.
    app.url_map.merge_slashes = False
    app.extensions[EXTENSION] = Service(models, Metrics(models, multiprocess_dir), write, find)
    app.before_request(record_route)
    app.before_request(add_slash)
    app.register_blueprint(routes)
    app.register_blueprint(pages)
    app.register_error_handler(HTTPException, http_problem)
    app.register_error_handler(MalformedJson, malformed_problem)
    app.register_error_handler(RideRejected, ride_problem)
    app.register_error_handler(RowRejected, row_problem)
    app.register_error_handler(Exception, failure_problem)
    # Only the prefix is believed: it changes links in the response to the same request.
    fixed = ProxyFix(app.wsgi_app, x_for=0, x_proto=0, x_host=0, x_port=0, x_prefix=1)
    prefixed = middleware.without_foreign_prefix(fixed)
    instrumented = middleware.instrument(prefixed, app.extensions[EXTENSION].metrics, write)
    app.wsgi_app = instrumented  # type: ignore[assignment, method-assign]
    return app


def record_route() -> None:
    """Store the matched route in the environ; the middleware logs ``other`` if none matched."""
    if request.url_rule:
        request.environ["route"] = request.url_rule.rule


def add_slash() -> Response | None:
    """Redirect the path of the page without its slash, to which its relative links do not apply.

    Werkzeug would redirect to the host that the client names; this redirect names no host.
    """
    if not isinstance(request.routing_exception, RequestRedirect):
        return None
    response = fresh(b"", TEXT, 308)
    response.headers["Location"] = f"{request.script_root}/"
    return response


def http_problem(exc: HTTPException) -> Response:
    kind = problems.HTTP_KINDS.get(exc.code or 500, "bad-request")
    response = problem_response(problems.make_problem(kind, root=request.script_root))
    response.headers.extend([one for one in exc.get_headers() if one[0] == "Allow"])
    return response


def malformed_problem(exc: MalformedJson) -> Response:
    problem = problems.make_problem("malformed", str(exc), root=request.script_root)
    return problem_response(problem)


def ride_problem(exc: RideRejected) -> Response:
    root = request.script_root
    return problem_response(problems.ride_problem("invalid-ride", exc, root=root))


def row_problem(exc: RowRejected) -> Response:
    if exc.rejected is None:
        return problem_response(problems.make_problem(exc.kind, root=request.script_root))
    problem = problems.ride_problem(exc.kind, exc.rejected, root=request.script_root)
    detail = f"row {exc.row}: {problem.detail}"
    return problem_response(msgspec.structs.replace(problem, detail=detail, row=exc.row))


def failure_problem(exc: Exception) -> Response:
    """Log an exception that the client did not cause, and answer with 503 or 500."""
    service().write(middleware.error_line(exc, request.environ["request_id"]))
    kinds = {ModelError: "unavailable", StoreError: "no-table"}
    kind = next((kind for type_, kind in kinds.items() if isinstance(exc, type_)), "error")
    return problem_response(problems.make_problem(kind, root=request.script_root))
