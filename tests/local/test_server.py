"""The embedded AWS starts, stores data, and ends however its parent process ends."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.aws.server import Embedded, embedded, environment, one_at_a_time

USER = """
import os, time
from local.aws.server import embedded
with embedded() as aws:
    print(aws.pid, flush=True)
    time.sleep(60)
"""
PLAIN_CLIENTS = """
import boto3
print(boto3.client("kinesis").list_streams()["StreamNames"])
print([bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]])
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ends(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def test_the_server_listens_on_loopback_only(module_aws: Embedded) -> None:
    assert module_aws.endpoint.startswith("http://127.0.0.1:")


def test_two_servers_have_separate_ports_and_contents(module_aws: Embedded) -> None:
    module_aws.s3().create_bucket(Bucket="of-the-first")

    with embedded() as other:
        assert other.endpoint != module_aws.endpoint
        assert other.s3().list_buckets()["Buckets"] == []


def test_clients_need_only_the_environment_variables_of_the_server(module_aws: Embedded) -> None:
    module_aws.kinesis().create_stream(StreamName="of-a-plain-client", ShardCount=1)
    module_aws.s3().create_bucket(Bucket="of-a-plain-client")
    elsewhere = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}

    run = subprocess.run(
        [sys.executable, "-c", PLAIN_CLIENTS],
        env={**os.environ, **elsewhere, **module_aws.environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert run.stdout.count("of-a-plain-client") == 2


def test_hosts_that_bypass_the_proxy_still_bypass_it() -> None:
    assert environment("http://127.0.0.1:1", "intranet")["NO_PROXY"].split(",")[0] == "intranet"


def test_simultaneous_requests_are_served_one_at_a_time() -> None:
    inside: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> bool:
        inside.append("a request")
        time.sleep(0.002)
        alone = len(inside) == 1
        inside.clear()
        return alone

    serve = one_at_a_time(application)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: serve({}, print), range(40)))

    assert all(answers)


def test_the_server_ends_with_the_block_even_if_the_block_fails() -> None:
    with pytest.raises(ZeroDivisionError), embedded() as running:
        assert alive(running.pid)
        _ = 1 / 0

    assert not alive(running.pid)


def test_the_server_ends_when_its_user_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", USER], stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        pid = int(user.stdout.readline())
        user.kill()

    assert ends(pid)
