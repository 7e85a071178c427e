"""What the worker asks of the kernel.

On Linux; elsewhere, where people develop, a port is emptied and then closed.
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

CLOSE_SECONDS = 3.0  # for finding a moment in which nobody waits
SYN_RECV = "03"  # in the kernel's table of connections
INTERNET = (socket.AF_INET, socket.AF_INET6)
NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)
CORK = socket.TCP_CORK if sys.platform == "linux" else 4  # TCP_NOPUSH of the BSDs


def close(listener: socket.socket, accept: Callable[[], bool]) -> None:
    """Close it while nobody waits to be accepted: whoever does would be reset.

    Linux has whoever asks to connect ask again a second later while the queue is full.  So it is
    made as short as can be, emptied, and filled with a connection of our own.  Where servers share
    the port, ours may go to another's queue, and one that waits here would be taken for it: there,
    the queue is emptied and closed at once.
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
            time.sleep(0.01)  # its last word was lost on a full queue, and will be said again
            continue
        with socket.socket(listener.family) as own:
            own.setblocking(False)
            own.connect_ex(listener.getsockname())
            if writable(own) and waiting(listener) == 1 and not half_open(listener):
                break
    listener.close()


def share(listener: socket.socket, servers: int) -> int:
    """How many of those who wait are for one of so many servers; at least one."""
    if sys.platform != "linux" or listener.family not in INTERNET:
        return 1
    return max(1, -(-waiting(listener) // servers))


def waiting(listener: socket.socket) -> int:
    """How many are connected and not accepted yet."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    [number] = struct.unpack_from("I", info, 24)  # tcpi_unacked, which of a listener means this
    return int(number)


def half_open(listener: socket.socket) -> bool:
    """Whether somebody may take themselves for connected who is not in the queue yet."""
    port = f":{listener.getsockname()[1]:04X}"
    table = "/proc/net/tcp6" if listener.family == socket.AF_INET6 else "/proc/net/tcp"
    with open(table) as rows:
        found = (row.split(maxsplit=4) for row in rows)
        return any(cells[1].endswith(port) and cells[3] == SYN_RECV for cells in found)


def limit(sock: socket.socket, seconds: int) -> None:
    """Wait for its client no longer than that, and do not hold back what is sent."""
    for way in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, way, struct.pack("ll", seconds, 0))
    if sock.family in INTERNET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextmanager
def corked(sock: socket.socket) -> Iterator[None]:
    """Send what is written meanwhile, headers and body, in one go; where that can be had."""
    if sock.family not in INTERNET:
        yield
        return
    sock.setsockopt(socket.IPPROTO_TCP, CORK, 1)
    try:
        yield
    finally:
        with suppress(OSError):  # it has been closed
            sock.setsockopt(socket.IPPROTO_TCP, CORK, 0)


def writable(sock: socket.socket) -> bool:
    """Whether there is room for an answer, because the client has read its last ones."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(0))


def sent(sock: socket.socket, data: bytes) -> bool:
    """Whether all of *data* was taken at once; else the client is gone, or does not read."""
    try:
        return sock.send(data) == len(data)
    except OSError:
        return False
