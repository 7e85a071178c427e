"""Clients that people use, and clients that tools generate, get the same quote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from local.aws.lambda_container import HOST

from ..support import models
from .test_server import BODY, server

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
TOOLS = ROOT / "tools" / "clients" / ".venv" / "bin"
REDOCLY = ROOT / "node_modules" / ".bin" / "redocly"
GO = shutil.which("go")
JSON = "Content-Type: application/json"
DURATION = 20.3

pytestmark = pytest.mark.slow
needs_tools = pytest.mark.skipif(
    not TOOLS.exists(), reason="needs make tools/clients/.venv/installed"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(models.write_onnx(tmp_path_factory.mktemp("line"))) as (_, port):
        yield f"http://{HOST}:{port}"


@pytest.fixture(scope="module")
def document(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OpenAPI document of the running service, as a file."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(requests.get(f"{address}/openapi.json", timeout=30).text)
    return path


def run(*command: str | Path, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environ, capture_output=True, text=True, timeout=500,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.mark.parametrize("headers", [[], ["-H", "Transfer-Encoding: chunked"]])
def test_curl(address: str, headers: list[str]) -> None:
    done = run("curl", "-sf", f"{address}/predict", "-H", JSON, *headers, "-d", BODY.decode())

    assert json.loads(done.stdout)["duration"] == DURATION


def test_requests(address: str) -> None:
    ride = json.loads(BODY)
    whole = requests.post(f"{address}/predict", json=ride, timeout=30)
    headers = {"Content-Type": "application/json"}
    chunked = requests.post(
        f"{address}/predict", data=iter([BODY[:9], BODY[9:]]), headers=headers, timeout=30
    )

    assert chunked.request.headers["Transfer-Encoding"] == "chunked"
    assert whole.json()["duration"] == chunked.json()["duration"] == DURATION


@needs_tools
def test_httpx(address: str) -> None:
    assert float(run(TOOLS / "python", CLIENTS / "with_httpx.py", address).stdout) == DURATION


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_fetch_of_node(address: str) -> None:
    assert float(run("node", CLIENTS / "fetch.mjs", address).stdout) == DURATION


@needs_tools
def test_client_that_openapi_python_client_generates(
    address: str, document: Path, tmp_path: Path
) -> None:
    path = f"{TOOLS}:{os.environ['PATH']}"  # it formats the client with ruff
    options = ["--meta=none", f"--output-path={tmp_path / 'rides'}", "--fail-on-warning"]
    run(TOOLS / "openapi-python-client", "generate", f"--path={document}", *options, PATH=path)

    done = run(TOOLS / "python", CLIENTS / "generated.py", address, PYTHONPATH=str(tmp_path))

    assert float(done.stdout) == DURATION


@needs_tools
@pytest.mark.skipif(not GO or not shutil.which("java"), reason="needs Go and Java")
def test_client_in_go_that_openapi_generator_generates(
    address: str, document: Path, tmp_path: Path
) -> None:
    options = ["--package-name=rides", "--additional-properties=withGoMod=false"]
    done = run(
        TOOLS / "openapi-generator-cli", "generate", "-g", "go", "-i", document,
        "-o", tmp_path / "client", *options,
    )  # fmt: skip
    warnings = [line for line in done.stdout.splitlines() if " WARN " in line]
    assert all("3.1 support is still in beta" in line for line in warnings)
    shutil.rmtree(tmp_path / "client" / "test", ignore_errors=True)
    (tmp_path / "go.mod").write_text("module rides\n\ngo 1.19\n")
    shutil.copy(CLIENTS / "main.go", tmp_path)
    offline = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOCACHE": str(tmp_path / "cache")}
    run("go", "build", "-o", tmp_path / "quote", ".", cwd=tmp_path, **offline)

    assert float(run(tmp_path / "quote", address).stdout) == DURATION


@pytest.mark.skipif(not REDOCLY.exists(), reason="needs make node_modules/installed")
def test_redocly_has_no_errors_and_no_warnings(document: Path) -> None:
    done = run(REDOCLY, "lint", "--format=json", document, REDOCLY_TELEMETRY="off")

    assert json.loads(done.stdout)["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}


def test_examples_of_the_document_get_their_status(address: str, document: Path) -> None:
    for path, item in json.loads(document.read_text())["paths"].items():
        for method, operation in item.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            answer = requests.request(method, address + path, json=body.get("example"), timeout=30)
            # The server has no table of decisions.
            assert answer.status_code == (404 if "parameters" in operation else 200), path
