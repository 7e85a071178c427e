"""Problem details (RFC 9457): what the web service answers instead of a quote.

A problem names the field and the rule, never the value.
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
    """A problem in general."""

    status: int
    title: str
    remedy: str


KINDS: Mapping[str, Kind] = {
    "bad-request": Kind(
        400, "Not a request of HTTP", "Send HTTP/1.1, with headers as they should be."
    ),
    "malformed": Kind(400, "The body is not JSON", "Send one JSON document in UTF-8."),
    "not-found": Kind(404, "There is nothing here", "See /docs."),
    "method-not-allowed": Kind(405, "Not with this method", "See the header Allow."),
    "timeout": Kind(408, "The request took too long to arrive", "Send it in one go."),
    "length-required": Kind(411, "The body has no length", "Send a Content-Length."),
    "too-large": Kind(413, "The body is too large", "Send fewer rides at a time."),
    "not-json": Kind(
        415, "The body is of another type", "Send Content-Type: application/json, not compressed."
    ),
    "headers-too-large": Kind(
        431, "The address or the headers are too large", "Send fewer or shorter ones."
    ),
    "invalid-ride": Kind(422, "The ride breaks a rule", "Its field and rule are in the answer."),
    "unscorable": Kind(422, "No model has an answer to this ride", "Trying again will not help."),
    "error": Kind(500, "The fault is ours", "Report the X-Request-ID."),
    "unavailable": Kind(503, "The models cannot answer now", "Try again later."),
}


class Problem(Struct, frozen=True):
    """Why there is no answer (RFC 9457)."""

    type: Annotated[str, Meta(description="what kind of problem, as a link into /docs")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="the rule, and where it was broken")]
    field: Annotated[str, Meta(description="the field at fault")] | UnsetType = UNSET


def problem(name: str, detail: str = "") -> Problem:
    """The problem of that name among `KINDS`."""
    kind = KINDS[name]
    return Problem(f"/docs#{name}", kind.title, kind.status, detail or kind.remedy)


def of_ride(name: str, rejected: RideRejected) -> Problem:
    """Of a ride that was rejected.

    >>> of_ride("invalid-ride", RideRejected("Expected `int` >= 1 - at `$.PULocationID`")).field
    'PULocationID'
    """
    detail = str(rejected)
    found = re.search(r"missing required field `(\w+)`|at `\$.*?(\w+)`$", detail)
    field = next(filter(None, found.groups()), UNSET) if found else UNSET
    return msgspec.structs.replace(problem(name, detail), field=field)
