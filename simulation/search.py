"""Runs many seeds in several processes, and adds up what happened."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pool
from signal import SIG_IGN, SIGINT, signal
from time import monotonic

from rich.console import Console
from rich.progress import Progress

from . import options, world
from .bugs import planted
from .ledger import KINDS

SEEDS_A_TASK = 50
LOG_SECONDS = 60  # between two lines about the progress, where there is no terminal


@dataclass(slots=True)
class Summary:
    """The sum of many runs; mutable, because runs are added to it."""

    seeds: int = 0
    onnx: int = 0
    """The number of runs with a real ONNX model."""
    batches: int = 0
    records: int = 0
    sent: int = 0
    published: int = 0
    duplicates: int = 0
    kept: int = 0
    at_destination: int = 0
    virtual_hours: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    failing: list[tuple[int, str]] = field(default_factory=list)
    """The seeds whose runs violate a law, with the violation."""

    def add(self, other: Summary) -> None:
        for name in ("seeds", "onnx", "batches", "records", "sent", "published", "duplicates"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("kept", "at_destination", "virtual_hours"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults.update(other.faults)
        self.violations.update(other.violations)
        self.failing += other.failing

    def lines(self, seconds: float) -> Iterator[str]:
        """Yield the summary as lines of Markdown; *seconds* is the real time that it took."""
        yield "| | |\n|---|---|"
        yield f"| seeds | {self.seeds:,}, {self.onnx:,} of them with a real ONNX model |"
        yield f"| batches | {self.batches:,} |"
        yield f"| records in a batch | {self.records / max(1, self.batches):.1f} on the mean |"
        yield f"| records sent | {self.sent:,} |"
        yield f"| predictions published | {self.published:,} |"
        yield f"| of them duplicates | {self.duplicates:,} |"
        yield f"| rejections kept | {self.kept:,} |"
        yield f"| records at the destination | {self.at_destination:,} |"
        yield f"| faults | {self.faults.total():,} |"
        for kind in KINDS:
            yield f"| **{kind}** | **{self.violations[kind]:,}** |"
        yield f"| virtual time | {self.virtual_hours:,.0f} hours |"
        yield f"| real time | {seconds / 60:.1f} minutes |"
        yield "\n| fault | times |\n|---|---|"
        for kind, times in sorted(self.faults.items()):
            yield f"| {kind} | {times:,} |"


def run_seeds(seeds: Sequence[int], small: bool, bug: str) -> Summary:
    """Return the sum of the runs of *seeds*, with the planted *bug* if it is not empty."""
    logging.disable(logging.CRITICAL)  # the service warns of each injected fault
    found = Summary()
    with planted(bug):
        for seed in seeds:
            result = world.run(options.draw(seed, small=small))
            found.add(_of(result))
    return found


def _of(result: world.Result) -> Summary:
    violation = result.violation
    return Summary(
        seeds=1,
        onnx=int(result.options.onnx),
        batches=result.batches,
        records=result.records,
        sent=result.sent,
        published=result.published,
        duplicates=result.duplicates,
        kept=result.kept,
        at_destination=result.at_destination,
        virtual_hours=result.seconds / 3600,
        faults=result.faults,
        violations=Counter([violation.kind] if violation else []),
        failing=[(result.options.seed, str(violation))] if violation else [],
    )


def search(
    first: int, count: int, *, workers: int, small: bool, bug: str, batches: int = 0
) -> Summary:
    """Run *count* seeds from *first* on, with progress on standard error.

    *workers* is the number of processes.  If *small*, the runs have few records.  *bug* is the name
    of a bug to plant, or empty.  If *batches* is not 0, end as soon as this many batches have run.
    Ctrl+C ends the search, too; the summary then has the runs so far.
    """
    total = Summary()
    tasks = (
        (range(start, min(start + SEEDS_A_TASK, first + count)), small, bug)
        for start in range(first, first + count, SEEDS_A_TASK)
    )
    begun = said = monotonic()
    # Only this process handles Ctrl+C; leaving the pool ends the others.
    with Pool(workers, signal, (SIGINT, SIG_IGN)) as pool, _progress() as progress:
        bar = progress.add_task("seeds", total=batches or count)
        with suppress(KeyboardInterrupt):
            for found in pool.imap_unordered(_task, tasks):
                total.add(found)
                rate = total.batches / (monotonic() - begun)
                so_far = (
                    f"{total.seeds:,} seeds, {total.batches:,} batches, {rate:,.0f} a second,"
                    f" {total.violations.total()} violations"
                )
                done = total.batches if batches else total.seeds
                progress.update(bar, completed=done, description=so_far)
                if not progress.console.is_terminal and monotonic() > said + LOG_SECONDS:
                    said = monotonic()
                    progress.console.print(so_far)
                if batches and total.batches >= batches:
                    break
    return total


def _task(task: tuple[Sequence[int], bool, str]) -> Summary:
    return run_seeds(*task)


def _progress() -> Progress:
    return Progress(console=Console(stderr=True))
