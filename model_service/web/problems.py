"""Makes problem documents (RFC 9457): the error responses of the web service.

The problem of an invalid ride names the field and the rule that the field's value breaks, and never
repeats the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ..errors import RideRejected

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """A kind of problem: its HTTP status, its title, and advice for the client."""

    status: int
    title: str
    remedy: str


KINDS: Mapping[str, Kind] = {
    "bad-request": Kind(400, "Malformed HTTP request", "Send a valid HTTP/1.1 request."),
    "malformed": Kind(400, "The body is not valid JSON", "Send one JSON document in UTF-8."),
    "not-found": Kind(404, "Not found", "See /docs for the available paths."),
    "no-decision": Kind(
        404,
        "No decision for this ride",
        "A ride is decided when all expected models have predicted it, or some time after its"
        " first prediction. A ride that every model rejected has no prediction, and so no"
        " decision. Old decisions are deleted.",
    ),
    "method-not-allowed": Kind(405, "Method not allowed", "Use a method that Allow lists."),
    "too-large": Kind(413, "The body is too large", "Send fewer rides per request."),
    "not-json": Kind(
        415,
        "The content type or encoding is not supported",
        "Send Content-Type: application/json, without compression.",
    ),
    "invalid-ride": Kind(
        422, "Invalid ride or request", "The response names the rule, and the field if it is known."
    ),
    "unscorable": Kind(422, "No prediction for this ride", "Do not retry: the result is the same."),
    "error": Kind(500, "Internal error", "Report the X-Request-ID of the response."),
    "unavailable": Kind(503, "The models are unavailable", "Try again later."),
    "no-table": Kind(503, "The decisions are unavailable", "Try again later."),
}

HTTP_KINDS = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "not-json"}
"""Status of an exception that Flask or a route raises -> kind of problem."""


class Problem(Struct, frozen=True):
    """An error response (RFC 9457)."""

    type: Annotated[str, Meta(description="the kind of problem, as a link into /docs")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="the rule that was broken, or what to do")]
    field: Annotated[str, Meta(description="the field that breaks the rule")] | UnsetType = UNSET
    row: Annotated[int, Meta(ge=0, description="the row, from 0, of /invocations")] | UnsetType = (
        UNSET
    )


def make_problem(kind: str, detail: str = "", *, root: str = "") -> Problem:
    """Return a problem of *kind*, a key of `KINDS`; *detail* defaults to the kind's remedy.

    *root* is the path below which a proxy serves the service, or empty.
    """
    status, title, remedy = KINDS[kind]
    return Problem(f"{root}/docs#{kind}", title, status, detail or remedy)


def ride_problem(kind: str, rejected: RideRejected, *, root: str = "") -> Problem:
    """Return a problem of *kind* for a rejected ride, with the field that the message names.

    >>> rejected = RideRejected("Expected `int` >= 1 - at `$.PULocationID`")
    >>> ride_problem("invalid-ride", rejected).field
    'PULocationID'
    """
    detail = str(rejected)
    found = re.search(r"missing required field `(\w+)`|at `\$.*?([\w -]+)`$", detail)
    field = next(filter(None, found.groups()), UNSET) if found else UNSET
    return msgspec.structs.replace(make_problem(kind, detail, root=root), field=field)
