"""What the worker asks of the kernel, each on a socket of loopback."""

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
    """A client, and the server's end."""
    with socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            yield client, server


def test_a_client_that_does_not_read_leaves_no_room_for_an_answer(
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


def test_headers_and_body_leave_together(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    client.settimeout(0.1)
    with sockets.corked(server):
        server.sendall(b"headers, ")
        with pytest.raises(TimeoutError):
            client.recv(64)
        server.sendall(b"body")

    assert client.recv(64) == b"headers, body"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port is emptied and closed")
def test_a_port_that_closes_takes_who_has_connected_and_nobody_new(
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

    closed = listener.dup()  # as another worker has it
    sockets.close(listener, accept)

    assert [one.getpeername() for one in accepted] == [one.getsockname() for one in clients]
    with pytest.raises(TimeoutError):
        socket.create_connection(address, 0.2)
    for one in (*accepted, *clients, closed):
        one.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 0.2)


def test_an_answer_that_is_not_taken_whole_is_none() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)

        assert sockets.sent(here, b"a")
        assert not sockets.sent(here, bytes(10_000_000))
