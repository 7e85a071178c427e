"""The web service behind nginx, with the configuration in examples/nginx.conf."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

import pytest

from local.aws.lambda_container import HOST, free_ports, wait_for

from ..support import models
from .test_server import BODY, REQUEST, STOP_SECONDS, load, send, server

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "examples" / "nginx.conf"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx"),
]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_onnx(tmp_path_factory.mktemp("line"))


@contextmanager
def proxy(directory: Path, *ports: int) -> Iterator[int]:
    """Run nginx in front of servers on *ports*; yield its port."""
    port, _ = free_ports()
    first, second = ports if len(ports) == 2 else (*ports, *ports)
    text = CONFIG.read_text()
    for old, new in (("8080", port), ("9696", first), ("9697", second)):
        text = text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
    text = text.replace("/tmp/rides-nginx.pid", str(directory / "pid"))
    config = directory / "nginx.conf"
    config.write_text(f"daemon off;\nerror_log {directory}/errors;\n{text}")
    command = ["nginx", "-p", str(directory), "-c", str(config), "-e", str(directory / "errors")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port)
            yield port
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def test_sigterm_under_load_loses_no_request(line: Path, tmp_path: Path) -> None:
    with (
        server(line) as (old, first),
        server(line) as (_, second),
        proxy(tmp_path, first, second) as port,
        load(port) as found,
    ):
        time.sleep(1)
        old.send_signal(signal.SIGTERM)
        assert old.wait(STOP_SECONDS) == 0
        with server(line, first):
            time.sleep(1)

    assert found["answered"] > 20
    assert set(found) == {"answered"}


@pytest.mark.parametrize(
    "sent", [REQUEST.partition(b"\r\n\r\n")[0], REQUEST[:-1]], ids=["head", "body"]
)
def test_200_slow_clients_do_not_delay_others(line: Path, tmp_path: Path, sent: bytes) -> None:
    with server(line) as (_, first), proxy(tmp_path, first) as port, ExitStack() as stack:
        for _ in range(200):
            slow = stack.enter_context(socket.create_connection((HOST, port), 10))
            slow.sendall(sent)

        began = time.monotonic()
        answers = [send(port)[0] for _ in range(20)]
        took = time.monotonic() - began

    assert answers == [200] * 20
    assert took < 20


def test_links_have_the_prefix_of_the_proxy(line: Path, tmp_path: Path) -> None:
    with server(line) as (_, first), proxy(tmp_path, first) as port:
        document = json.loads(send(port, "/taxi/openapi.json", None)[1])
        status, problem = send(port, "/taxi/predict", b"{}")
        statuses = [send(port, f"/taxi/{path}", None)[0] for path in ("", "docs", "docs.css")]
        quote = send(port, "/taxi/predict")

    assert document["servers"] == [{"url": "/taxi"}]
    assert (status, json.loads(problem)["type"]) == (422, "/taxi/docs#invalid-ride")
    assert statuses == [200] * 3
    assert quote[0] == 200


SMUGGLED = b"POST /predict HTTP/1.1\r\nHost: rides\r\nX-Request-ID: smuggled\r\n"
LINE = b"POST /predict HTTP/1.1\r\n"
JSON = b"Host: rides\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)


LENGTHS = [
    b"+5",
    b"-5",
    b"5, 5",
    b"5,6",
    b"0x5",
    b"5_0",
    b"",
    b"5\x0b",
    b"999999999999999999999999999999",
    b"5 5",
    b"\xb2",
]
CODINGS = [
    b"xchunked",
    b"chunked, identity",
    b"identity, chunked",
    b"chunked\x0b",
    b"\x0bchunked",
    b"chunked, chunked",
    b"CHUNKED",
    b'"chunked"',
    b"identity",
    b"gzip, chunked",
    b"",
]
SIZES = [
    b"0x5",
    b"-5",
    b"+5",
    b"5_0",
    b"G",
    b"",
    b"00000000000000000000000000000000000000005",
    b"ffffffffffffffffffff",
    b"5 x",
    b" 5",
    b"5;a=\n",
]
FIELDS = [
    b"Content-Length : 5",
    b"Content_Length: 5",
    b"Transfer-Encoding : chunked",
    b" folded: 1",
    b"Transfer_Encoding: chunked",
    b"Transfer-Encoding\t: chunked",
    b"X: a\rContent-Length: 5",
    b"X: a\nContent-Length: 5",
    b"X: \0",
    b": empty",
    b"no colon",
    b"X: a\r\n Content-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Host: other",
    b"Transfer-Encoding: \r\n chunked",
    b"Connection: Content-Length",
    b"Connection: Transfer-Encoding",
    b"Expect: 200-ok",
]
LINES = [
    b"POST /predict HTTP/1.0",
    b"POST /predict HTTP/1.2",
    b"POST /predict HTTP/2.0",
    b"POST /predict",
    b"POST  /predict HTTP/1.1",
    b"POST /predict HTTP/1.1 HTTP/1.1",
    b"POST http://a/predict HTTP/1.1",
    b"post /predict HTTP/1.1",
    b"GET /predict HTTP/1.1",
    b"POST /predict\0 HTTP/1.1",
    b"P@ST / HTTP/1.1",
    b"POST /predict HTTP/1.1\rX: y",
    b"\r\n\r\nPOST /predict HTTP/1.1",
    b"POST \\predict HTTP/1.1",
]


def malformed_requests() -> list[bytes]:
    """Return more than 90 requests that servers and proxies are known to read in different ways."""
    rest = b"\r\n" + SMUGGLED + LENGTH + b"\r\n" + BODY
    chunks = b"\r\n0\r\n\r\n" + SMUGGLED + LENGTH + b"\r\n" + BODY
    found = [LINE + JSON + b"Content-Length: " + length + b"\r\n" + rest for length in LENGTHS]
    found += [
        LINE + JSON + b"Transfer-Encoding: " + coding + b"\r\n" + extra + chunks
        for coding, extra in product(CODINGS, (b"", b"Content-Length: 5\r\n"))
    ]
    found += [LINE + JSON + CHUNKED + b"\r\n" + size + b"\r\n{    " + chunks for size in SIZES]
    found += [
        LINE + JSON + field + b"\r\n" + extra + chunks
        for field, extra in product(FIELDS, (b"", CHUNKED))
    ]
    found += [line + b"\r\n" + JSON + LENGTH + b"\r\n" + BODY + rest for line in LINES]
    return found


def send_and_ignore(port: int, sent: bytes) -> None:
    """Send bytes on a connection of their own, and read until the server closes or is silent."""
    with socket.create_connection((HOST, port), 10) as client:
        client.settimeout(0.2)
        try:
            client.sendall(sent)
            while client.recv(65536):
                pass
        except OSError:
            return


def test_malformed_requests_do_not_change_the_answers_to_others(line: Path, tmp_path: Path) -> None:
    sent = malformed_requests()
    found: list[tuple[int, object]] = []
    with server(line, WEB_CONCURRENCY="1") as (_, first), proxy(tmp_path, first) as port:
        for n, malformed in enumerate(sent):
            send_and_ignore(port, malformed)
            body = b'{"ride": %b, "ride_id": %d}' % (BODY, n)
            status, answer = send(port, "/predict", body)
            found.append((status, json.loads(answer).get("ride_id")))

    assert len(sent) >= 90
    assert found == [(200, n) for n in range(len(sent))]


def test_malformed_requests_do_not_end_the_server(line: Path) -> None:
    with server(line, WEB_CONCURRENCY="1") as (_, port):
        for malformed in malformed_requests():
            send_and_ignore(port, malformed)
        assert send(port)[0] == 200
