"""Generates the OpenAPI document at ``/openapi.json`` from the types that the routes use."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ..decisions.decision import Decision
from ..models.description import TrainingRides
from ..rides import MAX_ID_LENGTH, BareRide, WrappedRide
from ..zones import ZoneTable
from .invocations import Predictions
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
    """For each configured model, its version and the rides on which it was trained."""

    duration: DescribedModel
    cost: Annotated[DescribedModel | None, Meta(description="null if no cost model is configured")]


class Ready(Struct):
    """All models can score rides."""

    status: str
    duration: ServedModel
    cost: Annotated[ServedModel | None, Meta(description="null if no cost model is configured")]


INVOCATION_EXAMPLE = {"dataframe_records": [RIDE_EXAMPLE]}
PREDICTIONS_EXAMPLE = {"predictions": [21.314529418945312]}
TYPES = (
    BareRide,
    WrappedRide,
    Quote,
    Problem,
    Alive,
    Ready,
    DescribedModels,
    ZoneTable,
    Predictions,
    Decision,
)
ANY_ROUTE = ("bad-request", "error")
ANY_POST = (*ANY_ROUTE, "malformed", "too-large", "not-json", "invalid-ride", "unavailable")


def document(*, root: str = "") -> dict[str, Any]:
    """Return the API's description as an OpenAPI 3.1 document; pages for people are not in it.

    *root* is the path below which a proxy serves the service, or empty.
    """
    schemas = _schemas()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ride predictions",
            "version": VERSION,
            "description": "Predicts how long a taxi ride will take and what it will cost."
            " Durations are in minutes; costs are in US dollars, without the tip. A ride without"
            f" pickup_datetime starts now. The maximum size of a body is {MAX_BODY} bytes.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": root or "/"}],
        "security": [],
        "paths": {**_posts(), **_gets()},
        "components": {"schemas": schemas},
    }


def _posts() -> dict[str, Any]:
    ride, outcome = _reference("RideRequest"), _reference("Outcome")
    return {
        "/predict": _post(
            "predict",
            "Quote one ride",
            "Send the ride itself, or an object with the ride and a ride_id. The response"
            " repeats the ride_id.",
            (ride, RIDE_EXAMPLE),
            _content("The quote", JSON, _reference("Quote"), QUOTE_EXAMPLE),
        ),
        "/predict/batch": _post(
            "predictBatch",
            "Quote several rides",
            f"Send a list of at most {MAX_RIDES} rides. The response has one quote or one"
            " problem for each ride, in the same order.",
            (
                {"type": "array", "items": ride, "maxItems": MAX_RIDES},
                [RIDE_EXAMPLE, {"ride": RIDE_EXAMPLE, "ride_id": 256}],
            ),
            _content(
                "Quotes and problems",
                JSON,
                {"type": "array", "items": outcome, "maxItems": MAX_RIDES},
                [QUOTE_EXAMPLE, {**QUOTE_EXAMPLE, "ride_id": 256}],
            ),
        ),
        "/invocations": _post(
            "invoke",
            "Predict durations in MLflow's protocol",
            "Send rows with the columns of a ride in one of MLflow's four formats. The"
            " predictions are minutes, in the order of the rows. One invalid row refuses the"
            " request.",
            (_reference("Invocation"), INVOCATION_EXAMPLE),
            _content("The predictions", JSON, _reference("Predictions"), PREDICTIONS_EXAMPLE),
        ),
    }


def _gets() -> dict[str, Any]:
    alive, ready, zones = map(_reference, ("Alive", "Ready", "ZoneTable"))
    return {
        "/ping": _get(
            "ping",
            "Check that every model can score a ride, as MLflow's clients do",
            _text("An empty line", "text/plain"),
            "unavailable",
        ),
        "/version": _get(
            "version", "Version of MLflow's protocol", _text("The version", "text/plain")
        ),
        "/livez": _get(
            "livez", "Check that the process is running", _content("It is running", JSON, alive)
        ),
        "/readyz": _get(
            "readyz",
            "Check that every model can score a ride",
            _content("All models can score rides", JSON, ready),
            "unavailable",
        ),
        "/metrics": _get("metrics", "Metrics for Prometheus", _text("The metrics", "text/plain")),
        "/decisions/{ride_id}": _with_ride_id(
            _get(
                "decision",
                "The decision about one ride",
                _cacheable(_content("The decision", JSON, _reference("Decision"))),
                "not-found",
                "no-decision",
                "no-table",
            )
        ),
        "/openapi.json": _get(
            "openapi",
            "This document",
            _content("The document, in OpenAPI 3.1", JSON, {"type": "object"}),
        ),
        "/models.json": _get(
            "models",
            "The models, and the rides on which they were trained",
            _cacheable(_content("The models", JSON, _reference("DescribedModels"))),
        ),
        "/zones.json": _get(
            "zones",
            "Taxi zones, and factors to estimate the distance between two",
            _cacheable(_content("All zones with a location", JSON, zones)),
        ),
    }


def _schemas() -> dict[str, Any]:
    references, components = msgspec.json.schema_components(
        TYPES, ref_template="#/components/schemas/{name}"
    )
    schemas: dict[str, Any] = _portable(components)
    for name in ("BareRide", "Ride"):
        schemas[name]["properties"]["pickup_datetime"]["pattern"] = TIMESTAMP
    # A ride with a field `ride` is a wrapped one.
    schemas["BareRide"]["not"] = {"required": ["ride"], "properties": {"ride": {}}}
    bare, wrapped, quote, problem, *_ = references
    rows = {"type": "array", "items": bare}
    columns = {
        "type": "object",
        "description": "lists of the same length by the name of the column",
        "additionalProperties": {"type": "array", "items": {}},
    }
    return {
        **schemas,
        "RideRequest": {"anyOf": [bare, wrapped]},
        "Outcome": {"anyOf": [quote, problem]},
        "Split": {
            "type": "object",
            "description": "A table as pandas writes it",
            "required": ["columns", "data"],
            "properties": {
                "columns": {"type": "array", "items": {"type": "string"}},
                "data": {"type": "array", "items": {"type": "array", "items": {}}},
            },
        },
        "Invocation": {
            "type": "object",
            "description": "Rows with the columns of a ride, in exactly one of four formats",
            "properties": {
                "dataframe_split": _reference("Split"),
                "dataframe_records": rows,
                "inputs": columns,
                "instances": rows,
            },
        },
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _portable(node: Any) -> Any:
    """Return a JSON Schema of msgspec in the form that most generators of clients understand.

    A list of two numbers has ``items`` instead of ``prefixItems``.  A type that may be null is a
    list of types instead of ``anyOf``.  Numbers have 64 bits.
    """
    if isinstance(node, list):
        return [_portable(child) for child in node]
    if not isinstance(node, dict):
        return node
    node = {name: _portable(child) for name, child in node.items()}
    if node.get("type") == "number":
        node["format"] = "double"
    if node.get("maximum", 0) > 2**31:
        node["format"] = "int64"
    if "prefixItems" in node:
        node["items"] = node.pop("prefixItems")[0]
    choices = [choice for choice in node.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) < len(node.get("anyOf", [])):
        node.pop("default", None)
        if len(choices) == 1 and "type" in choices[0]:
            del node["anyOf"]
            return {**node, **choices[0], "type": [choices[0]["type"], "null"]}
    return node


def _post(
    operation_id: str,
    summary: str,
    description: str,
    body: tuple[dict[str, Any], Any],
    success: dict[str, Any],
) -> dict[str, Any]:
    schema, example = body
    return {
        "post": {
            "operationId": operation_id,
            "summary": summary,
            "description": description,
            "requestBody": {
                "required": True,
                "content": {JSON: {"schema": schema, "example": example}},
            },
            "responses": _responses(success, (*ANY_POST, "unscorable")),
        }
    }


def _get(operation_id: str, summary: str, success: dict[str, Any], *kinds: str) -> dict[str, Any]:
    responses = _responses(success, (*ANY_ROUTE, *kinds))
    if "ETag" in success["headers"]:
        unchanged = {
            "description": "Unchanged since the version in If-None-Match",
            "headers": success["headers"],
        }
        responses = {**responses, "304": unchanged}
    return {"get": {"operationId": operation_id, "summary": summary, "responses": responses}}


def _with_ride_id(path: dict[str, Any]) -> dict[str, Any]:
    """Return *path* with the parameter ``ride_id``."""
    parameter = {
        "name": "ride_id",
        "in": "path",
        "required": True,
        "description": "the id of a ride event, percent-encoded",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH},
    }
    return {"get": {**path["get"], "parameters": [parameter]}}


def _responses(success: dict[str, Any], kinds: tuple[str, ...]) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(str(KINDS[kind].status), []).append(KINDS[kind].title)
    failures = {
        status: _content("; ".join(titles), PROBLEM, _reference("Problem"))
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


def _cacheable(response: dict[str, Any]) -> dict[str, Any]:
    return {
        **response,
        "headers": {**response["headers"], "ETag": _header("identifies the content")},
    }


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": "string"}}
