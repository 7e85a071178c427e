"""``GET /decisions/<ride_id>``, with a table in memory and with the emulator's."""

from __future__ import annotations

import ssl
import threading
import zlib
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
import requests
from flask.testing import FlaskClient

from local.aws.server import Embedded
from model_service.decisions import store
from model_service.decisions.decision import Decided, State, Waiting
from model_service.decisions.store import StoreError
from model_service.models.served import load
from model_service.settings import WebSettings
from model_service.web import app as web

from ..support import models
from ..support.decisions import create_table
from .test_server import make_certificate, server

BODY = b'{"ride_id": 256, "flag": null}'
STATES: dict[str, State] = {
    "256": Decided(BODY),
    "a/b//c?d é": Decided(b"{}"),
    "7": Waiting((), 0),
}


def find(ride: str) -> State:
    if ride == "broken":
        raise StoreError("ThrottlingException")
    return STATES.get(ride)


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> str:
    made: Path = models.write_onnx(tmp_path_factory.mktemp("line"))
    return str(made)


@pytest.fixture
def lines() -> list[bytes]:
    return []


@pytest.fixture
def client(location: str, lines: list[bytes]) -> FlaskClient:
    served = load(WebSettings(model_location=location))
    return web.create_app(served, write=lines.append, find=find).test_client()


def test_a_decision_is_answered_with_its_stored_bytes(client: FlaskClient) -> None:
    answer = client.get("/decisions/256")

    assert (answer.status_code, answer.data) == (200, BODY)
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "private, no-cache"


def test_a_client_that_has_the_decision_is_told_so(client: FlaskClient) -> None:
    etag = client.get("/decisions/256").headers["ETag"]

    again = client.get("/decisions/256", headers={"If-None-Match": etag})

    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)


def test_an_id_may_have_any_characters(client: FlaskClient) -> None:
    assert client.get("/decisions/a%2Fb%2F%2Fc%3Fd%20%C3%A9").data == b"{}"


@pytest.mark.parametrize("ride", ["7", "8", "x" * 129])
def test_a_ride_without_a_decision_is_a_problem_that_says_why(
    client: FlaskClient, ride: str
) -> None:
    answer = client.get(f"/decisions/{ride}")

    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    problem = answer.get_json()
    assert problem["type"] == "/docs#no-decision"
    assert "every model rejected" in problem["detail"]
    assert ride not in problem["detail"].split()


def test_a_table_that_fails_is_unavailable_and_logged(
    client: FlaskClient, lines: list[bytes]
) -> None:
    answer = client.get("/decisions/broken")

    assert (answer.status_code, answer.get_json()["type"]) == (503, "/docs#no-table")
    assert any(b'"error":"StoreError: ThrottlingException"' in one for one in lines)
    assert not any(b"decisions/broken" in one for one in lines)


def test_without_a_table_there_is_no_such_path(location: str) -> None:
    served = load(WebSettings(model_location=location))
    client = web.create_app(served, write=print).test_client()

    answer = client.get("/decisions/256")

    assert (answer.status_code, answer.get_json()["type"]) == (404, "/docs#not-found")


def test_workers_read_the_table_that_the_setting_names(
    location: str, module_aws: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    dynamodb = module_aws.dynamodb()
    create_table(dynamodb, "decided")
    store.Table(dynamodb, "decided").replace("256", None, Decided(BODY))
    for name, value in module_aws.environ.items():
        monkeypatch.setenv(name, value)

    with server(Path(location), DECISIONS_TABLE_NAME="decided") as (_, port):
        address = f"http://127.0.0.1:{port}/decisions"
        found = requests.get(f"{address}/256", timeout=10)
        absent = requests.get(f"{address}/257", timeout=10)

    assert (found.status_code, found.content) == (200, BODY)
    assert (absent.status_code, absent.json()["type"]) == (404, "/docs#no-decision")


class OneDecision(BaseHTTPRequestHandler):
    """Answers each request as DynamoDB does, with the item of a decided ride."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        item = {"decision": {"B": b64encode(zlib.compress(BODY)).decode()}}
        capacity = {"TableName": "decided", "CapacityUnits": 1.0}
        content = msgspec.json.encode({"Item": item, "ConsumedCapacity": capacity})
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *values: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def tls_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings with which the service finds a table over HTTPS."""
    certificate = make_certificate(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), OneDecision) as https:
        https.socket = context.wrap_socket(https.socket, server_side=True)
        serving = threading.Thread(target=https.serve_forever)
        serving.start()
        yield {
            "DECISIONS_TABLE_NAME": "decided",
            "AWS_ENDPOINT_URL_DYNAMODB": f"https://127.0.0.1:{https.server_port}",
            "AWS_CA_BUNDLE": str(certificate),
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        https.shutdown()
        serving.join()


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--worker-class=gthread", "--threads=4")])
def test_workers_read_the_table_over_https(
    location: str, tls_table: dict[str, str], options: tuple[str, ...]
) -> None:
    with server(Path(location), 0, *options, **tls_table) as (_, port):
        answers = [
            requests.get(f"http://127.0.0.1:{port}/decisions/256", timeout=30) for _ in range(3)
        ]

    assert [(answer.status_code, answer.content) for answer in answers] == [(200, BODY)] * 3
