"""An HTTP proxy between boto3 and moto that injects faults into PutRecords and PutObject.

The faults are dealt in an order that follows from a seed: the nth call always gets the nth fault.
All other calls pass unchanged.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, NamedTuple
from urllib.parse import urlsplit

NONE = "none"
THROTTLED = "ProvisionedThroughputExceededException"
HTML = b"<html><body>Sign in to the guest network</body></html>"
SLOW_SECONDS = 0.7
LATE_SECONDS = 3.5  # longer than an invocation of the fault suite
CALM_CALLS = 20  # without a fault, for each round of faults
AWAY = "away before"
AWAY_CALLS = 8  # one after the other: an outage of S3, in which all calls fail
PARTLY_REFUSED = {"entries throttled": THROTTLED, "entries failed": "InternalFailure"}
KILLED = ("killed before", "killed after")

PUT_RECORDS_FAULTS = (
    "call throttled",
    "entries throttled",
    "entries failed",
    "500 before",
    "503 before",
    "500 after",
    "503 after",
    "truncated after",
    "invalid JSON after",
    "empty after",
    "HTML before",
    "HTML after",
    "null before",
    "list before",
    "null entries before",
    "entries without a sequence number before",
    "too few entries after",
    "not UTF-8 before",
    "reset before",
    "reset after",
    "slow",
    "late",
    *KILLED,
)
PUT_OBJECT_FAULTS = (
    AWAY,
    "403 before",
    "503 before",
    "500 after",
    "reset before",
    "reset after",
    "HTML before",
    "empty before",
    "not UTF-8 before",
    "slow",
    "late",
    *KILLED,
)
"""Faults by name: ``before`` and ``after`` say whether moto has applied the call."""


class Answer(NamedTuple):
    """An HTTP response; *length* is the Content-Length where it is not the body's."""

    status: int
    body: bytes
    headers: Sequence[tuple[str, str]] = ()
    length: int | None = None


@dataclass(slots=True)
class Faults:
    """Deals faults in rounds, each in a seeded order: every fault once, and *calm* times none.

    `AWAY` is dealt `AWAY_CALLS` times in a row.
    """

    kinds: Sequence[str]
    calm: int
    random: random.Random
    dealt: Counter[str] = field(default_factory=Counter)
    _round: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def __call__(self) -> str:
        with self._lock:
            if not self._round:
                once = [*self.kinds, *[NONE] * self.calm]
                self.random.shuffle(once)
                self._round = [
                    kind for kind in once for _ in range(AWAY_CALLS if kind == AWAY else 1)
                ]
            kind = self._round.pop()
            self.dealt[kind] += 1
            return kind


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy: its address and the faults of each operation."""

    endpoint: str
    put_records: Faults
    put_object: Faults


@contextmanager
def running(target: str, *, seed: int, stream: str, kill: Callable[[], None]) -> Iterator[Proxy]:
    """Run a proxy to *target* while the block lasts.

    Only PutRecords to *stream* and PutObject get faults.  *kill* ends the client's process.
    """
    put_records = Faults(PUT_RECORDS_FAULTS, CALM_CALLS, random.Random(f"{seed} PutRecords"))
    put_object = Faults(PUT_OBJECT_FAULTS, CALM_CALLS, random.Random(f"{seed} PutObject"))
    entries = random.Random(f"{seed} entries")
    address = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            operation = self.headers.get("X-Amz-Target", "").partition(".")[2]
            if operation == "PutRecords" and json.loads(body)["StreamName"] == stream:
                fault = put_records()
                if fault in PARTLY_REFUSED:
                    self.refuse_entries(body, fault)
                    return
            elif self.command == "PUT" and not operation:
                fault = put_object()
            else:
                fault = NONE
            self.answer_with(fault, body)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = forward

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def answer_with(self, fault: str, body: bytes) -> None:
            applied = None if fault.endswith("before") or fault == "call throttled" else body
            if fault in ("slow", "late"):
                time.sleep(SLOW_SECONDS if fault == "slow" else LATE_SECONDS)
            answer = Answer(200, b"") if applied is None else self.call(applied)
            if fault in KILLED:
                kill()
            if fault.startswith("reset") or fault == AWAY or fault in KILLED:
                self.reset()
            else:
                self.send(changed(fault, answer, body))

        def refuse_entries(self, body: bytes, fault: str) -> None:
            """Apply a part of the entries, and refuse the others inside a 200."""
            request = json.loads(body)
            refused = [entries.random() < 0.5 for _ in request["Records"]]
            code = PARTLY_REFUSED[fault]
            message = "Rate exceeded for shard shardId-000000000000 in stream, under account 0."
            reply: dict[str, Any] = {"FailedRecordCount": sum(refused), "Records": []}
            accepted = [
                record for record, no in zip(request["Records"], refused, strict=True) if not no
            ]
            applied: list[Any] = []
            if accepted:
                answer = self.call(json.dumps({**request, "Records": accepted}).encode())
                applied = json.loads(answer.body)["Records"]
            numbers = iter(applied)
            reply["Records"] = [
                {"ErrorCode": code, "ErrorMessage": message} if no else next(numbers)
                for no in refused
            ]
            self.send(Answer(200, json.dumps(reply).encode()))

        def call(self, body: bytes) -> Answer:
            """The answer of moto."""
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("host", "content-length", "expect", "connection")
            }
            connection = http.client.HTTPConnection(address, timeout=30)
            try:
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                return Answer(response.status, response.read(), response.getheaders())
            finally:
                connection.close()

        def send(self, answer: Answer) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            length = len(answer.body) if answer.length is None else answer.length
            self.send_header("Content-Length", str(length))
            try:
                self.end_headers()
                self.wfile.write(answer.body)
            except OSError:  # the client did not wait
                self.close_connection = True
            if answer.length is not None:
                self.close_connection = True

        def reset(self) -> None:
            """End the connection with a TCP reset."""
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # killed clients
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Proxy(f"http://127.0.0.1:{server.server_port}", put_records, put_object)
    finally:
        server.shutdown()
        server.server_close()


def changed(fault: str, answer: Answer, request: bytes) -> Answer:
    """*answer* as the client sees it under *fault*."""
    status = fault.partition(" ")[0]
    if status.isdigit():
        return Answer(int(status), b"")
    kind = fault.rpartition(" ")[0]
    if fault == "call throttled":
        return Answer(400, json.dumps({"__type": THROTTLED, "message": "slow down"}).encode())
    if kind == "truncated":
        return Answer(200, answer.body[: len(answer.body) // 2], (), len(answer.body))
    if kind == "too few entries":
        return Answer(200, _reply(json.loads(answer.body)["Records"][:-1]))
    if kind == "null entries":
        return Answer(200, _reply([None] * len(json.loads(request)["Records"])))
    if kind == "entries without a sequence number":
        shard = {"ShardId": "shardId-000000000000"}
        return Answer(200, _reply([shard] * len(json.loads(request)["Records"])))
    bodies = {
        "invalid JSON": answer.body[: len(answer.body) // 2],
        "empty": b"",
        "HTML": HTML,
        "null": b"null",
        "list": b"[]",
        "not UTF-8": b"\xff\xfe\x00{",
    }
    return Answer(200, bodies[kind]) if kind in bodies else answer


def _reply(records: Sequence[Any]) -> bytes:
    return json.dumps({"FailedRecordCount": 0, "Records": records}).encode()
