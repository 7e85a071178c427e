"""A gunicorn worker whose threads see whole requests only: slow clients cost a socket each.

gunicorn's own gthread worker hands a connection to a thread at its first byte, so that a handful
of slow clients occupy them all; it closes connections in its one event loop, waiting up to two
seconds for each client; and on SIGTERM it drops what waits in the listening socket, and waits out
the grace period for connections that are idle.  Here the event loop gathers each request, closes
without waiting, and on SIGTERM first accepts what is waiting and lets idle connections go.  One
ride it scores itself: a thread would take no less time for it, and handing it over takes more; and
a plain request for one goes past what gunicorn makes of requests and answers (see `wire`).
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
REQUEST_SECONDS = 10.0  # from a request's first byte to its last
LINGER_SECONDS = 2.0  # for a client to read its last answer and close
STOP_IDLE_SECONDS = 2.0  # after SIGTERM: what an idle client may still have on its way
OTHERS_SECONDS = 0.001  # in which other workers may accept
FILES_SECONDS = 0.5  # in which a connection may close, where no more files may be open
LOOK_SECONDS = 0.1  # from one look at whose time is up to the next
NOTIFY_SECONDS = 0.2  # from one sign of life to the next
STALL_SECONDS = 10  # for a client that does not read its answer

REFUSALS: dict[type[Exception], str] = {
    errors.LimitRequestHeaders: "headers-too-large",
    errors.LimitRequestLine: "headers-too-large",
}


class Connection(TConn):  # type: ignore[misc]
    """A client, and what it has sent of its next request."""

    received: bytes = b""
    whole: bool = False
    """The request at hand comes with all of its body."""
    lingering: bool = False


class Worker(ThreadWorker):  # type: ignore[misc]
    """Holds the sockets of a process; gunicorn names it a class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: set[Connection] = set()
        self.stop_idle_at = 0.0  # set on SIGTERM
        self.accept_at = 0.0
        self.look_at = 0.0
        self.notify_at = 0.0
        self.door: wire.Door | None = None
        self.quick = False  # what is plain goes past gunicorn

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.door = getattr(self.wsgi, "extensions", {}).get(wire.DOOR)  # if it is Flask's
        logged = self.log.access_log_enabled or self.cfg.statsd_host  # only what does not go past
        self.quick = bool(self.cfg.keepalive) and not logged

    # --- connections, all in the event loop ------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Accept a fair share of who waits, and for a moment leave the others to other workers.

        Whoever wakes first would have them all, and a connection stays where it is.
        """
        room = self.worker_connections - self.nr_conns
        for _ in range(min(room, sockets.share(listener, self.cfg.workers))):
            if not self.admit(listener):
                break
        if self.cfg.workers > 1:
            self.rest(OTHERS_SECONDS)

    def rest(self, seconds: float) -> None:
        """Accept nobody for so long."""
        self.accept_at = max(self.accept_at, time.monotonic() + seconds)
        super().set_accept_enabled(False)

    def admit(self, listener: socket.socket) -> bool:
        """Accept one; whether there was anybody."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError as exc:
            if exc.errno not in sockets.NO_MORE_FILES:
                raise
            self.log.warning("nobody is accepted for a while: %s", exc.strerror)
            self.rest(FILES_SECONDS)
            return False
        sockets.limit(client, STALL_SECONDS)
        self.nr_conns += 1
        self.wait(Connection(self.cfg, client, address, listener.getsockname()), REQUEST_SECONDS)
        return True

    def wait(self, conn: Connection, seconds: float) -> None:
        """Have the event loop read what *conn* sends, for so long."""
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
        """Answer the request, or hand it to a thread, once it is whole or the rest is unwanted."""
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
            self.notify()  # a model may be slow, and many may be asking
            self.answer(conn, end)
        else:
            self.submit(conn)

    def answer(self, conn: Connection, end: int) -> None:
        """Answer here: handing a ride to a thread and back costs as much as scoring it."""
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
        """Give what was received to gunicorn's parser."""
        conn.init()
        conn.parser.unreader.unread(conn.received)
        conn.received = b""

    def finish_request(self, conn: Connection, done: Future[bool]) -> None:
        """A thread has answered."""
        if done.cancelled() or done.exception() or not done.result():
            self.linger(conn)
            return
        conn.received = conn.parser.unreader.take_buffered()  # of a client that does not wait
        self.wait(conn, REQUEST_SECONDS if conn.received else self.cfg.keepalive)
        if conn.received:
            self.proceed(conn)

    def refuse(self, conn: Connection, name: str) -> None:
        """Answer with a problem, without a thread, and close."""
        self.tell(conn, self.refusal(name))
        self.unwatch(conn)
        self.linger(conn)

    def refusal(self, name: str) -> bytes:
        return self.door.refuse(name) if self.door else wire.refusal(name)

    def tell(self, conn: Connection, data: bytes) -> None:
        with suppress(OSError):  # it is gone, or does not read: the deadline sees to it
            conn.sock.send(data)

    def linger(self, conn: Connection) -> None:
        """Close, but read on for a while: else what was sent last may not reach the client."""
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
        """Tell gunicorn that the worker lives; it asks for that between any two events."""
        now = time.monotonic()
        if now >= self.notify_at:
            self.notify_at = now + NOTIFY_SECONDS
            super().notify()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        resting = self.alive and not self._accepting and self.nr_conns < self.worker_connections
        seconds = max(0.0, self.accept_at - time.monotonic()) if resting else 0.5
        super().wait_for_and_dispatch_events(min(timeout, seconds))

    def murder_keepalived(self) -> None:
        """gunicorn calls this between events: see whose time is up."""
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
        """Before the last time, accept whoever has been told that they are connected."""
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
            req.force_close()  # so that the answer says it
        with sockets.corked(conn.sock):
            return bool(super().handle_request(req, conn))

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        # What has not come is not waited for; what came and was not read is no next request.
        return keepalive and conn.whole and bool(conn.parser.finish_body())

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """What gunicorn cannot read, or cannot have answered."""
        name = next((name for kind, name in REFUSALS.items() if isinstance(exc, kind)), None)
        if name is None:
            name = "bad-request" if isinstance(exc, errors.ParseException) else "error"
        self.log.warning("request refused: %s (%s)", name, type(exc).__name__)
        with suppress(OSError):  # it is gone: that ends its connection alone
            client.sendall(self.refusal(name))
