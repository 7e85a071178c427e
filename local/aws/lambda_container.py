"""Runs a function's image under Lambda's Runtime Interface Emulator, on loopback.

A container has the same limits as a function in Lambda: a read-only root, an unprivileged user, and
/tmp.  It uses the network of this machine, where the emulator listens on 127.0.0.1 only.  The
emulator accepts one invocation at a time, and ends if it receives another one during an invocation.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from typing import Any

HOST = "127.0.0.1"
PATH = "/2015-03-31/functions/function/invocations"
START_SECONDS = 60  # on a busy machine
RESPONSE_SECONDS = 120
SCORER = "lambda_function.lambda_handler"
LIKE_LAMBDA = (
    "--read-only",
    *("--tmpfs", "/tmp:size=512m"),
    *("--user", "993:990"),
    *("--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges"),
)


class NotStarted(RuntimeError):
    """The emulator does not listen on its port; the message contains its output."""


@contextmanager
def container(
    image: str,
    settings: Mapping[str, str],
    *,
    handler: str = SCORER,
    options: Sequence[str] = (),
) -> Iterator[int]:
    """Run *image* with *settings* as its environment, and yield the port for invocations.

    *handler* is the name of the function's handler, and *options* are options of `docker run`, such
    as mounts and limits.  Raises `NotStarted` if the emulator does not start.
    """
    port, api_port = free_ports()
    environment = {
        "AWS_LAMBDA_FUNCTION_NAME": "ride-predictions",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
        **settings,
    }
    name = docker(
        "create",
        *("--network", "host"),
        *LIKE_LAMBDA,
        *options,
        *(part for item in environment.items() for part in ("--env", "=".join(item))),
        *("--entrypoint", "/usr/local/bin/aws-lambda-rie"),
        image,
        *("--runtime-interface-emulator-address", f"{HOST}:{port}"),
        *("--runtime-api-address", f"{HOST}:{api_port}"),
        "/var/runtime/bootstrap",
        handler,
    ).strip()
    try:
        docker("start", name)
        wait_for(port)
        yield port
    except NotStarted as exc:
        raise NotStarted(f"{exc}: {docker('logs', name)}") from None
    finally:
        docker("rm", "--force", name)


def docker(*arguments: str) -> str:
    """Run ``docker`` with *arguments* and return its output.

    Raises `CalledProcessError` or `TimeoutExpired`.
    """
    return subprocess.run(
        ["docker", *arguments],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        timeout=RESPONSE_SECONDS,
    ).stdout


def invoke(port: int, event: Any) -> Any:
    """Invoke the function on *port* with *event*; return its response or, as Lambda, its error."""
    connection = HTTPConnection(HOST, port, timeout=RESPONSE_SECONDS)
    try:
        connection.request("POST", PATH, json.dumps(event).encode())
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def free_ports() -> tuple[int, int]:
    """Return two ports of loopback on which no process listens."""
    with socket.create_server((HOST, 0)) as one, socket.create_server((HOST, 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


def wait_for(port: int, seconds: float = START_SECONDS) -> None:
    """Wait until a process listens on *port*.  Raises `NotStarted` after *seconds*."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.02)
    raise NotStarted(f"nothing listens on port {port} after {seconds} s")
