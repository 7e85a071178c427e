"""Runs the embedded AWS: Kinesis, S3 and DynamoDB, in another process on a port of 127.0.0.1.

`embedded` starts moto's server and stops it at the end of the block.  The server also ends when its
standard input closes.  So it ends with its parent process, even if that process is killed.  The
command ``python -m local.aws.server`` prints the server's address, and runs until it is
interrupted.
"""

from __future__ import annotations

import argparse
import http.client
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

HOST = "127.0.0.1"
REGION = "us-east-1"
KEY = "embedded"  # the server accepts any key
START_SECONDS = 60  # loading moto from a slow disk takes long
STOP_SECONDS = 5

Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running server: its address, and the environment variables that make clients use it."""

    endpoint: str
    environ: Mapping[str, str]
    pid: int

    def kinesis(self) -> KinesisClient:
        client: KinesisClient = self._client("kinesis")
        return client

    def s3(self) -> S3Client:
        client: S3Client = self._client("s3")
        return client

    def dynamodb(self) -> Any:
        """Return a client of DynamoDB, for whose types the project has no package."""
        return self._client("dynamodb")

    def _client(self, service: str) -> Any:
        import boto3  # the server process does not need it
        from botocore.config import Config

        return boto3.session.Session().client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=KEY,
            aws_secret_access_key=KEY,
            config=Config(proxies={}),
        )


@contextmanager
def embedded() -> Iterator[Embedded]:
    """Run a new server while the block runs.

    Raises `RuntimeError` if the server does not start.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "local.aws.server", "--while-stdin-is-open"],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # on Ctrl-C the parent still needs the server to shut down
    ) as server:
        try:
            endpoint = _address(server.stdout)
            yield Embedded(endpoint, environment(endpoint), server.pid)
        finally:
            _stop(server)


def environment(endpoint: str, bypass: str = "") -> dict[str, str]:
    """Return the environment variables that make the AWS SDKs and MLflow use only *endpoint*.

    *bypass* is a comma-separated list of other hosts to which no proxy is used.
    """
    direct = ",".join(filter(None, [bypass, HOST, "localhost"]))
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_KINESIS": endpoint,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_SESSION_TOKEN": "",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def one_at_a_time(application: Application) -> Application:
    """Return a WSGI application that passes requests to *application* one at a time.

    Moto assigns sequence numbers without a lock, so two simultaneous PutRecords calls could give
    the same number to two records and lose one of them.
    """
    lock = threading.Lock()

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        with lock:
            return application(environ, start_response)

    return serve


def _address(output: IO[str] | None) -> str:
    assert output is not None
    ready, _, _ = select.select([output], [], [], START_SECONDS)
    endpoint = output.readline().strip() if ready else ""
    if not endpoint:
        raise RuntimeError("the embedded AWS did not start: see its standard error")
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=START_SECONDS)
    try:
        connection.request("GET", "/moto-api/data.json")
        connection.getresponse().read()
    finally:
        connection.close()
    return endpoint


def _stop(server: subprocess.Popen[str]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()


def _serve(wait_for_end: Callable[[], object]) -> None:
    """Run the server until the function *wait_for_end* returns."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(
        HOST,
        0,
        one_at_a_time(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
    print(f"http://{HOST}:{server.port}", flush=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    wait_for_end()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m local.aws.server",
        description="Run Kinesis and S3 on a free port of loopback.",
    )
    parser.add_argument(
        "--while-stdin-is-open", action="store_true", help="end when standard input closes"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _serve(sys.stdin.read if options.while_stdin_is_open else signal.pause)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
