"""HTTP as bytes: what has come of a request, and answers that do not need all of gunicorn.

gunicorn's own parser reads the head of every request.  What it makes of one for a framework, and of
its answer, takes as long as scoring a ride does; so a plain request for a ride goes past it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn import SERVER, util
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from . import problems
from .quotes import MAX_BODY

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# gunicorn takes as many digits as `int` does: what it reads and this does not is another request
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,4300})[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
RIDE = b"POST /predict "  # what is answered where it was read


class Door(NamedTuple):
    """What an application does for the worker past WSGI, in bytes of HTTP."""

    quote: Callable[[WSGIEnvironment], bytes]
    """Answers what `plain` says of a request, on a connection that is kept."""
    refuse: Callable[[str], bytes]
    """Answers a request that is not read, with the problem of that name, and closes."""


DOOR = "door"
"""A Flask application that has one says so under this name in its ``extensions``."""


class Body(NamedTuple):
    """What a request's head says of its body."""

    length: int
    """Bytes; 0 where it does not say."""
    wanted: bool
    """All of it is waited for: it is not too much, and not in chunks."""


def body_of(head: bytes) -> Body:
    """
    >>> body_of(b"POST / HTTP/1.1\\r\\nContent-Length: 66\\r\\n\\r\\n")
    Body(length=66, wanted=True)
    """
    found = CONTENT_LENGTH.search(head)
    length = int(found[1]) if found else 0
    return Body(length, wanted=length <= MAX_BODY and CHUNKED.search(head) is None)


def plain(config: Any, head: bytes, body: bytes, client: Any) -> WSGIEnvironment | None:
    """What a view wants to know of a request; None where it takes all of gunicorn.

    That is the last one of a connection, an older HTTP, and what cannot be read: gunicorn reads it
    once more, and says what is wrong.
    """
    try:
        request = Request(config, IterUnreader([head]), client)
    except ParseException:
        return None
    if request.version != (1, 1) or request.should_close():
        return None
    environ = {"REQUEST_METHOD": request.method, "wsgi.input": BytesIO(body)}
    for name, value in request.headers:
        key = name.replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def answer(
    status: str, headers: Iterable[tuple[str, str]], body: bytes, connection: str = "keep-alive"
) -> bytes:
    """All of an answer; *status* is code and phrase."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    head = (
        f"HTTP/1.1 {status}\r\nServer: {SERVER}\r\nDate: {_date(int(time.time()))}\r\n"
        f"Connection: {connection}\r\n{lines}\r\n"
    )
    return head.encode("latin-1") + body


def refusal(name: str) -> bytes:
    """What an application without a door says of a request that is not read."""
    status = HTTPStatus(problems.KINDS[name].status)
    return answer(f"{status.value} {status.phrase}", [("Content-Length", "0")], b"", "close")


@lru_cache(1)
def _date(second: int) -> str:
    return str(util.http_date(second))
