"""What SnapStart does to a function that has been initialised: it goes on, elsewhere, many times.

Simulated: connections that were open are not, though neither end has said so (here they are reset
when they are next used); and what is in memory, the state of random numbers too, is in every clone.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from local.aws.server import Embedded
from model_service.kinesis import publisher, rejects
from model_service.kinesis.accounting import BatchReport
from model_service.scoring import Target
from model_service.stream import processor
from model_service.stream.predictions import Prediction

from ..support.factories import FakeModel, kinesis_event, payload
from ..support.stacks import ROOT

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, for no time


class Relay(ThreadingHTTPServer):
    """Keeps connections open, as AWS does, and passes requests on to a server that does not."""

    daemon_threads = True

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.address = server
        self.known: set[object] = set()
        self.forgotten: set[object] = set()
        self.resets = 0

    def forget(self) -> None:
        """All connections that there are."""
        self.forgotten |= self.known


class Requests(BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"
    server: Relay

    def pass_on(self) -> None:
        if self in self.server.forgotten:
            self.server.resets += 1
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.close_connection = True
            return
        self.server.known.add(self)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upstream = HTTPConnection(self.server.address)
        with closing(upstream):
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        for name in ("Content-Type", "ETag", "x-amzn-RequestId", "smithy-protocol"):
            if value := answer.getheader(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = pass_on

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def aws(module_aws: Embedded) -> Embedded:
    module_aws.kinesis().create_stream(StreamName="ride_predictions", ShardCount=1)
    module_aws.kinesis().get_waiter("stream_exists").wait(StreamName="ride_predictions")
    module_aws.s3().create_bucket(Bucket="rides")
    return module_aws


@pytest.fixture
def relay(aws: Embedded, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    address = aws.endpoint.removeprefix("http://")
    with Relay(address) as relay:
        threading.Thread(target=relay.serve_forever, args=(0.05,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{relay.server_port}"
        for name, value in aws.environ.items():
            monkeypatch.setenv(name, value.replace(aws.endpoint, endpoint))
        yield relay
        relay.shutdown()


def test_connections_from_before_the_snapshot_are_made_anew(relay: Relay) -> None:
    publish = publisher.connect("ride_predictions")
    keep = rejects.connect("s3://rides/rejects", model_name="m")

    def batch(number: int) -> BatchReport[Prediction]:
        return processor.process(
            kinesis_event(payload(number), b"{}"),
            model=FakeModel(),
            target=Target(),
            publish=publish,
            keep=keep,
            time_left=lambda: 30.0,
        )

    before = batch(1)
    relay.forget()
    after = batch(2)

    assert relay.resets >= 2, "one of each client"
    for report in (before, after):
        assert (len(report.published), len(report.rejected)) == (1, 1)
        assert report.checkpoint is None
    assert after.publish_retries == 1


CLONES = """
import json, os
from random import Random
from model_service.kinesis import publisher
ours = publisher.connect("ride_predictions").uniform
ordinary = Random(0).uniform
found = []
for clone in range(3):
    ours_end, theirs = os.pipe()
    if os.fork() == 0:
        draws = {"ours": [ours(0, 1) for _ in range(4)], "ordinary": [ordinary(0, 1)]}
        os.write(theirs, json.dumps(draws).encode())
        os._exit(0)
    os.wait()
    found.append(json.loads(os.read(ours_end, 10_000)))
print(json.dumps(found))
"""


def test_clones_of_one_snapshot_do_not_pause_for_the_same_time() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLONES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    clones = json.loads(done.stdout)

    pauses = [pause for clone in clones for pause in clone["ours"]]
    assert len(set(pauses)) == len(pauses) == 12
    assert len({draw for clone in clones for draw in clone["ordinary"]}) == 1, "it is a clone"
