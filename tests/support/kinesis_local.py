"""kinesis-local, an implementation of Kinesis from npm that owes nothing to moto."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "node_modules" / "kinesis-local"
START_SECONDS = 30
AT_ONCE = ("CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS")


def missing() -> str:
    """Why it cannot be run here, or nothing."""
    if shutil.which("node") is None:
        return "needs Node.js"
    return "" if PACKAGE.exists() else "needs kinesis-local: make node_modules/installed"


@contextmanager
def running() -> Iterator[str]:
    """A fresh server for the length of the block: its endpoint."""
    port, tls_port = _free_port(), _free_port()
    environ = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **{f"{action}_DURATION": "0ms" for action in AT_ONCE},
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": str(tls_port),
        "KINESIS_MOCK_CERT_PATH": str(PACKAGE / "server.json"),
    }
    command = [
        "node",
        "-r",
        str(ROOT / "tests" / "support" / "loopback.cjs"),
        str(PACKAGE / "main.js"),
    ]
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) as server:
        try:
            _wait(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()  # it keeps nothing, and would wait half a minute for its clients


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("kinesis-local did not start")
