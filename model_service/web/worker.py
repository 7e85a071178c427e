"""A gunicorn worker that reads requests in its event loop, so slow clients occupy no thread.

gunicorn's own gthread worker has three weaknesses.  It gives a connection to a thread as soon as
the first byte arrives, so a few slow clients occupy all threads.  It blocks its event loop for up
to two seconds to close a connection.  On SIGTERM, it drops the connections in the accept queue, and
waits for idle connections until the grace period ends.

In this worker, the event loop reads each request completely, and closes connections without
blocking.  On SIGTERM, it first accepts the waiting connections, and soon closes idle ones.  The
event loop itself scores a request with a single ride, because handing the request to a thread would
take as long as scoring the ride.  A plain request for one ride also skips gunicorn's WSGI environ
and response (see `wire`).
"""

from __future__ import annotations

import selectors
import socket
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from . import sockets, wire

MAX_HEADERS = 32 * 1024  # bytes
REQUEST_SECONDS = 10.0  # time limit from the first byte of a request to its last
LINGER_SECONDS = 2.0  # time for a client to read its last response and close the connection
STOP_IDLE_SECONDS = 2.0  # from SIGTERM to closing idle clients: a request may be on its way
OTHERS_SECONDS = 0.001  # pause in which other workers may accept connections
FILES_SECONDS = 0.5  # pause after the limit on open files was reached
LOOK_SECONDS = 0.1  # minimum time between two checks for timeouts
NOTIFY_SECONDS = 0.2  # minimum time between two heartbeats to gunicorn
STALL_SECONDS = 10  # send timeout for a client that does not read its response

REFUSALS: dict[type[Exception], str] = {
    errors.LimitRequestHeaders: "headers-too-large",
    errors.LimitRequestLine: "headers-too-large",
}


class Connection(TConn):  # type: ignore[misc]
    """A client connection, with the bytes of its current request that were received so far."""

    received: bytes = b""
    whole: bool = False
    """Whether the worker reads the whole body of the current request before it answers."""
    lingering: bool = False


