"""Measures the event source mapping: ``python -m benchmarks.mapping``.

Rides in the shards of a stream in memory go through the mapping, with threads, into a handler that
does nothing.  The time includes all work of the mapping: batches, events with base64, invocations,
responses and checkpoints.  Prints a table, with the median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from rich.progress import track

from event_source_mapping.functions import in_process
from event_source_mapping.identity import identity
from event_source_mapping.memory import MemoryStream
from event_source_mapping.settings import PARTIAL_RESPONSES, Settings
from event_source_mapping.threads import run
from local.messages import ride_event

RIDES, ROUNDS = 100_000, 5
CASES = ((4, 1000, 1), (4, 100, 1), (4, 100, 4), (4, 10, 1))
"""Shards, batch size, parallelization factor."""
NAMES = identity("ride_events", "nothing")


def filled(rides: int, shards: int) -> MemoryStream:
    """Return a stream of *shards* with *rides* in them."""
    stream = MemoryStream(shards)
    stream.now = time.time()
    for number in range(rides):
        event = ride_event(number, 130, 205, 3.66, "2021-03-01T08:15:00")
        stream.put(json.dumps(event).encode(), str(number))
    return stream


def per_second(rides: int, shards: int, batch_size: int, factor: int) -> float:
    """Return the rides a second that the mapping delivers."""
    stream, seen = filled(rides, shards), 0
    settings = Settings(
        batch_size=batch_size,
        parallelization_factor=factor,
        function_response_types=(PARTIAL_RESPONSES,),
    )

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return {"batchItemFailures": []}

    def checkpoint(shard_id: str, sequence_number: str) -> None:
        nonlocal seen
        seen += 1

    began = time.perf_counter()
    run(
        in_process(handler, NAMES, timeout=60),
        stream,
        settings,
        NAMES,
        finished=lambda: True,
        on_checkpoint=checkpoint,
    )
    seconds = time.perf_counter() - began
    if not seen:
        raise RuntimeError("the mapping reported no checkpoint")
    return rides / seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mapping", description=__doc__)
    parser.add_argument("--rides", type=int, default=RIDES, help="in each round (%(default)s)")
    options = parser.parse_args(arguments)
    found: dict[tuple[int, int, int], list[float]] = {case: [] for case in CASES}
    for _ in track(range(ROUNDS), description="rounds"):
        for case in CASES:
            found[case].append(per_second(options.rides, *case))
    print("| shards | batch size | parallelization factor | rides/s |\n|---|---|---|---|")
    for (shards, size, factor), rates in found.items():
        print(f"| {shards} | {size:,} | {factor} | {median(rates):,.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
