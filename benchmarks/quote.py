"""Where the time of a quote goes: ``python -m benchmarks.quote``.

The parts of what the web service does for one ride, in a loop of one process: for a thousand rides
that differ, and for one of them over and over, whose way through the trees the processor knows by
then.  In a request each takes longer, since other code has run meanwhile.  The least of some
rounds.  Writes build/bench/results.json, and a table to standard output.
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
from model_service.web.quotes import Asked

from .results import save
from .web import fault, rides

ROUNDS = 7

Part = Callable[[Asked], Any]


def parts(models: Models) -> dict[str, Part]:
    """By title; *models* has both."""
    alone = Models(models.duration)
    assert models.cost is not None
    duration, cost = models.duration.model, models.cost.model
    return {
        "its columns": lambda asked: columns([asked.ride]),
        "columns, and the model's answer": lambda asked: duration.predict(columns([asked.ride])),
        "columns, and the cost model's": lambda asked: cost.predict(columns([asked.ride])),
        "a quote, one model": lambda asked: quotes.quote(alone, [asked], time_left=lambda: inf),
        "a quote, two models": lambda asked: quotes.quote(models, [asked], time_left=lambda: inf),
    }


def microseconds(part: Part, asked: Sequence[Asked]) -> float:
    """What *part* takes for one of them."""

    def round_() -> float:
        began = time.perf_counter()
        for one in asked:
            part(one)
        return (time.perf_counter() - began) / len(asked) * 1e6

    return round(min(round_() for _ in range(ROUNDS)), 1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quote")
    parser.add_argument("--model", type=Path, default=Path("build/model"))
    parser.add_argument("--cost-model", type=Path, default=Path("build/cost-model"))
    options = parser.parse_args()
    if said := fault(options.model, options.cost_model):
        print(said, file=sys.stderr)
        return 2
    served = (
        Served(loader.load(str(path)), Target()) for path in (options.model, options.cost_model)
    )
    now = datetime.now(UTC)
    differ = [quotes.decode(msgspec.json.encode(ride), now) for ride in rides()]
    same = differ[:1] * len(differ)
    found = {
        title: {"differ_us": microseconds(part, differ), "same_us": microseconds(part, same)}
        for title, part in parts(Models(*served)).items()
    }
    save("quote", found)
    print("| of one ride | rides that differ | one over and over |\n|---|---|---|")
    for title, row in found.items():
        print(f"| {title} | {row['differ_us']:.0f} µs | {row['same_us']:.0f} µs |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
