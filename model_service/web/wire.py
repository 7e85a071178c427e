"""Parses requests and builds responses for the direct path from a socket to `routes.predict`.

gunicorn needs as long as scoring a ride to build the full WSGI environ and the response.  So
`worker` sends a plain request for one ride on the direct path, which skips both.  gunicorn's own
parser still reads the head (the request line and the headers) of every request.
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

# The pattern allows as many digits as `int` and gunicorn accept.  If it allowed fewer, the body
# after a longer number would be read as the next request.
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,4300})[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
RIDE = b"POST /predict "  # requests that may take the direct path


class Door(NamedTuple):
    """The interface, besides WSGI, through which the worker calls the application.

    Both functions return the bytes of a whole HTTP response.
    """

    quote: Callable[[WSGIEnvironment], bytes]
    """Answers the request whose environ `plain` returned; the connection stays open."""
    refuse: Callable[[str], bytes]
    """Answers a request that was not read with a problem; the worker must close the connection.

    The argument is a key of `problems.KINDS`.
    """


DOOR = "door"
"""The key of the `Door` in a Flask application's ``extensions``."""


class Body(NamedTuple):
    """The body of a request, as described by the request's head."""

    length: int
    """Content-Length in bytes; 0 if absent."""
    wanted: bool
    """Whether to wait for the whole body: True if it is neither too large nor chunked."""


def body_of(head: bytes) -> Body:
    """Return the description of the body that *head* contains.

    >>> body_of(b"POST / HTTP/1.1\\r\\nContent-Length: 66\\r\\n\\r\\n")
    Body(length=66, wanted=True)
    """
    found = CONTENT_LENGTH.search(head)
    length = int(found[1]) if found else 0
    return Body(length, wanted=length <= MAX_BODY and CHUNKED.search(head) is None)


def plain(config: Any, head: bytes, body: bytes, client: Any) -> WSGIEnvironment | None:
    """Return the entries of the WSGI environ that `routes.predict` needs.

    Returns None if gunicorn has to handle the request: because the request asks to close the
    connection, is not HTTP/1.1, or is malformed.  gunicorn parses a malformed request again and
    reports the error.
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
    """Return the bytes of a whole response; *status* is the code and phrase, like "200 OK"."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    head = (
        f"HTTP/1.1 {status}\r\nServer: {SERVER}\r\nDate: {_date(int(time.time()))}\r\n"
        f"Connection: {connection}\r\n{lines}\r\n"
    )
    return head.encode("latin-1") + body


def refusal(name: str) -> bytes:
    """Return the response to a request that is not read, for an application without a `Door`.

    *name* is a key of `problems.KINDS`.
    """
    status = HTTPStatus(problems.KINDS[name].status)
    return answer(f"{status.value} {status.phrase}", [("Content-Length", "0")], b"", "close")


@lru_cache(1)
def _date(second: int) -> str:
    return str(util.http_date(second))
