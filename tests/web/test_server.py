"""The web service under gunicorn, on loopback."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from local.aws.lambda_container import HOST, free_ports, wait_for

from ..support import models

ROOT = Path(__file__).parents[2]
BODY = b'{"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66}'
REQUEST = (
    b"POST /predict HTTP/1.1\r\nHost: rides\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY)
) + BODY
STOP_SECONDS = 30

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_onnx(tmp_path_factory.mktemp("line"))


@contextmanager
def server(
    location: Path, port: int = 0, *options: str, **settings: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run gunicorn with two workers; yield the process and its port."""
    port = port or free_ports()[0]
    environ = {**os.environ, "MODEL_LOCATION": str(location), "WEB_CONCURRENCY": "2", **settings}
    command = [sys.executable, "-m", "gunicorn", f"--bind={HOST}:{port}", *options, "predict:app"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(port)
            yield process, port
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


@pytest.fixture(scope="module")
def port(line: Path) -> Iterator[int]:
    with server(line) as (_, port):
        yield port


def send(port: int, path: str = "/predict", body: bytes | None = BODY) -> tuple[int, bytes]:
    connection = HTTPConnection(HOST, port, timeout=30)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def connect_and_send(port: int) -> str:
    """Send one request on a new connection, and return what happened to it."""
    try:
        client = socket.create_connection((HOST, port), 30)
    except ConnectionRefusedError:
        time.sleep(0.01)
        return "refused"
    with client:
        try:
            client.sendall(REQUEST)
            return "answered" if client.recv(12) == b"HTTP/1.1 200" else "another response"
        except OSError as exc:
            return type(exc).__name__


def test_predict_returns_the_duration(port: int) -> None:
    status, body = send(port)

    assert status == 200
    assert json.loads(body)["duration"] == pytest.approx(20.3)
    assert send(port, "/readyz", None)[0] == 200


def test_metrics_are_summed_over_workers(line: Path) -> None:
    with server(line) as (_, port):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: send(port)[0], range(200)))
        counted = send(port, "/metrics", None)[1].decode()

    assert answers == [200] * 200
    [count] = re.findall(r'http_requests_total\{route="/predict",status="200"\} (\S+)', counted)
    assert float(count) == 200


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_metrics_survive_a_reload_with_new_workers(line: Path) -> None:
    with server(line) as (process, port):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        answers = [send(port)[0] for _ in range(3)]
        before = set(children.read_text().split())
        assert before

        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while before & (now := set(children.read_text().split())) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert now and not before & now
        answers += [send(port)[0] for _ in range(2)]
        counted = send(port, "/metrics", None)[1].decode()

    assert answers == [200] * 5
    assert 'http_requests_total{route="/predict",status="200"} 5.0' in counted


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_server_raises_the_limit_on_open_files(line: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (min(1024, hard), hard)
    )  # the usual soft limit of a shell
    try:
        with server(line) as (process, _):
            limits = Path(f"/proc/{process.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    [files] = re.findall(r"Max open files +(\d+)", limits)
    assert int(files) > 2000


def test_slow_clients_do_not_delay_others(port: int) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: rides\r\nContent-Length: {len(BODY)}\r\n".encode()
    with ExitStack() as stack:
        for _ in range(100):
            slow = stack.enter_context(socket.create_connection((HOST, port), 10))
            slow.sendall(head)

        began = time.monotonic()
        answers = [send(port)[0] for _ in range(20)]
        took = time.monotonic() - began

    assert answers == [200] * 20
    assert took < 5


def test_1000_simultaneous_connections_are_answered(port: int) -> None:
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((HOST, port), 30)) for _ in range(1000)
        ]
        for client in clients:
            client.sendall(REQUEST)
        heads = [client.recv(12) for client in clients]

    assert heads == [b"HTTP/1.1 200"] * 1000


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: rides\r\nContent-Length: 99999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: rides\r\n" + b"X: " + b"y" * 40_000 + b"\r\n\r\n",
    ],
    ids=["nonsense", "oversized", "long header"],
)
def test_invalid_request_gets_a_problem_that_does_not_repeat_it(port: int, sent: bytes) -> None:
    with socket.create_connection((HOST, port), 10) as client:
        client.sendall(sent)
        answer = client.recv(65536)

    assert re.match(rb"HTTP/1\.1 4\d\d ", answer)
    assert b"application/problem+json" in answer
    assert b"nonsense" not in answer
    assert send(port)[0] == 200


