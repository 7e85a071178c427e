"""A server that stands in for the TLC's: real HTTP on loopback, and the troubles there are."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
MODIFIED = "Fri, 03 Mar 2023 10:00:00 GMT"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault in one response."""

    status: int = 0
    """Answered instead of the file."""
    headers: dict[str, str] = field(default_factory=dict)
    """Instead of, or beside, the right ones; an empty one is left out."""
    dies_after: int | None = None
    """Bytes of the body, whereupon the connection is closed."""
    hangs: bool = False
    """After `dies_after`, until the server is stopped."""
    ignores_range: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what became of it."""

    name: str
    headers: dict[str, str]
    status: int
    sent: int
    """Bytes of the body."""


class Archive(ThreadingHTTPServer):
    """The files that it has, the troubles that it will have, in order, and what it was asked."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__((HOST, 0), _Answer)
        self.files = files
        self.troubles: list[Trouble] = []
        self.asked: list[Asked] = []
        self.etag: str | None = None  # instead of one for each content
        self.hanging, self.stopped = threading.Event(), threading.Event()

    def handle_error(self, *_: Any) -> None:
        """A client that is gone is no error."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/trip-data"


@contextmanager
def archive(files: dict[str, bytes]) -> Iterator[Archive]:
    """A server of *files*, by name."""
    with Archive(files) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()


class _Answer(BaseHTTPRequestHandler):
    """Answers as S3 does, unless a `Trouble` says otherwise."""

    protocol_version = "HTTP/1.1"
    server: Archive

    def do_GET(self) -> None:
        name = self.path.removeprefix("/trip-data/")
        trouble = self.server.troubles.pop(0) if self.server.troubles else Trouble()
        content = self.server.files.get(name)
        headers: dict[str, str]
        if trouble.status or content is None:
            status, headers, body = trouble.status or 403, {}, b"<Error/>"
        else:
            status, headers, body = self._file(content, trouble.ignores_range)
        headers = {"Content-Length": str(len(body)), **headers, **trouble.headers}
        some = body[: trouble.dies_after]
        self.server.asked.append(Asked(name, dict(self.headers), status, len(some)))
        self.send_response(status)
        for key, value in headers.items():
            if value:
                self.send_header(key, value)
        self.end_headers()
        self.wfile.write(some)
        self.close_connection = len(some) < len(body) or bool(trouble.headers)
        if trouble.hangs:
            self.server.hanging.set()
            self.server.stopped.wait(30)

    def _file(self, content: bytes, whole: bool) -> tuple[int, dict[str, str], bytes]:
        etag = self.server.etag
        if etag is None:
            etag = f'"{hashlib.md5(content).hexdigest()}"'
        headers = {"ETag": etag, "Last-Modified": MODIFIED}
        asked = self.headers
        unchanged = asked["If-None-Match"] == etag if etag else asked["If-Modified-Since"]
        if unchanged:
            return 304, {**headers, "Content-Length": ""}, b""
        if whole or not asked["Range"] or asked["If-Range"] not in (None, etag):
            return 200, headers, content
        start = int(asked["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return 416, {"Content-Range": f"bytes */{len(content)}"}, b""
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return 206, {**headers, "Content-Range": span}, content[start:]

    def log_message(self, format: str, *args: Any) -> None:
        pass
