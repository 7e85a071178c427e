"""The web service under gunicorn, on loopback."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest

from local.aws.lambda_container import HOST, free_ports, wait_for
from model_service.web import quotes

from ..support import models

ROOT = Path(__file__).parents[2]
BODY = b'{"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66}'
REQUEST = (
    b"POST /predict HTTP/1.1\r\nHost: rides\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY)
) + BODY
STOP_SECONDS = 30
NO_REGION = {
    "AWS_REGION": "",
    "AWS_DEFAULT_REGION": "",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_onnx(tmp_path_factory.mktemp("line"))


VERSIONS = {
    "gunicorn 26": "",
    "gunicorn 27": str(ROOT / "tools/gunicorn/.venv/lib/python3.13/site-packages"),
}
"""Version of gunicorn -> the directory of packages that has it, if it is not the usual one."""


@contextmanager
def server(
    location: Path, port: int = 0, *options: str, gunicorn: str = "gunicorn 26", **settings: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run gunicorn with two workers; yield the process and its port when it answers."""
    port = port or free_ports()[0]
    environ = {
        **os.environ,
        "MODEL_LOCATION": str(location),
        "WEB_CONCURRENCY": "2",
        "PYTHONPATH": VERSIONS[gunicorn],
        **settings,
    }
    command = [sys.executable, "-m", "gunicorn", f"--bind={HOST}:{port}", *options, "predict:app"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(port)
            wait_for_worker(port)
            yield process, port
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def wait_for_worker(port: int) -> None:
    """Wait until a worker reads from a connection, and answers or closes it."""
    with socket.create_connection((HOST, port), STOP_SECONDS) as client, suppress(OSError):
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: rides\r\nConnection: close\r\n\r\n")
        client.recv(1)


@pytest.fixture(params=list(VERSIONS))
def gunicorn(request: pytest.FixtureRequest) -> str:
    """A version of gunicorn."""
    version: str = request.param
    if VERSIONS[version] and not Path(VERSIONS[version]).exists():
        pytest.skip("needs make tools/gunicorn/.venv/installed")
    return version


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
    except ConnectionResetError as exc:  # the port was closed between the packets of connecting
        return type(exc).__name__
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


def children(process: subprocess.Popen[bytes]) -> set[str]:
    """Return the ids of the worker processes."""
    return set(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())


def workers(process: subprocess.Popen[bytes]) -> set[str]:
    """Return the ids of the two worker processes when both have started."""
    wait_until(lambda: len(children(process)) == 2)
    return children(process)


def backlog(port: int) -> int:
    """Return the longest accept queue that the kernel allows on *port*, as ss(8) prints it."""
    command = ["ss", "-Hltn", f"sport = :{port}"]
    return int(subprocess.check_output(command, text=True).split()[2])


@contextmanager
def load(port: int, clients: int = 8) -> Iterator[Counter[str]]:
    """Send requests, each on a new connection, until the block ends; count what happens to them."""
    found: Counter[str] = Counter()
    ended = threading.Event()

    def send_repeatedly() -> None:
        while not ended.is_set():
            found[connect_and_send(port)] += 1

    with ThreadPoolExecutor(clients) as pool:
        try:
            for _ in range(clients):
                pool.submit(send_repeatedly)
            yield found
        finally:
            ended.set()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_reload_loses_no_request_and_keeps_metrics_and_backlog(line: Path, gunicorn: str) -> None:
    with server(line, gunicorn=gunicorn) as (process, port):
        before, queue = workers(process), backlog(port)
        with load(port) as found:
            time.sleep(1)
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: len(now := children(process)) == 2 and not before & now)
            time.sleep(1)
        counted = send(port, "/metrics", None)[1].decode()
        assert backlog(port) == queue > 1000

    assert set(found) == {"answered"}
    [count] = re.findall(r'http_requests_total\{route="/predict",status="200"\} (\S+)', counted)
    assert float(count) == found["answered"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_worker_that_reaches_max_requests_loses_no_request(line: Path, gunicorn: str) -> None:
    with server(line, 0, "--max-requests=100", gunicorn=gunicorn) as (process, port):
        before, queue = workers(process), backlog(port)
        with load(port) as found:
            wait_until(lambda: len(now := children(process)) == 2 and not before & now)
            time.sleep(1)
        assert backlog(port) == queue

    assert set(found) == {"answered"}
    assert found["answered"] > 200


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def make_certificate(directory: Path) -> Path:
    """Write a PEM file with a key and its certificate for 127.0.0.1, and return its path."""
    path = directory / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days=1"]
    names = ["-subj=/CN=rides", "-addext", f"subjectAltName=IP:{HOST}"]
    subprocess.run(
        [*command, *names, "-keyout", path, "-out", path], check=True, capture_output=True
    )
    return path


def test_tls_is_answered(line: Path, certificate: Path, gunicorn: str) -> None:
    options = (f"--certfile={certificate}", f"--keyfile={certificate}")
    with server(line, 0, *options, gunicorn=gunicorn) as (_, port):
        context = ssl.create_default_context(cafile=str(certificate))
        connection = HTTPSConnection(HOST, port, timeout=30, context=context)
        statuses = []
        for _ in range(3):
            connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()

    assert statuses == [200] * 3


def test_unix_socket_is_answered(line: Path, tmp_path: Path, gunicorn: str) -> None:
    path = str(tmp_path / "service")
    with (
        server(line, 0, f"--bind=unix:{path}", gunicorn=gunicorn),
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.connect(path)
        client.sendall(REQUEST)
        assert client.recv(12) == b"HTTP/1.1 200"


def test_path_prefix_of_the_environment_is_in_the_links(line: Path) -> None:
    with server(line, SCRIPT_NAME="/taxi") as (_, port):
        status = send(port, "/taxi/predict")[0]
        document = json.loads(send(port, "/taxi/openapi.json", None)[1])

    assert status == 200
    assert document["servers"] == [{"url": "/taxi"}]


@pytest.mark.parametrize(
    "sent", [REQUEST.partition(b"\r\n\r\n")[0], REQUEST[:-1]], ids=["head", "body"]
)
def test_200_slow_clients_do_not_delay_others(line: Path, sent: bytes, gunicorn: str) -> None:
    with server(line, gunicorn=gunicorn) as (_, port), ExitStack() as stack:
        for _ in range(200):
            slow = stack.enter_context(socket.create_connection((HOST, port), 10))
            slow.sendall(sent)

        began = time.monotonic()
        answers = [send(port)[0] for _ in range(20)]
        took = time.monotonic() - began

    assert answers == [200] * 20
    assert took < 20


def test_request_that_has_begun_is_answered_after_sigterm(line: Path, gunicorn: str) -> None:
    head, _, body = REQUEST.partition(b"\r\n\r\n")
    with server(line, gunicorn=gunicorn) as (process, port), ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((HOST, port), 30)) for _ in range(50)
        ]
        for client in clients:
            client.sendall(head + b"\r\n\r\n")
        time.sleep(1)  # each has been accepted

        process.send_signal(signal.SIGTERM)
        time.sleep(1.5)
        for client in clients:
            client.sendall(body)
        heads = [client.recv(12) for client in clients]
        assert process.wait(STOP_SECONDS) == 0

    assert heads == [b"HTTP/1.1 200"] * 50


