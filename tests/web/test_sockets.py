"""The socket functions of the worker, on loopback."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from local.aws.lambda_container import HOST
from model_service.web import sockets


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection: the client's and the server's."""
    with socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            yield client, server


def test_socket_is_not_writable_while_its_client_does_not_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    assert sockets.writable(server)

    server.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            server.send(b"x" * 65536)

    assert not sockets.writable(server)
    while not sockets.writable(server):
        assert client.recv(1 << 20)


def test_corked_socket_sends_headers_and_body_together(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    client.settimeout(0.1)
    with sockets.corked(server):
        server.sendall(b"headers, ")
        with pytest.raises(TimeoutError):
            client.recv(64)
        server.sendall(b"body")

    assert client.recv(64) == b"headers, body"


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems accept the waiting connections and close"
)
def test_close_accepts_waiting_connections_and_no_new_ones(
    listener: socket.socket,
) -> None:
    address = listener.getsockname()
    listener.setblocking(False)
    clients = [socket.create_connection(address) for _ in range(3)]
    accepted: list[socket.socket] = []

    def accept() -> bool:
        try:
            accepted.append(listener.accept()[0])
        except BlockingIOError:
            return False
        return True

    closed = listener.dup()  # like the copy of another worker
    sockets.close(listener, accept)

    assert [one.getpeername() for one in accepted] == [one.getsockname() for one in clients]
    with pytest.raises(TimeoutError):
        socket.create_connection(address, 0.2)
    for one in (*accepted, *clients, closed):
        one.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 0.2)


def test_sent_returns_false_for_a_partial_send() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)

        assert sockets.sent(here, b"a")
        assert not sockets.sent(here, bytes(10_000_000))
