"""Measures the time of each part of a quote: ``python -m benchmarks.quote``.

Each part of the web service's work for one ride runs in a loop in one process.  It is measured with
a thousand different rides, and with the same ride repeatedly.  For the same ride, the needed nodes
of the trees are already in the processor's cache.  In a real request, each part takes longer,
because other code uses the cache between two quotes.  The result is the fastest of several rounds.
Writes build/bench/results.json, and prints a table to standard output.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from model_service.features import columns
from model_service.models import loader
from model_service.models.served import Models, Served
from model_service.scoring import Target
from model_service.web import quotes
from model_service.web.quotes import QuoteRequest

from .results import save
from .web import rides, setup_error

ROUNDS = 7

Part = Callable[[QuoteRequest], Any]


def parts(models: Models) -> dict[str, Part]:
    """Return the parts of a quote: title -> function of a ride; *models* needs a cost model."""
    alone = Models(models.duration)
    assert models.cost is not None
    duration, cost = models.duration.model, models.cost.model
    return {
        "its columns": lambda ride: columns([ride.ride]),
        "columns, and the model's answer": lambda ride: duration.predict(columns([ride.ride])),
        "columns, and the cost model's": lambda ride: cost.predict(columns([ride.ride])),
        "a quote, one model": lambda ride: quotes.quote(alone, [ride], time_left=lambda: inf),
        "a quote, two models": lambda ride: quotes.quote(models, [ride], time_left=lambda: inf),
    }


def microseconds(part: Part, rides: Sequence[QuoteRequest]) -> float:
    """Return the microseconds that *part* takes for one ride, measured with all *rides*."""

    def round_() -> float:
        began = time.perf_counter()
        for ride in rides:
            part(ride)
        return (time.perf_counter() - began) / len(rides) * 1e6

    return round(min(round_() for _ in range(ROUNDS)), 1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quote")
    parser.add_argument("--model", type=Path, default=Path("build/model"))
    parser.add_argument("--cost-model", type=Path, default=Path("build/cost-model"))
    options = parser.parse_args()
    if error := setup_error(options.model, options.cost_model):
        print(error, file=sys.stderr)
        return 2
    served = (
        Served(loader.load(str(path)), Target()) for path in (options.model, options.cost_model)
    )
    now = datetime.now(UTC)
    different = [quotes.decode(msgspec.json.encode(ride), now) for ride in rides()]
    same = different[:1] * len(different)
    found = {
        title: {"differ_us": microseconds(part, different), "same_us": microseconds(part, same)}
        for title, part in parts(Models(*served)).items()
    }
    save("quote", found)
    print("| time per ride | different rides | the same ride |\n|---|---|---|")
    for title, row in found.items():
        print(f"| {title} | {row['differ_us']:.0f} µs | {row['same_us']:.0f} µs |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
