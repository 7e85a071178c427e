"""The worker in this process, on loopback sockets; test_server covers whole servers."""

from __future__ import annotations

import os
import re
import resource
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.errors import InvalidHeader
from hypothesis import given, settings
from hypothesis import strategies as st

from local.aws.lambda_container import HOST
from model_service.models.served import Models, Served
from model_service.scoring import Target
from model_service.web import app as web
from model_service.web import middleware
from model_service.web.worker import Worker

from ..support.factories import FakeModel

RIDE = b'{"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66}'
JSON = b"Content-Type: application/json\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NEW_EACH_TIME = re.compile(rb"(Date: |X-Request-ID: )[^\r]*\r\n")


@pytest.fixture
def lines() -> list[bytes]:
    """The lines of the log."""
    return []


@pytest.fixture
def app(lines: list[bytes]) -> Flask:
    return web.create_app(Models(Served(FakeModel(), Target())), write=lines.append)


class Application:
    """The part of gunicorn's application that its worker uses."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    def wsgi(self) -> Callable[..., Any]:
        return self.app


@contextmanager
def worker_of(app: Callable[..., Any], path: str = "", **options: object) -> Iterator[Worker]:
    """Run a worker on *path* or a port; tests dispatch its events."""
    config = Config()
    for name, value in {"workers": 2, "keepalive": 75, **options}.items():
        config.set(name, value)
    listening = _local(path) if path else socket.create_server((HOST, 0))
    with listening as listener, selectors.DefaultSelector() as poller:
        listener.setblocking(False)
        worker = Worker(1, os.getpid(), [listener], Application(app), 30, config, Logger(config))
        worker.poller, worker.alive, worker.tpool = poller, True, worker.get_thread_pool()
        queue = worker.method_queue
        queue.init()
        poller.register(queue.fileno(), selectors.EVENT_READ, queue.run_callbacks)
        worker.load_wsgi()
        worker.set_accept_enabled(True)
        try:
            yield worker
            dispatch(worker, lambda: not worker.nr_conns)  # all connections are closed
            assert not worker.nr_conns
        finally:
            worker.tpool.shutdown()
            queue.close()
            worker.tmp.close()


def _local(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def dispatch(worker: Worker, until: Callable[[], object]) -> None:
    """Dispatch events like `Worker.run`, for at most a second."""
    end = time.monotonic() + 1
    while not until() and time.monotonic() < end:
        if worker.alive:
            worker.set_accept_enabled(True)
        worker.wait_for_and_dispatch_events(0.01)
        worker.murder_keepalived()


def receive(worker: Worker, client: socket.socket) -> bytes:
    """Return the next response, without its date and its id."""
    found = bytearray()

    def ended() -> bool:
        with suppress(BlockingIOError):
            found.extend(client.recv(65536))
        length = re.search(rb"Content-Length: (\d+)", found)
        head = found.find(b"\r\n\r\n") + 4
        return length is not None and len(found) >= head + int(length[1])

    client.setblocking(False)
    dispatch(worker, ended)
    return NEW_EACH_TIME.sub(rb"\1\r\n", bytes(found))


def answer(worker: Worker, sent: bytes) -> bytes:
    """Send a request on a new connection, and return its response."""
    with socket.create_connection(worker.sockets[0].getsockname(), 5) as client:
        client.sendall(sent)
        return receive(worker, client)


def connect(stack: ExitStack, listener: socket.socket, clients: int) -> None:
    """Open connections that wait to be accepted."""
    for _ in range(clients):
        stack.enter_context(socket.create_connection(listener.getsockname(), 5))


def request(headers: bytes = JSON, body: bytes = RIDE, version: bytes = b"1.1") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST /predict HTTP/%s\r\nHost: rides\r\n%s%s\r\n%s" % (version, headers, length, body)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(), b"200 OK"),
        (request(body=b'{"ride": %s, "ride_id": "a"}' % RIDE), b"200 OK"),
        (request(b"content-type: Application/JSON; charset=utf-8\r\n"), b"200 OK"),
        (request(JSON + b"X-Request-ID: mine\r\n"), b"200 OK"),
        (request(JSON + b"X-Request-ID: not allowed\r\n"), b"200 OK"),
        (request(JSON + b"Expect: 100-continue\r\n"), b"200 OK"),
        (request(JSON + b"Content-Encoding: identity\r\n"), b"200 OK"),
        (request(JSON + b"Content-Encoding: gzip\r\nContent-Encoding: identity\r\n"), b"415 "),
        (request(JSON + b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n"), b"415 "),
        (request(b""), b"415 "),
        (request(b"Content-Type: text/plain\r\n"), b"415 "),
        (request(body=b""), b"400 "),
        (request(body=b"{"), b"400 "),
        (request(body=b"{}"), b"422 "),
        (request(body=b'{"PULocationID": 266}'), b"422 "),
        (b"POST /predict HTTP/1.1\r\nHost: rides\r\n%s\r\n" % JSON, b"411 "),
        (request(JSON + b"Content-Length: 4\r\n"), b"400 "),
        (request(JSON + b"Bad Name: 1\r\n"), b"400 "),
        (request(JSON, version=b"1.0"), b"200 OK"),
        (request(JSON + b"Connection: close\r\n"), b"200 OK"),
    ],
)
def test_direct_path_gives_the_same_response_as_gunicorn(
    app: Flask, lines: list[bytes], sent: bytes, status: bytes
) -> None:
    with worker_of(app) as worker:
        assert worker.quick
        quick = answer(worker, sent)
    with worker_of(app) as worker:
        worker.quick = False
        usual = answer(worker, sent)

    assert b" " + status in quick.partition(b"\r\n")[0] + b"\r\n"
    assert quick == usual.removeprefix(CONTINUE)
    known = [re.sub(rb'"(time|ms|request_id)":[^,}]+', b"", line) for line in lines]
    assert len(known) == 2 and len(set(known)) == 1


LINES = [
    *(b"POST /predict HTTP/1.0", b"POST /predict HTTP/1.2", b"POST /predict HTTP/2.0"),
    *(b"POST /predict HTTP/1.1\nX: y", b"POST /predict HTTP/1.1\0", b"POST /predict"),
    *(b"POST /predict  HTTP/1.1", b"POST /predict? HTTP/1.1", b"POST http://a/predict HTTP/1.1"),
    *(b"post /predict HTTP/1.1", b"GET /predict HTTP/1.1", b"POST /predict/batch HTTP/1.1"),
]
LENGTHS = [b"%020d", b"9%020d", b"9%05000d", b"+%d", b"\t%d\t", b"1%d"]
HEADERS = [
    *(b"Connection: close", b"Connection: Keep-Alive", b"Connection: Upgrade, close"),
    *(b"Content-Length: 5", b"Content-Length : 5", b"Content_Length: 5", b"Upgrade: h2c"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer_Encoding: chunked"),
    *(b"transfer-encoding:\tIdentity, CHUNKED", b"Expect: 100-continue", b"Expect: no"),
    *(
        b"X-Request-ID: mine",
        b"X-Request-ID: \xe9",
        b"Content-Type: a/b",
        b"Content-Encoding: gzip",
    ),
    *(
        b" folded: 1",
        b"no colon",
        b": no name",
        b"X: \0",
        b"X: a\nb",
        b"X: a\rb",
        b"X: " + b"y" * 9000,
    ),
]
BODIES = [RIDE, b"", b"{", b"5\r\n{}\r\n0\r\n\r\n", request()]


@st.composite
def packets(draw: st.DrawFn) -> list[bytes]:
    """A request with at most one unusual part: its head in two pieces, and its body."""
    some = st.sampled_from
    line, length, headers = b"POST /predict HTTP/1.1", b"%d", [JSON.strip()]
    match draw(some(["line", "length", "headers", "nothing"])):
        case "line":
            line = draw(some(LINES))
        case "length":
            length = draw(some(LENGTHS))
        case "headers":
            headers += draw(st.lists(some(HEADERS), min_size=1, max_size=2))
    body = draw(some(BODIES))
    headers.append(b"Content-Length: " + length % len(body))
    head = b"\r\n".join([line, b"Host: rides", *headers, b"", b""])
    cut = draw(st.integers(0, len(line)))
    return [head[:cut], head[cut:], body]


def exchange(worker: Worker, sent: list[bytes]) -> bytes:
    """Send all pieces, and return every byte received until the connection closes."""
    found: list[bytes] = []

    def ended() -> bool:
        with suppress(BlockingIOError):
            found.append(client.recv(65536))
        return b"" in found

    with socket.create_connection(worker.sockets[0].getsockname(), 5) as client:
        client.setblocking(False)
        dispatch(worker, lambda: worker.nr_conns)
        with suppress(OSError):  # already closed
            for some in sent:
                client.sendall(some)
                worker.wait_for_and_dispatch_events(0.001)
            client.shutdown(socket.SHUT_WR)
        dispatch(worker, ended)
    dispatch(worker, lambda: not worker.nr_conns)
    return NEW_EACH_TIME.sub(rb"\1\r\n", b"".join(found)).replace(CONTINUE, b"")


def test_direct_path_treats_a_connection_like_gunicorn(
    app: Flask, lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "model_service.web.worker.STALL_SECONDS", 1
    )  # gunicorn waits this long for more data
    with worker_of(app) as quick, worker_of(app) as usual:
        usual.quick = False

        @given(st.lists(packets(), min_size=1, max_size=3), st.booleans())
        @settings(deadline=None, max_examples=300)
        def check(requests: list[list[bytes]], together: bool) -> None:
            sent = [packet for packets in requests for packet in packets if packet]
            sent = [b"".join(sent)] if together else sent
            lines.clear()
            assert exchange(quick, sent) == exchange(usual, sent)
            known = [re.sub(rb'"(time|ms|request_id)":[^,}]+', b"", line) for line in lines]
            assert known[: len(known) // 2] == known[len(known) // 2 :]

        check()
        assert quick.nr == usual.nr


@pytest.mark.parametrize(("digits", "status"), [(b"%020d", b"400 "), (b"9%020d", b"413 ")])
def test_body_is_not_parsed_as_a_request_for_any_content_length(
    app: Flask, digits: bytes, status: bytes
) -> None:
    body = request()
    head = b"POST /predict HTTP/1.1\r\nHost: rides\r\n%sContent-Length: %s\r\n\r\n"
    with worker_of(app) as worker:
        with socket.create_connection(worker.sockets[0].getsockname(), 5) as client:
            client.sendall(head % (JSON, digits % len(body)))
            dispatch(worker, lambda: worker.nr or any(conn.received for conn in worker.waiting))
            client.sendall(body)
            first = receive(worker, client)
        dispatch(worker, lambda: not worker.nr_conns)

        assert first.startswith(b"HTTP/1.1 " + status)
        assert worker.nr == 1


@pytest.mark.parametrize("wanted", [{"accesslog": "-"}, {"statsd_host": "localhost:8125"}])
def test_direct_path_is_off_while_gunicorn_logs_requests(
    app: Flask, wanted: dict[str, Any]
) -> None:
    with worker_of(app, **wanted) as worker:
        assert not worker.quick


def test_wrapper_around_the_application_sees_every_request(app: Flask) -> None:
    seen: list[str] = []

    def wrapped(environ: Any, start_response: Any) -> Any:
        seen.append(environ["PATH_INFO"])
        return app(environ, start_response)

    with worker_of(wrapped) as worker:
        assert answer(worker, request()).startswith(b"HTTP/1.1 200")

    assert seen == ["/predict"]


def test_connection_closes_if_keepalive_is_off(app: Flask) -> None:
    with worker_of(app, keepalive=0) as worker:
        assert b"\r\nConnection: close\r\n" in answer(worker, request())


TOO_LONG = b"GET /livez HTTP/1.1\r\nX: " + b"y" * 9000 + b"\r\n\r\n"
ENDLESS = b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (request(JSON + b"Content-Length: 4\r\n"), 400),
        (TOO_LONG, 431),
        (ENDLESS, 431),
        (b"POST /predict HTTP/1.1\r\n", 408),
    ],
    ids=["nonsense", "two lengths", "too long", "endless", "cut off"],
)
def test_unreadable_request_gets_a_problem_a_count_and_a_log_line(
    app: Flask,
    lines: list[bytes],
    sent: bytes,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("model_service.web.worker.REQUEST_SECONDS", 0.05)
    with worker_of(app) as worker:
        answered = answer(worker, sent)
    counted = app.test_client().get("/metrics").text

    line, _, rest = answered.partition(b"\r\n")
    found = BytesParser().parsebytes(rest)
    body = found.get_payload(decode=True)
    assert line.startswith(b"HTTP/1.1 %d " % status)
    assert isinstance(body, bytes) and msgspec.json.decode(body)["status"] == status
    assert found["Connection"] == "close"
    assert {*middleware.SECURITY_HEADERS, ("Cache-Control", "no-store")} <= set(found.items())
    assert "X-Request-ID" in found
    logged = msgspec.json.decode(lines[0])
    assert (logged["route"], logged["method"], logged["status"]) == ("other", "other", status)
    assert f'http_requests_total{{route="other",status="{status}"}} 1.0' in counted


def test_response_to_a_partly_read_request_closes_the_connection(app: Flask) -> None:
    chunked = (
        b"POST /predict HTTP/1.1\r\nHost: rides\r\nTransfer-Encoding: chunked\r\n%s\r\n" % JSON
    )
    with worker_of(app) as worker:
        assert b"\r\nConnection: close\r\n" in answer(worker, chunked)


def test_plain_request_for_a_ride_takes_the_direct_path(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled: list[bytes] = []
    monkeypatch.setattr(Worker, "handle", lambda *_: handled.append(b"by gunicorn"))

    with worker_of(app) as worker:
        assert b" 200 OK" in answer(worker, request())
        assert worker.nr == 1
        assert not handled


@pytest.mark.parametrize("reason", ["stops", "reached its maximum of requests"])
def test_last_response_of_a_worker_closes_the_connection(app: Flask, reason: str) -> None:
    with worker_of(app) as worker:
        address = worker.sockets[0].getsockname()
        with socket.create_connection(address, 5) as client:
            client.sendall(request())
            assert b"Connection: keep-alive" in receive(worker, client)
            [conn] = worker.waiting
            assert conn.timeout > time.monotonic() + 60  # keepalive is 75 seconds

            worker.alive = reason != "stops"
            worker.max_requests = (
                2 if reason == "reached its maximum of requests" else worker.max_requests
            )
            client.sendall(request())
            assert b"Connection: close" in receive(worker, client)
            assert not worker.alive


def test_client_that_disconnects_affects_no_other_connection(app: Flask) -> None:
    with worker_of(app) as worker, ExitStack() as stack:
        address = worker.sockets[0].getsockname()
        gone, stays = (stack.enter_context(socket.create_connection(address, 5)) for _ in range(2))
        dispatch(worker, lambda: worker.nr_conns == 2)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.sendall(request())
        gone.close()  # resets the connection
        stays.sendall(request())

        assert receive(worker, stays).startswith(b"HTTP/1.1 200")
        dispatch(worker, lambda: worker.nr_conns == 1)
        assert worker.nr_conns == 1


def test_error_response_to_a_disconnected_client_raises_nothing(app: Flask) -> None:
    here, gone = socket.socketpair()
    gone.close()

    with worker_of(app) as worker, here:
        worker.handle_error(None, here, "", InvalidHeader("X"))


def test_worker_accepts_its_share_and_then_pauses(app: Flask) -> None:
    with worker_of(app, workers=4) as worker, ExitStack() as stack:
        [listener] = worker.sockets
        connect(stack, listener, 15)

        worker.accept(listener)
        assert worker.nr_conns == 4
        worker.set_accept_enabled(True)
        assert listener not in {key.fileobj for key in worker.poller.get_map().values()}

        dispatch(worker, lambda: worker.nr_conns == 15)  # if no other worker takes them
        assert worker.nr_conns == 15


def test_worker_sends_a_heartbeat_when_it_answers(app: Flask) -> None:
    with worker_of(app) as worker:
        before = worker.tmp.last_update()
        answer(worker, request())
        assert worker.tmp.last_update() != before


def test_worker_sleeps_longer_when_full_than_when_pausing(app: Flask) -> None:
    def seconds(worker: Worker) -> float:
        began = time.monotonic()
        worker.wait_for_and_dispatch_events(0.2)
        return time.monotonic() - began

    with worker_of(app, worker_connections=2) as worker, ExitStack() as stack:
        [listener] = worker.sockets
        for most, least in ((0.1, 0.0), (1.0, 0.19)):
            stack.enter_context(socket.create_connection(listener.getsockname(), 5))
            worker.accept(listener)
            assert least <= seconds(worker) <= most


def test_worker_accepts_at_most_its_number_of_connections(app: Flask) -> None:
    with worker_of(app, workers=1, worker_connections=3) as worker, ExitStack() as stack:
        [listener] = worker.sockets
        connect(stack, listener, 15)

        worker.accept(listener)

        assert worker.nr_conns == 3


def test_worker_out_of_file_descriptors_serves_open_connections(app: Flask) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with worker_of(app) as worker, ExitStack() as stack:
        address = worker.sockets[0].getsockname()
        first, second = (
            stack.enter_context(socket.create_connection(address, 5)) for _ in range(2)
        )
        dispatch(worker, lambda: worker.nr_conns == 1)

        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            worker.accept(worker.sockets[0])
            assert worker.accept_at > time.monotonic() + 0.1
            first.sendall(request())
            assert receive(worker, first).startswith(b"HTTP/1.1 200")
            assert worker.nr_conns == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        second.sendall(request())
        assert receive(worker, second).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])  # the direct path, and gunicorn
def test_unix_socket_is_served(app: Flask, tmp_path: Path, connection: bytes) -> None:
    path = str(tmp_path / "service")
    with worker_of(app, path) as worker, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(request(JSON + b"Connection: %s\r\n" % connection))

        assert b"Connection: %s\r\n" % connection in receive(worker, client)


def test_single_worker_accepts_all_connections(app: Flask) -> None:
    with worker_of(app, workers=1) as worker, ExitStack() as stack:
        [listener] = worker.sockets
        connect(stack, listener, 16)

        worker.accept(listener)

        assert worker.nr_conns == 16
        assert listener in {key.fileobj for key in worker.poller.get_map().values()}