def test_request_that_has_begun_is_answered_after_sigterm(line: Path) -> None:
    head = (
        b"POST /predict HTTP/1.1\r\nHost: rides\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(BODY)
    )
    with server(line) as (process, port), ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((HOST, port), 30)) for _ in range(50)
        ]
        for client in clients:
            client.sendall(head)
        time.sleep(0.5)  # each has been accepted

        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        for client in clients:
            client.sendall(BODY)
        heads = [client.recv(12) for client in clients]
        assert process.wait(STOP_SECONDS) == 0

    assert heads == [b"HTTP/1.1 200"] * 50


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"MODEL_LOCATION": ""}, "MODEL_LOCATION is not set"),
        ({"MODEL_LOCATION": "build/nowhere"}, "cannot read build/nowhere"),
        ({"LOG_LEVEL": "loud", "BIND": "everywhere"}, "BIND must be"),
    ],
)
def test_failed_start_prints_one_sentence_and_leaves_no_files(
    line: Path, tmp_path: Path, settings: dict[str, str], text: str
) -> None:
    scratch = {"MODEL_LOCATION": str(line), "TMPDIR": str(tmp_path)}
    environ = {**os.environ, **scratch, **settings}
    command = [sys.executable, "-m", "gunicorn", f"--bind={HOST}:{free_ports()[0]}", "predict:app"]

    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode != 0
    assert "cannot start: " in done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_every_accepted_connection_is_answered_while_the_port_closes(line: Path) -> None:
    found: Counter[str] = Counter()
    ended = threading.Event()

    def send_repeatedly(port: int) -> None:
        while not ended.is_set():
            found[connect_and_send(port)] += 1

    with server(line) as (process, port), ThreadPoolExecutor(8) as pool:
        try:
            clients = [pool.submit(send_repeatedly, port) for _ in range(8)]
            time.sleep(2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_SECONDS) == 0
        finally:
            ended.set()
        for client in clients:
            client.result(STOP_SECONDS)

    assert found["answered"] > 100
    assert set(found) <= {"answered", "refused"}


def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    rides = [
        b'{"PULocationID": 130, "DOLocationID": 205, "trip_distance": %d}' % n for n in range(50)
    ]
    sent = b"".join(
        b"POST /predict HTTP/1.1\r\nHost: rides\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(ride), ride)
        for ride in rides
    )
    with socket.create_connection((HOST, port), 10) as client:
        client.sendall(sent)
        found = b""
        while found.count(b'"duration":') < 2 * len(rides):  # the value and the version
            found += client.recv(65536)

    assert [float(value) for value in re.findall(rb'\{"duration":([0-9.]+)', found)] == [
        pytest.approx(5.0 * n + 2) for n in range(50)
    ]


def test_unread_body_is_not_parsed_as_the_next_request(port: int) -> None:
    connection = HTTPConnection(HOST, port, timeout=10)
    statuses = []
    for media_type in ("text/plain", "application/json", "text/plain", "application/json"):
        connection.request("POST", "/predict", BODY, {"Content-Type": media_type})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()

    assert statuses == [415, 200, 415, 200]


def test_invalid_number_of_workers_is_reported_in_one_sentence(line: Path) -> None:
    environ = {**os.environ, "MODEL_LOCATION": str(line), "WEB_CONCURRENCY": "many"}

    done = subprocess.run(
        [sys.executable, "serve.py"],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr == (
        "cannot start: WEB_CONCURRENCY must be a number of workers, or 0 for one worker per CPU\n"
    )


def test_help_needs_no_settings() -> None:
    environ = {**os.environ, "MODEL_LOCATION": "", "WEB_CONCURRENCY": "many"}

    done = subprocess.run(
        [sys.executable, "serve.py", "--help"],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert "--bind" in done.stdout


def test_idle_connection_is_served_after_sigterm_and_does_not_delay_the_stop(line: Path) -> None:
    with server(line) as (process, port):
        idle, late = (HTTPConnection(HOST, port, timeout=10) for _ in range(2))
        for connection in (idle, late):
            connection.request("GET", "/livez")
            connection.getresponse().read()

        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        late.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
        answer = late.getresponse()

        assert (answer.status, answer.getheader("Connection")) == (200, "close")
        assert process.wait(STOP_SECONDS) == 0
        assert time.monotonic() - began < 10
        idle.close()
        late.close()


def test_new_server_takes_over_the_port_and_reset_clients_can_retry(
    line: Path, tmp_path: Path
) -> None:
    def send_with_retry(port: int) -> tuple[int, bytes]:
        try:
            return send(port)
        except ConnectionResetError:  # at the moment of closing, as docs/web.md says
            return send(port)

    other = models.write_onnx(tmp_path, run_id="the-new-champion")
    port, _ = free_ports()
    found: list[tuple[int, bytes]] = []
    with (
        server(line, port, "--reuse-port") as (old, _),
        ThreadPoolExecutor(4) as pool,
        server(other, port, "--reuse-port"),
    ):
        time.sleep(3)  # until the new server listens, too
        futures = [
            pool.submit(lambda: [send_with_retry(port) for _ in range(200)]) for _ in range(4)
        ]
        time.sleep(0.2)
        old.send_signal(signal.SIGTERM)
        assert old.wait(STOP_SECONDS) == 0
        found = [answer for each in futures for answer in each.result(60)]
        after = send(port)

    assert {status for status, _ in found} == {200}
    assert b"the-new-champion" in after[1]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["sh", "examples/quote.sh"], '"duration":20.3'),
        ([sys.executable, "examples/quote.py"], "a ride: 20.3 minutes\nwrong: Expected"),
        (["node", "examples/quote.mjs"], "20.3 minutes\n"),
    ],
    ids=["curl", "Python", "JavaScript"],
)
def test_example_prints_a_quote_or_reports_a_missing_server(
    port: int, command: list[str], text: str
) -> None:
    def run(port: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, f"http://{HOST}:{port}"],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    running, missing = run(port), run(free_ports()[0])

    assert (running.returncode, running.stderr) == (0, "")
    assert text in running.stdout
    assert (missing.returncode != 0, missing.stdout.strip()) == (True, "")
    assert missing.stderr.count("\n") == 1
