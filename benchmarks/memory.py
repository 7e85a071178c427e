"""What the web service's memory does over many requests: ``python -m benchmarks.memory``.

Two workers, two models, and 200,000 requests by hey on loopback.  After every tenth of them, what
the server and its workers have in memory: of each page its share (PSS), and what is theirs alone;
and what all of them would have if nothing were shared (RSS).  Fails where the workers have grown by
more than a megabyte each in the second half.  Writes build/bench/results.json, and a table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from .results import save
from .web import CLIENTS, WAYS, WORKERS, Server, fault, server

REQUESTS = 200_000
SLICES = 10
GROWTH_MB = 1.0
KEPT = {"Rss", "Pss", "Private_Clean", "Private_Dirty"}


class Memory(NamedTuple):
    """Megabytes of a server and its workers together."""

    rss: float
    pss: float
    workers_alone: float
    """What no other process shares, of the workers."""


def memory(server: int) -> Memory:
    """Of the process *server* and its children."""
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
    return {name[:-1]: int(kilobytes) / 1024 for name, kilobytes, *_ in rows if name[:-1] in KEPT}


def ask(at: Server, number: int) -> None:
    """*number* requests, all of which have to be answered."""
    command = ["hey", "-n", str(number), "-c", str(CLIENTS), "-o", "csv", "-m", "POST"]
    sent = ["-T", "application/json", "-d", at.body, at.url]
    rows = subprocess.check_output([*command, *sent], text=True).splitlines()[1:]
    answered = sum(row.split(",")[6] == "200" for row in rows)
    if answered != number // CLIENTS * CLIENTS:  # hey gives each client as many
        raise SystemExit(f"{answered} of {number} requests were answered")


def measure(at: Server, requests: int) -> list[Memory]:
    """Before the first request, and after each tenth."""
    found = [memory(at.pid)]
    print("| requests | RSS | PSS | of the workers alone |\n|---|---|---|---|", flush=True)
    for slice_ in range(SLICES + 1):
        if slice_:
            ask(at, requests // SLICES)
            found.append(memory(at.pid))
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
    if said := fault(model, cost_model):
        print(said, file=sys.stderr)
        return 2
    with server(WAYS["two"], model, cost_model) as at:
        found = measure(at, options.requests)
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
    print(f"\nIn the second half a worker grew by {grown:.2f} MB.")
    return 1 if grown > GROWTH_MB else 0


if __name__ == "__main__":
    sys.exit(main())
