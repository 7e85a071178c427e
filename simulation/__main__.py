"""Replays one run, or searches many seeds for one that violates a law."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from os import cpu_count
from time import monotonic

from . import options, world
from .bugs import BUGS, planted
from .options import Options
from .search import search
from .shrink import shrink

MOST_FAILURES = 5  # of a search, that are shown in full


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.seed is not None:
        return _replay(given.seed, small=given.small, bug=given.plant, shorter=given.shrink)
    begun = monotonic()
    found = search(
        given.first,
        given.count,
        workers=given.workers,
        small=given.small,
        bug=given.plant,
        batches=given.batches,
    )
    print("\n".join(found.lines(monotonic() - begun)))
    for seed, violation in sorted(found.failing)[:MOST_FAILURES]:
        print(f"\nSeed {seed}: {violation}")
        _replay(seed, small=given.small, bug=given.plant, shorter=True)
    return 1 if found.failing else 0


def _replay(seed: int, *, small: bool, bug: str, shorter: bool) -> int:
    """Print a run event by event; return 1 if it violates a law."""
    logging.disable(logging.CRITICAL)  # the trace says what the service warns of
    with planted(bug):
        chosen = options.draw(seed, small=small)
        if shorter and world.run(chosen).violation:
            chosen = shrink(chosen)
        _print_options(chosen)
        violation = world.run(chosen, _print_event).violation
    return 1 if violation else 0


def _print_options(chosen: Options) -> None:
    print(f"The options of seed {chosen.seed}:\n{chosen}\n")


def _print_event(seconds: float, part: str, what: str) -> None:
    print(f"{seconds:10.3f}  {part:9}  {what}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seed", type=int, metavar="N", help="replay this seed, event by event")
    parser.add_argument("--shrink", action="store_true", help="make a failing replay shorter first")
    parser.add_argument(
        "--from", dest="first", type=int, default=1, metavar="N", help="the first seed (1)"
    )
    parser.add_argument("--count", type=int, default=1000, metavar="N", help="seeds (1,000)")
    parser.add_argument(
        "--batches", type=int, default=0, metavar="N", help="stop after this many batches"
    )
    parser.add_argument(
        "--workers", type=int, default=cpu_count() or 1, metavar="N", help="processes (one per CPU)"
    )
    parser.add_argument("--small", action="store_true", help="runs with few records, as in tests")
    parser.add_argument(
        "--plant",
        default="",
        choices=[bug.name for bug in BUGS],
        metavar="BUG",
        help=f"plant a bug: {', '.join(bug.name for bug in BUGS)}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
