"""The routes for people: the riders' page and its files, and the API reference."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from .. import zones
from . import api_reference, openapi
from .routes import fresh, json_response, service

PAGE = Path(__file__).parent / "static"
HTML, CSS = "text/html; charset=utf-8", "text/css; charset=utf-8"

pages = Blueprint("pages", __name__)


@pages.get("/")
def index() -> Response:
    return file("index.html")


@pages.get("/page/<name>")
def file(name: str) -> Response:
    """Answer with a file of the riders' page."""
    if name not in _files():
        raise NotFound
    media_type = guess_type(name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    return _cacheable(_files()[name], media_type + charset)


@pages.get("/zones.json")
def zones_json() -> Response:
    return _cacheable(msgspec.json.encode(zones.zone_table()), openapi.JSON)


@pages.get("/models.json")
def models_json() -> Response:
    duration, cost = service().models.duration, service().models.cost
    described = openapi.DescribedModels(
        openapi.DescribedModel(duration.model.version, duration.training_rides),
        openapi.DescribedModel(cost.model.version, cost.training_rides) if cost else None,
    )
    return _cacheable(msgspec.json.encode(described), openapi.JSON)


@pages.get("/openapi.json")
def openapi_json() -> Response:
    return json_response(openapi.document(root=request.script_root))


@pages.get("/docs")
def docs() -> Response:
    return fresh(api_reference.page(openapi.document()).encode(), HTML)


@pages.get("/docs.css")
def docs_css() -> Response:
    return fresh(api_reference.STYLE.encode(), CSS)


@cache
def _files() -> dict[str, bytes]:
    """Return the content of each file of the riders' page by its name."""
    return {path.name: path.read_bytes() for path in PAGE.glob("*") if path.is_file()}


def _cacheable(content: bytes, media_type: str) -> Response:
    """Return a response that browsers may cache; status 304 if the ETag in the request matches."""
    response = fresh(content, media_type)
    response.headers["Cache-Control"] = "no-cache"
    response.set_etag(sha256(content).hexdigest()[:32])
    response.make_conditional(request)
    return response
