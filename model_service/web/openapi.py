"""Generates the OpenAPI document at ``/openapi.json`` from the types that the routes use."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ..models.description import TrainingRides
from ..rides import BareRide, WrappedRide
from ..zones import ZoneTable
from .problems import KINDS, Problem
from .problems import MEDIA_TYPE as PROBLEM
from .quotes import MAX_BODY, MAX_RIDES, Quote

VERSION = "0.1.0"  # of the API; a new version may add optional fields, but no required ones
JSON = "application/json"
RIDE_EXAMPLE = {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66}
QUOTE_EXAMPLE = {
    "duration": 21.3,
    "cost": 18.4,
    "intervals": {"duration": [17.0, 26.9]},
    "versions": {"duration": "a48f3a742ff14f07", "cost": "4c3c7c3d9a1e4b60"},
}
# The patterns match exactly the times that `rides` accepts.  JSON Schema's format "date-time" does
# not fit, because it requires an offset from UTC.
YEAR = "(?!000[01]|9999)[0-9]{4}"
LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
DAY = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
)
HOUR, SIXTIETH = "([01][0-9]|2[0-3])", "[0-5][0-9]"
TIMESTAMP = (
    f"^({YEAR}-{DAY}|(?!0000){LEAP_YEAR}-02-29)"
    f"[Tt ]{HOUR}:{SIXTIETH}(:{SIXTIETH}(\\.[0-9]+)?)?([Zz]|[+-]{HOUR}:?{SIXTIETH})?$"
)


class Alive(Struct):
    """The process is running."""

    status: str


class ServedModel(Struct):
    """A model that has just scored the warm-up ride."""

    version: Annotated[str, Meta(description="the MLflow run that made the model")]


class DescribedModel(Struct):
    """A model, and the rides on which it was trained."""

    version: Annotated[str, Meta(description="the MLflow run that made the model")]
    training_rides: Annotated[
        TrainingRides | None, Meta(description="null if the model does not name them")
    ]


class DescribedModels(Struct):
    """The models that make the quotes."""

    duration: DescribedModel
    cost: Annotated[DescribedModel | None, Meta(description="null if no cost model is configured")]


class Ready(Struct):
    """All models can score rides."""

    status: str
    duration: ServedModel
    cost: Annotated[ServedModel | None, Meta(description="null if no cost model is configured")]


TYPES = (BareRide, WrappedRide, Quote, Problem, Alive, Ready, DescribedModels, ZoneTable)
ANY_ROUTE = ("bad-request", "timeout", "headers-too-large", "error")
ANY_POST = (*ANY_ROUTE, "malformed", "length-required", "too-large", "not-json", "invalid-ride",
              "unavailable")  # fmt: skip


def document() -> dict[str, Any]:
    """Return the API's description as an OpenAPI 3.1 document."""
    references, components = msgspec.json.schema_components(
        TYPES, ref_template="#/components/schemas/{name}"
    )
    bare, wrapped, quote, problem, alive, ready, models, zones = references
    for name in ("BareRide", "Ride"):
        components[name]["properties"]["pickup_datetime"]["pattern"] = TIMESTAMP
    ride = {"anyOf": [{"allOf": [bare, {"not": {"required": ["ride"]}}]}, wrapped]}
    rides = {"type": "array", "items": ride, "maxItems": MAX_RIDES}
    outcomes = {"type": "array", "items": {"anyOf": [quote, problem]}, "maxItems": MAX_RIDES}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ride predictions",
            "version": VERSION,
            "description": "Predicts how long a taxi ride will take and what it will cost."
            " Durations are in minutes; costs are in US dollars, without the tip. A ride without"
            f" pickup_datetime starts now. The maximum size of a body is {MAX_BODY} bytes.",
        },
        "paths": {
            "/predict": _post(
                "Quote one ride",
                "Send the ride itself, or an object with the ride and a ride_id. The response"
                " repeats the ride_id.",
                (ride, RIDE_EXAMPLE),
                _content("The quote", JSON, quote, QUOTE_EXAMPLE),
                problem,
            ),
            "/predict/batch": _post(
                "Quote several rides",
                f"Send a list of at most {MAX_RIDES} rides. The response has one quote or one"
                " problem for each ride, in the same order.",
                (rides, [RIDE_EXAMPLE, {"ride": RIDE_EXAMPLE, "ride_id": 256}]),
                _content(
                    "Quotes and problems",
                    JSON,
                    outcomes,
                    [QUOTE_EXAMPLE, {**QUOTE_EXAMPLE, "ride_id": 256}],
                ),
                problem,
            ),
            "/livez": _get(
                "Check that the process is running", _content("It is running", JSON, alive), problem
            ),
            "/readyz": _get(
                "Check that every model can score a ride",
                _content("All models can score rides", JSON, ready),
                problem,
                "unavailable",
            ),
            "/metrics": _get("Metrics for Prometheus", _text("The metrics", "text/plain"), problem),
            "/openapi.json": _get(
                "This document",
                _content("The document, in OpenAPI 3.1", JSON, {"type": "object"}),
                problem,
            ),
            "/docs": _get("This document as a web page", _text("The page", "text/html"), problem),
            "/docs.css": _get(
                "Style sheet of that page", _text("The style sheet", "text/css"), problem
            ),
            "/models.json": _get(
                "The models, and the rides on which they were trained",
                _cacheable(_content("The models", JSON, models)),
                problem,
            ),
            "/zones.json": _get(
                "Taxi zones, and factors to estimate the distance between two",
                _cacheable(_content("All zones with a location", JSON, zones)),
                problem,
            ),
            "/": _get("Page for riders", _file("The page", "text/html"), problem, "not-found"),
            "/page/{name}": {
                "parameters": [
                    {
                        "name": "name",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string"},
                        "example": "page.css",
                    }
                ],
                **_get(
                    "A file of the riders' page", _file("The file", "*/*"), problem, "not-found"
                ),
            },
        },
        "components": {"schemas": components},
    }


