"""Provides the socket operations that `worker` needs and that Python's ``socket`` lacks.

The operations use TCP options of Linux.  On other systems, `close` only accepts the waiting
connections before it closes the port.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

CLOSE_SECONDS = 3.0  # time limit to find a moment at which no connections are waiting
SYN_RECV = "03"  # state of a half-open connection in /proc/net/tcp
INTERNET = (socket.AF_INET, socket.AF_INET6)
NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)
CORK = socket.TCP_CORK if sys.platform == "linux" else 4  # TCP_NOPUSH on BSD


def close(listener: socket.socket, accept: Callable[[], bool]) -> None:
    """Close *listener* while no connections are waiting in its accept queue.

    Closing would reset the waiting connections.  While the queue is full, Linux lets new clients
    wait and try again a second later.  So this function shortens the queue to one connection,
    accepts all waiting connections, and fills the queue by connecting to *listener* itself.  If
    several servers share the port (SO_REUSEPORT), Linux may give that connection to another server;
    so in that case this function accepts all waiting connections and closes at once.
    """
    ours = sys.platform == "linux" and listener.family in INTERNET
    ours = ours and not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    if ours:
        listener.listen(0)
    deadline = time.monotonic() + CLOSE_SECONDS
    while time.monotonic() < deadline:
        while accept():
            pass
        if not ours:
            break
        if half_open(listener):
            time.sleep(0.01)  # the full queue dropped the client's ACK; the client resends it
            continue
        with socket.socket(listener.family) as own:
            own.setblocking(False)
            own.connect_ex(listener.getsockname())
            if writable(own) and waiting(listener) == 1 and not half_open(listener):
                break
    listener.close()


def share(listener: socket.socket, servers: int) -> int:
    """Return how many waiting connections each of *servers* workers should accept, at least 1."""
    if sys.platform != "linux" or listener.family not in INTERNET:
        return 1
    return max(1, -(-waiting(listener) // servers))


def waiting(listener: socket.socket) -> int:
    """Return the number of connections in the accept queue of *listener*."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    [number] = struct.unpack_from("I", info, 24)  # tcpi_unacked: a listener's queue
    return int(number)


def half_open(listener: socket.socket) -> bool:
    """Return whether a client may consider itself connected but not be in the accept queue yet."""
    port = f":{listener.getsockname()[1]:04X}"
    table = "/proc/net/tcp6" if listener.family == socket.AF_INET6 else "/proc/net/tcp"
    with open(table) as rows:
        found = (row.split(maxsplit=4) for row in rows)
        return any(cells[1].endswith(port) and cells[3] == SYN_RECV for cells in found)


def limit(sock: socket.socket, seconds: int) -> None:
    """Set the send and receive timeouts of *sock*, and disable Nagle's algorithm."""
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))
    if sock.family in INTERNET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextmanager
def corked(sock: socket.socket) -> Iterator[None]:
    """Hold back what is written to *sock* in this context, then send it in full packets.

    Without this, the headers and the body of a response would leave in separate packets.  Sockets
    other than TCP are not changed.
    """
    if sock.family not in INTERNET:
        yield
        return
    sock.setsockopt(socket.IPPROTO_TCP, CORK, 1)
    try:
        yield
    finally:
        with suppress(OSError):  # the socket is closed
            sock.setsockopt(socket.IPPROTO_TCP, CORK, 0)


def writable(sock: socket.socket) -> bool:
    """Return whether the send buffer has room, so that sending a response does not block."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(0))


def sent(sock: socket.socket, data: bytes) -> bool:
    """Send *data*; return False if the client is gone or the send buffer cannot take all *data*."""
    try:
        return sock.send(data) == len(data)
    except OSError:
        return False
