"""Compares gunicorn's worker classes under this service: ``python -m benchmarks.workers``.

The service runs with two workers and two models under each worker class.  All servers run at the
same time.  In each round, they are measured one after another, as in `benchmarks.web`: the highest
request rate, the processor time per request, and the latency at half of the rate.  Then 200 clients
send each server a part of the head, or of the body, of a request, while other clients send complete
requests.  At the end, each server gets a SIGTERM while eight clients send requests, each on a new
connection.

Writes build/bench/results.json, and prints a table to standard output.  Needs the Debian packages
wrk and hey.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.progress import track

from local.aws.lambda_container import HOST

from .memory import memory
from .results import save
from .web import GUNICORN, Contender, Server, Turn, run_server, setup_error, turn, warm_up

ROUNDS = 5
SECONDS = 2
SLOW_CLIENTS = 200
REQUESTS = 40
"""Whole requests that are sent beside the slow clients."""

ANSWER_SECONDS = 1.0
"""A request beside the slow clients counts as answered within this time."""

STOP_CLIENTS = 8
STOP_SECONDS = 40

CANDIDATES = {
    "gthread-1": ("gthread, 1 thread", ("--worker-class=gthread", "--threads=1")),
    "gthread-4": ("gthread, 4 threads", ("--worker-class=gthread", "--threads=4")),
    "gevent": ("gevent", ("--worker-class=gevent",)),
}


class Candidate(NamedTuple):
    """All measurements of one worker class."""

    turns: list[Turn]
    megabytes: float
    """The PSS of the server after the load."""
    slow_head: int
    """How many of `REQUESTS` were answered beside clients that did not finish their head."""
    slow_body: int
    """The same, beside clients that did not finish their body."""
    at_stop: Counter[str]
    """What happened to the requests around the SIGTERM."""
    stop_seconds: float


def whole_request(server: Server) -> bytes:
    """Return the bytes of a request that asks to close the connection."""
    body = server.body.encode()
    return (
        b"POST /predict HTTP/1.1\r\nHost: rides\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
    )


def send(port: int, request: bytes, seconds: float) -> str:
    """Send *request* on a new connection to *port*, and wait at most *seconds* for the response.

    Returns ``answered`` (with status 200), ``refused``, ``reset`` or ``no answer``.
    """
    try:
        with socket.create_connection((HOST, port), seconds) as client:
            client.sendall(request)
            return "answered" if client.recv(12) == b"HTTP/1.1 200" else "no answer"
    except ConnectionRefusedError:
        time.sleep(0.01)
        return "refused"
    except OSError as exc:
        return "reset" if isinstance(exc, ConnectionError) else "no answer"


def answered_beside_slow_clients(server: Server, sent: bytes) -> int:
    """Return how many of `REQUESTS` complete requests are answered beside slow clients.

    `SLOW_CLIENTS` connections have sent only *sent*, the first bytes of a request.
    """
    with ExitStack() as stack:
        for _ in range(SLOW_CLIENTS):
            slow = stack.enter_context(socket.create_connection((HOST, server.port), 10))
            slow.sendall(sent)
        time.sleep(0.5)
        with ThreadPoolExecutor(REQUESTS) as pool:
            request = whole_request(server)
            found = pool.map(lambda _: send(server.port, request, ANSWER_SECONDS), range(REQUESTS))
            return sum(one == "answered" for one in found)


def stop_under_load(server: Server) -> tuple[Counter[str], float]:
    """Send SIGTERM to *server* while `STOP_CLIENTS` clients send requests.

    Returns the number of requests by result (see `send`), and the seconds until the server ended.
    """
    found: Counter[str] = Counter()
    ended = threading.Event()
    request = whole_request(server)

    def send_repeatedly() -> None:
        while not ended.is_set():
            found[send(server.port, request, 10)] += 1

    with ThreadPoolExecutor(STOP_CLIENTS) as pool:
        for _ in range(STOP_CLIENTS):
            pool.submit(send_repeatedly)
        time.sleep(1)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(STOP_SECONDS)
        took = time.monotonic() - began
        ended.set()
    return found, took


def measure(
    model: Path, cost_model: Path, names: list[str], rounds: int, seconds: float
) -> dict[str, Candidate]:
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name in names:
            title, options = CANDIDATES[name]
            contender = Contender(title, (*GUNICORN, *options, "predict:app"), two=True)
            servers[name] = stack.enter_context(run_server(contender, model, cost_model))
        for server in servers.values():
            warm_up(server)
        for _ in track(range(rounds), "measuring"):
            for name, server in servers.items():
                turns[name].append(turn(server, seconds))
        return {name: _tried(server, turns[name]) for name, server in servers.items()}


def _tried(server: Server, turns: list[Turn]) -> Candidate:
    megabytes = memory(server.pid).pss
    whole = whole_request(server)
    head = whole.partition(b"\r\n\r\n")[0]
    slow_head = answered_beside_slow_clients(server, head)
    slow_body = answered_beside_slow_clients(server, whole[:-1])
    return Candidate(turns, megabytes, slow_head, slow_body, *stop_under_load(server))


def figures(candidate: Candidate) -> dict[str, float]:
    """Return the medians over the rounds, and the other figures of a worker class."""
    turns = candidate.turns
    return {
        "requests_per_second": round(median(turn.per_second for turn in turns), 1),
        "cpu_us": round(median(turn.cpu_us for turn in turns)),
        "p50_ms": round(median(turn.p50_ms for turn in turns), 2),
        "p99_ms": round(median(turn.p99_ms for turn in turns), 2),
        "pss_mb": round(candidate.megabytes, 1),
        "answered_beside_slow_heads": candidate.slow_head,
        "answered_beside_slow_bodies": candidate.slow_body,
        **{f"stop_{what.replace(' ', '_')}": n for what, n in candidate.at_stop.items()},
        "stop_seconds": round(candidate.stop_seconds, 1),
    }


def table(results: dict[str, dict[str, float]]) -> str:
    """Return *results* as the table in docs/benchmarks.md."""
    lines = [
        "| | requests per second | processor time | p50 | p99 | memory (PSS) | beside slow heads"
        " | beside slow bodies | at SIGTERM: answered, reset, no answer | time to stop |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in results.items():
        at_stop = [f"{row.get(f'stop_{what}', 0):,}" for what in ("answered", "reset", "no_answer")]
        cells = [
            CANDIDATES[name][0],
            f"{row['requests_per_second']:,.0f}",
            f"{row['cpu_us']:,.0f} µs",
            f"{row['p50_ms']:.1f} ms",
            f"{row['p99_ms']:.1f} ms",
            f"{row['pss_mb']:.0f} MB",
            f"{row['answered_beside_slow_heads']} of {REQUESTS}",
            f"{row['answered_beside_slow_bodies']} of {REQUESTS}",
            ", ".join(at_stop),
            f"{row['stop_seconds']:.0f} s",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers")
    parser.add_argument("--model", type=Path, default=Path("build/model"))
    parser.add_argument("--cost-model", type=Path, default=Path("build/cost-model"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of each measurement")
    parser.add_argument(
        "--candidates", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES)
    )
    options = parser.parse_args()
    model, cost_model = options.model.resolve(), options.cost_model.resolve()
    if error := setup_error(model, cost_model):
        print(error, file=sys.stderr)
        return 2
    found = measure(model, cost_model, options.candidates, options.rounds, options.seconds)
    results = {name: figures(candidate) for name, candidate in found.items()}
    save("web_workers", results)
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