def _post(
    summary: str,
    description: str,
    body: tuple[dict[str, Any], Any],
    success: dict[str, Any],
    problem: dict[str, Any],
) -> dict[str, Any]:
    schema, example = body
    return {
        "post": {
            "summary": summary,
            "description": description,
            "requestBody": {
                "required": True,
                "content": {JSON: {"schema": schema, "example": example}},
            },
            "responses": _responses(success, problem, (*ANY_POST, "unscorable")),
        }
    }


def _get(
    summary: str, success: dict[str, Any], problem: dict[str, Any], *kinds: str
) -> dict[str, Any]:
    responses = _responses(success, problem, (*ANY_ROUTE, *kinds))
    if "ETag" in success["headers"]:
        unchanged = {
            "description": "Unchanged since the version in If-None-Match",
            "headers": success["headers"],
        }
        responses = {**responses, "304": unchanged}
    return {"get": {"summary": summary, "responses": responses}}


def _responses(
    success: dict[str, Any], problem: dict[str, Any], kinds: tuple[str, ...]
) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(str(KINDS[kind].status), []).append(KINDS[kind].title)
    failures = {
        status: _content("; ".join(titles), PROBLEM, problem)
        for status, titles in sorted(by_status.items())
    }
    return {"200": success, **failures}


def _content(
    description: str, media_type: str, schema: dict[str, Any], example: Any = None
) -> dict[str, Any]:
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {
        "description": description,
        "headers": {"X-Request-ID": _header("the id that was sent, or a generated one")},
        "content": {media_type: content},
    }


def _text(description: str, media_type: str) -> dict[str, Any]:
    return _content(description, media_type, {"type": "string"})


def _file(description: str, media_type: str) -> dict[str, Any]:
    return _cacheable(_text(description, media_type))


def _cacheable(response: dict[str, Any]) -> dict[str, Any]:
    return {
        **response,
        "headers": {**response["headers"], "ETag": _header("identifies the content")},
    }


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": "string"}}
