"""The OpenAPI document of the web service, from the code's own types."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ..rides import BareRide
from ..zones import ZoneTable
from .problems import KINDS, Problem
from .problems import MEDIA_TYPE as PROBLEM
from .quotes import MAX_BODY, MAX_RIDES, Quote, WrappedRide

VERSION = "0.1.0"  # of the API; fields are only ever added, and never become required
JSON = "application/json"
EXAMPLE = {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66}
ANSWER = {
    "duration": 21.3,
    "cost": 18.4,
    "intervals": {"duration": [17.0, 26.9]},
    "versions": {"duration": "a48f3a742ff14f07", "cost": "4c3c7c3d9a1e4b60"},
}
# What `rides` takes as a moment, and nothing else; "date-time" would demand an offset.
YEAR = "(?!000[01]|9999)[0-9]{4}"
LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
DAY = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
)
HOUR, SIXTIETH = "([01][0-9]|2[0-3])", "[0-5][0-9]"
MOMENT = (
    f"^({YEAR}-{DAY}|(?!0000){LEAP_YEAR}-02-29)"
    f"[Tt ]{HOUR}:{SIXTIETH}:{SIXTIETH}(\\.[0-9]+)?([Zz]|[+-]{HOUR}:?{SIXTIETH})?$"
)


class Alive(Struct):
    """The process answers."""

    status: str


class ServedModel(Struct):
    """A model that scored the warm-up ride just now."""

    version: Annotated[str, Meta(description="the MLflow run that the model came from")]


class Ready(Struct):
    """The models answer."""

    status: str
    duration: ServedModel
    cost: Annotated[
        ServedModel | None, Meta(description="null where COST_MODEL_LOCATION is not set")
    ]


Ride = BareRide | WrappedRide
Outcome = Quote | Problem
TYPES = (BareRide, WrappedRide, Quote, Problem, Alive, Ready, ZoneTable)
MAY_FAIL = ("bad-request", "timeout", "headers-too-large", "error")
MAY_REFUSE = (*MAY_FAIL, "malformed", "length-required", "too-large", "not-json", "invalid-ride",
              "unavailable")  # fmt: skip


def document() -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    shapes, components = msgspec.json.schema_components(
        TYPES, ref_template="#/components/schemas/{name}"
    )
    bare, wrapped, quote, problem, alive, ready, zones = shapes
    for name in ("BareRide", "Ride"):
        components[name]["properties"]["pickup_datetime"]["pattern"] = MOMENT
    ride = {"anyOf": [{"allOf": [bare, {"not": {"required": ["ride"]}}]}, wrapped]}
    rides = {"type": "array", "items": ride, "maxItems": MAX_RIDES}
    outcomes = {"type": "array", "items": {"anyOf": [quote, problem]}, "maxItems": MAX_RIDES}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ride predictions",
            "version": VERSION,
            "description": "How long a taxi ride will take, and what it will cost. Durations are"
            " minutes, costs US dollars without the tip. A ride without pickup_datetime begins now."
            f" A body has {MAX_BODY} bytes at most.",
        },
        "paths": {
            "/predict": _post(
                "What one ride will take and cost",
                "As a ride, or wrapped as ride, with a ride_id beside it, which comes back.",
                (ride, EXAMPLE),
                _content("The quote", JSON, quote, ANSWER),
                problem,
            ),
            "/predict/batch": _post(
                "The same of many rides",
                f"A list of at most {MAX_RIDES} rides; one outcome a ride, in order: its quote, or"
                " why there is none.",
                (rides, [EXAMPLE, {"ride": EXAMPLE, "ride_id": 256}]),
                _content("The outcomes", JSON, outcomes, [ANSWER, {**ANSWER, "ride_id": 256}]),
                problem,
            ),
            "/livez": _get("Is the process there?", _content("It is", JSON, alive), problem),
            "/readyz": _get(
                "Can each model score a ride, now?",
                _content("They can", JSON, ready),
                problem,
                "unavailable",
            ),
            "/metrics": _get("For Prometheus", _text("All counts", "text/plain"), problem),
            "/openapi.json": _get(
                "This document", _content("OpenAPI 3.1", JSON, {"type": "object"}), problem
            ),
            "/docs": _get("This document, to be read", _text("A page", "text/html"), problem),
            "/docs.css": _get("How that page looks", _text("A style sheet", "text/css"), problem),
            "/zones.json": _get(
                "The taxi zones, and how to suggest a distance between two",
                _kept(_content("All that lie somewhere", JSON, zones)),
                problem,
            ),
            "/": _get("The page to ask from", _file("A page", "text/html"), problem, "not-found"),
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
                **_get("A file of that page", _file("The file", "*/*"), problem, "not-found"),
            },
        },
        "components": {"schemas": components},
    }


def _post(
    summary: str,
    description: str,
    body: tuple[dict[str, Any], Any],
    answer: dict[str, Any],
    problem: dict[str, Any],
) -> dict[str, Any]:
    shape, example = body
    return {
        "post": {
            "summary": summary,
            "description": description,
            "requestBody": {
                "required": True,
                "content": {JSON: {"schema": shape, "example": example}},
            },
            "responses": _responses(answer, problem, (*MAY_REFUSE, "unscorable")),
        }
    }


def _get(
    summary: str, answer: dict[str, Any], problem: dict[str, Any], *problems: str
) -> dict[str, Any]:
    responses = _responses(answer, problem, (*MAY_FAIL, *problems))
    if "ETag" in answer["headers"]:
        unchanged = {"description": "It is what you have", "headers": answer["headers"]}
        responses = {**responses, "304": unchanged}
    return {"get": {"summary": summary, "responses": responses}}


def _responses(
    answer: dict[str, Any], problem: dict[str, Any], names: tuple[str, ...]
) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for name in names:
        by_status.setdefault(str(KINDS[name].status), []).append(KINDS[name].title)
    refusals = {
        status: _content("; ".join(titles), PROBLEM, problem)
        for status, titles in sorted(by_status.items())
    }
    return {"200": answer, **refusals}


def _content(
    description: str, media_type: str, shape: dict[str, Any], example: Any = None
) -> dict[str, Any]:
    content = {"schema": shape} if example is None else {"schema": shape, "example": example}
    return {
        "description": description,
        "headers": {"X-Request-ID": _header("the one that was sent, or one made for the request")},
        "content": {media_type: content},
    }


def _text(description: str, media_type: str) -> dict[str, Any]:
    return _content(description, media_type, {"type": "string"})


def _file(description: str, media_type: str) -> dict[str, Any]:
    return _kept(_text(description, media_type))


def _kept(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "headers": {**answer["headers"], "ETag": _header("of the bytes")}}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": "string"}}
