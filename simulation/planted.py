"""Plants bugs, and counts the seeds until each is found: ``python -m simulation.planted``.

The search for a bug ends at the first run in which a law is violated.  A bug that no run finds
shows a law that the simulator does not check, or a situation that it never makes.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from multiprocessing import Pool
from typing import NamedTuple

from . import options, world
from .bugs import BUGS, planted

MOST_SEEDS = 10_000


class Found(NamedTuple):
    """The first run that finds a bug; *seeds* is how many were tried."""

    name: str
    seeds: int
    violation: str
    """Empty if no run found the bug."""


def find(name: str, most: int = MOST_SEEDS, *, small: bool = False) -> Found:
    """Run the seeds from 1 to *most*, until one finds the bug *name*."""
    logging.disable(logging.CRITICAL)
    with planted(name):
        for seed in range(1, most + 1):
            if violation := world.run(options.draw(seed, small=small)).violation:
                return Found(name, seed, str(violation))
    return Found(name, most, "")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m simulation.planted",
        description="Plant each bug, and print after how many seeds the simulator finds it.",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument(
        "--seeds", type=int, default=MOST_SEEDS, metavar="N", help="at most, for each bug (10,000)"
    )
    given = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)  # the service warns of each injected fault
    missed = 0
    print("| planted bug | seeds | what is found |\n|---|---|---|")
    with Pool(given.workers) as pool:
        calls = [pool.apply_async(find, (bug.name, given.seeds)) for bug in BUGS]
        for bug, call in zip(BUGS, calls, strict=True):
            found = call.get()
            missed += not found.violation
            text = found.violation.partition(":")[0] or "NOT FOUND"
            print(f"| {bug.meaning} | {found.seeds:,} | {text} |", flush=True)
    print(f"\n{len(BUGS) - missed} of {len(BUGS)} bugs are found.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