def test_sigterm_under_load_resets_only_connections_that_wait_to_be_accepted(
    line: Path, gunicorn: str
) -> None:
    with server(line, gunicorn=gunicorn) as (process, port), load(port) as found:
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
        time.sleep(0.5)

    assert found["answered"] > 20
    assert set(found) <= {"answered", "refused", "ConnectionResetError"}
    assert found["ConnectionResetError"] <= 8  # one for each client


def test_idle_connection_delays_the_stop_by_at_most_ten_seconds(line: Path, gunicorn: str) -> None:
    with server(line, gunicorn=gunicorn) as (process, port):
        idle = HTTPConnection(HOST, port, timeout=10)
        idle.request("GET", "/livez")
        idle.getresponse().read()

        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
        assert time.monotonic() - began < 12
        idle.close()


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
    ("settings", "text"),
    [
        ({"MODEL_LOCATION": ""}, "MODEL_LOCATION is not set"),
        ({"MODEL_LOCATION": "build/nowhere"}, "cannot read build/nowhere"),
        ({"LOG_LEVEL": "loud", "BIND": "everywhere"}, "BIND must be"),
        ({"DECISIONS_TABLE_NAME": "decided", **NO_REGION}, "cannot use DynamoDB"),
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


def send_chunked(port: int, chunks: bytes) -> tuple[bytes, bytes]:
    """Send a POST /predict with a chunked body; return the head and the body of the response."""
    head = (
        b"POST /predict HTTP/1.1\r\nHost: rides\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((HOST, port), 30) as client:
        client.sendall(head + chunks)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answer:
            found, _, content = answer.read().partition(b"\r\n\r\n")
    return found, content


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(("size", "status"), [(quotes.MAX_BODY, 200), (quotes.MAX_BODY + 1, 413)])
def test_chunked_body_is_read_up_to_the_limit(port: int, size: int, status: int) -> None:
    head, _ = send_chunked(port, chunk(BODY) + chunk(b" " * (size - len(BODY))) + b"0\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n",
        b"5\r\n{}",
        chunk(BODY)[:-2] + b"??" + b"0\r\n\r\n",
        chunk(BODY) + b"0\r\nno colon\r\n\r\n",
        chunk(BODY) + b"0\r\n: no name\r\n\r\n",
        chunk(BODY) + b"0\r\nname: \x00\r\n\r\n",
    ],
    ids=["size", "cut off", "end", "trailer", "name of a trailer", "value of a trailer"],
)
def test_damaged_chunks_get_a_problem(line: Path, chunks: bytes, gunicorn: str) -> None:
    with server(line, gunicorn=gunicorn) as (_, port):
        head, content = send_chunked(port, chunks)

    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(content)["type"] == "/docs#bad-request"


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
