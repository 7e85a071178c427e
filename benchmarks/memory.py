"""Measures the memory of the web service over 200,000 requests: ``python -m benchmarks.memory``.

The service runs with two workers and two models; the program hey sends the requests.  After each
tenth of the requests, the benchmark reads the memory of the server and its workers: RSS, PSS (in
which shared pages count once in total), and the workers' private memory.  It exits with 1 if each
worker grew by more than 1 MB in the second half.  Writes build/bench/results.json, and prints a
table to standard output.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from .results import save
from .web import CLIENTS, CONTENDERS, WORKERS, Server, run_server, setup_error

REQUESTS = 200_000
SLICES = 10
GROWTH_MB = 1.0
FIELDS = {"Rss", "Pss", "Private_Clean", "Private_Dirty"}


class Memory(NamedTuple):
    """The memory of a server and its workers together, in megabytes."""

    rss: float
    pss: float
    workers_alone: float
    """The private memory of the workers."""


def memory(server: int) -> Memory:
    """Return the memory of the process with the id *server* and its children."""
    workers = [
        int(pid) for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()
    ]
    found = {pid: _rollup(pid) for pid in (server, *workers)}
    return Memory(
        sum(one["Rss"] for one in found.values()),
        sum(one["Pss"] for one in found.values()),
        sum(found[pid]["Private_Clean"] + found[pid]["Private_Dirty"] for pid in workers),
    )


def _rollup(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    rows = (line.split() for line in lines)
    return {name[:-1]: int(kilobytes) / 1024 for name, kilobytes, *_ in rows if name[:-1] in FIELDS}


def send_requests(server: Server, number: int) -> None:
    """Send *number* requests to *server*.  Raises `SystemExit` if one of them fails."""
    command = ["hey", "-n", str(number), "-c", str(CLIENTS), "-o", "csv", "-m", "POST"]
    sent = ["-T", "application/json", "-d", server.body, server.url]
    rows = subprocess.check_output([*command, *sent], text=True).splitlines()[1:]
    answered = sum(row.split(",")[6] == "200" for row in rows)
    if answered != number // CLIENTS * CLIENTS:  # hey sends the same number for each client
        raise SystemExit(f"{answered} of {number} requests succeeded")


def measure(server: Server, requests: int) -> list[Memory]:
    """Return the memory before the first request and after each tenth of *requests* requests."""
    found = [memory(server.pid)]
    print("| requests | RSS | PSS | private to workers |\n|---|---|---|---|", flush=True)
    for slice_ in range(SLICES + 1):
        if slice_:
            send_requests(server, requests // SLICES)
            found.append(memory(server.pid))
        cells = [f"{requests // SLICES * slice_:,}", *(f"{mb:.1f} MB" for mb in found[-1])]
        print(f"| {' | '.join(cells)} |", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--model", type=Path, default=Path("build/model"))
    parser.add_argument("--cost-model", type=Path, default=Path("build/cost-model"))
    parser.add_argument("--requests", type=int, default=REQUESTS)
    options = parser.parse_args()
    model, cost_model = options.model.resolve(), options.cost_model.resolve()
    if error := setup_error(model, cost_model):
        print(error, file=sys.stderr)
        return 2
    with run_server(CONTENDERS["two"], model, cost_model) as server:
        found = measure(server, options.requests)
    grown = (found[-1].workers_alone - found[SLICES // 2].workers_alone) / WORKERS
    save(
        "web_memory",
        {
            "requests": options.requests,
            "start": found[0]._asdict(),
            "end": found[-1]._asdict(),
            "growth_of_a_worker_in_the_second_half_mb": round(grown, 2),
        },
    )
    print(f"\nEach worker grew by {grown:.2f} MB in the second half.")
    return 1 if grown > GROWTH_MB else 0


if __name__ == "__main__":
    sys.exit(main())