class Worker(ThreadWorker):  # type: ignore[misc]
    """The worker class that gunicorn instantiates once in each worker process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: set[Connection] = set()
        self.stop_idle_at = 0.0  # set on SIGTERM
        self.accept_at = 0.0
        self.look_at = 0.0
        self.notify_at = 0.0
        self.door: wire.Door | None = None
        self.quick = False  # plain requests take the direct path

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.door = getattr(self.wsgi, "extensions", {}).get(wire.DOOR)  # only Flask has it
        # gunicorn logs and counts only the requests that it handles itself
        logged = self.log.access_log_enabled or self.cfg.statsd_host
        self.quick = bool(self.cfg.keepalive) and not logged

    # --- connections; all these methods run in the event loop -------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Accept a fair share of the waiting connections, then let the other workers accept.

        Otherwise the worker that wakes first would accept all waiting connections.
        """
        room = self.worker_connections - self.nr_conns
        for _ in range(min(room, sockets.share(listener, self.cfg.workers))):
            if not self.admit(listener):
                break
        if self.cfg.workers > 1:
            self.rest(OTHERS_SECONDS)

    def rest(self, seconds: float) -> None:
        """Stop accepting connections for *seconds*."""
        self.accept_at = max(self.accept_at, time.monotonic() + seconds)
        super().set_accept_enabled(False)

    def admit(self, listener: socket.socket) -> bool:
        """Accept one connection.

        Return False if none is waiting, or if the limit on open files is reached.
        """
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError as exc:
            if exc.errno not in sockets.NO_MORE_FILES:
                raise
            self.log.warning("pausing accept: %s", exc.strerror)
            self.rest(FILES_SECONDS)
            return False
        sockets.limit(client, STALL_SECONDS)
        self.nr_conns += 1
        self.wait(Connection(self.cfg, client, address, listener.getsockname()), REQUEST_SECONDS)
        return True

    def wait(self, conn: Connection, seconds: float) -> None:
        """Register *conn* with the event loop for reading, with a timeout in seconds."""
        conn.timeout = time.monotonic() + seconds
        conn.sock.setblocking(False)
        self.waiting.add(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.read, conn))

    def read(self, conn: Connection, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.unwatch(conn)
            self.drop(conn)
        elif not conn.lingering:
            if not conn.received:
                conn.timeout = time.monotonic() + REQUEST_SECONDS
            conn.received += data
            self.proceed(conn)

    def proceed(self, conn: Connection) -> None:
        """Answer the request, or hand it to a thread, if all necessary bytes have arrived."""
        end = conn.received.find(b"\r\n\r\n") + 4
        head = conn.received[:end] if end >= 4 else conn.received
        if len(head) > MAX_HEADERS:
            self.refuse(conn, "headers-too-large")
            return
        if end < 4:
            return
        length, conn.whole = wire.body_of(head)
        missing = end + length - len(conn.received)
        if missing > 0 and conn.whole:
            if wire.EXPECT.search(head):
                conn.received = wire.EXPECT.sub(b"", conn.received, count=1)
                self.tell(conn, b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        here = missing == 0 and conn.whole and head.startswith(wire.RIDE)
        if here and sockets.writable(conn.sock):
            self.notify()  # heartbeat: a model may be slow, and many requests may wait
            self.answer(conn, end)
        else:
            self.submit(conn)

    def answer(self, conn: Connection, end: int) -> None:
        """Answer a request with one ride in the event loop.

        *end* is the length of the request's head in bytes.
        """
        environ = None
        if self.door and self.quick and self.alive and self.nr + 1 < self.max_requests:
            head, body = conn.received[:end], conn.received[end:]
            environ = wire.plain(self.cfg, head, body, conn.client)
        if self.door and environ:
            self.nr += 1
            conn.received = b""
            kept = sockets.sent(conn.sock, self.door.quote(environ))
        else:
            self.open(conn)
            kept = self.handle(conn)
            if kept:
                conn.sock.setblocking(False)
        if kept:
            conn.timeout = time.monotonic() + self.cfg.keepalive
        else:
            self.unwatch(conn)
            self.linger(conn)

    def submit(self, conn: Connection) -> None:
        self.unwatch(conn)
        self.open(conn)
        self.enqueue_req(conn)

    def open(self, conn: Connection) -> None:
        """Give the received bytes to gunicorn's parser."""
        conn.init()
        conn.parser.unreader.unread(conn.received)
        conn.received = b""

    def finish_request(self, conn: Connection, done: Future[bool]) -> None:
        """Wait for the next request or close the connection, after a thread has answered."""
        if done.cancelled() or done.exception() or not done.result():
            self.linger(conn)
            return
        conn.received = conn.parser.unreader.take_buffered()  # a pipelined request
        self.wait(conn, REQUEST_SECONDS if conn.received else self.cfg.keepalive)
        if conn.received:
            self.proceed(conn)

    def refuse(self, conn: Connection, name: str) -> None:
        """Answer with a problem from the event loop, and close the connection."""
        self.tell(conn, self.refusal(name))
        self.unwatch(conn)
        self.linger(conn)

    def refusal(self, name: str) -> bytes:
        return self.door.refuse(name) if self.door else wire.refusal(name)

    def tell(self, conn: Connection, data: bytes) -> None:
        with suppress(OSError):  # the client is gone or does not read; the timeout closes it
            conn.sock.send(data)

    def linger(self, conn: Connection) -> None:
        """Shut down sending, then read for up to `LINGER_SECONDS` before closing.

        Closing at once could reset the connection before the client has read the last response.
        """
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(conn)
            return
        conn.lingering = True
        self.wait(conn, LINGER_SECONDS)

    def drop(self, conn: Connection) -> None:
        self.nr_conns -= 1
        conn.close()

    def unwatch(self, conn: Connection) -> None:
        self.waiting.discard(conn)
        self.poller.unregister(conn.sock)

    # --- time ------------------------------------------------------------------------------

    def notify(self) -> None:
        """Send gunicorn a heartbeat, unless the last one is less than `NOTIFY_SECONDS` old."""
        now = time.monotonic()
        if now >= self.notify_at:
            self.notify_at = now + NOTIFY_SECONDS
            super().notify()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        resting = self.alive and not self._accepting and self.nr_conns < self.worker_connections
        seconds = max(0.0, self.accept_at - time.monotonic()) if resting else 0.5
        super().wait_for_and_dispatch_events(min(timeout, seconds))

    def murder_keepalived(self) -> None:
        """Close the connections that have timed out; gunicorn calls this method between events."""
        now = time.monotonic()
        if now < self.look_at:
            return
        self.look_at = now + LOOK_SECONDS
        for conn in [conn for conn in self.waiting if self.is_late(conn, now)]:
            if conn.received and not conn.lingering:
                self.refuse(conn, "timeout")
            else:
                self.unwatch(conn)
                self.drop(conn)

    def is_late(self, conn: Connection, now: float) -> bool:
        idle = not conn.received and not conn.lingering
        return now > conn.timeout or (idle and 0 < self.stop_idle_at < now)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Enable or disable accepting; on shutdown, first accept all waiting connections."""
        now = time.monotonic()
        if self.alive or self.stop_idle_at:
            super().set_accept_enabled(enabled and self.alive and now >= self.accept_at)
            return
        self.stop_idle_at = now + STOP_IDLE_SECONDS
        super().set_accept_enabled(False)
        for listener in self.sockets:
            sockets.close(listener, partial(self.admit, listener))

    # --- requests --------------------------------------------------------------------------

    def handle_request(self, req: Any, conn: Connection) -> bool:
        if not conn.whole:
            req.force_close()  # adds "Connection: close" to the response
        with sockets.corked(conn.sock):
            return bool(super().handle_request(req, conn))

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        # Close after a request whose body is not read completely: the rest of that body must not
        # be taken for the next request.
        return keepalive and conn.whole and bool(conn.parser.finish_body())

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer a request that gunicorn cannot parse or that failed outside the application."""
        name = next((name for kind, name in REFUSALS.items() if isinstance(exc, kind)), None)
        if name is None:
            name = "bad-request" if isinstance(exc, errors.ParseException) else "error"
        self.log.warning("request refused: %s (%s)", name, type(exc).__name__)
        with suppress(OSError):  # the client is gone
            client.sendall(self.refusal(name))
