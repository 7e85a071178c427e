"""Makes a failing run shorter: fewer faults and records, with a violation of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from . import workload, world
from .options import Options

MOST_RUNS = 400
PLAINER: tuple[dict[str, object], ...] = (
    {"onnx": False},
    {"intervals": False},
    {"reshards": 0},
    {"redeploys": 0},
    {"shards": 1},
    {"factor": 1},
    {"window": 0},
    {"bisect": False},
    {"age": -1},
    {"retries": -1},
    {"gzip_share": 0.0},
    {"kpl_share": 0.0},
    {"poison_share": 0.0},
    {"bad_share": 0.0},
    {"arrival_seconds": 0.0, "bursts": 1},
    {"bombs": False},
    {"kills": 0.0},
    {"lost_answers": 0.0},
    {"throttles": 0.0},
    {"outages": 0},
    {"put_object": (), "put_object_rate": 0.0},
    {"put_records": (), "put_records_rate": 0.0},
    {"read_seconds": 0.0},
    {"ride_seconds": 0.0},
)
"""Options that make a run easier to read."""


def shrink(options: Options, *, most: int = MOST_RUNS) -> Options:
    """Return options of a shorter run, in which a law of the same kind is violated.

    The run of *options* must violate a law.  Returns the best options after *most* runs.
    """
    kind = _kind(options)
    runs = iter(range(most))

    def fails(changed: Options) -> bool:
        return next(runs, None) is not None and _kind(changed) == kind

    sent = range(len(workload.records(replace(options, kept_records=None))))
    options = replace(options, kept_records=frozenset(options.kept_records or sent))
    before = None
    while before != options:
        before = options
        for change in (*PLAINER, *_single_kinds(options)):
            if fails(plainer := replace(options, **change)):  # type: ignore[arg-type]
                options = plainer
        options = _with_fewer_records(options, fails)
        options = _with_fewer_faults(options, fails)
    return options


def _single_kinds(options: Options) -> Iterator[dict[str, object]]:
    """Yield changes that leave one kind of fault, and let it occur more often."""
    for name in ("put_records", "put_object"):
        kinds = getattr(options, name)
        if len(kinds) > 1:
            for kind in kinds:
                yield {name: (kind,), f"{name}_rate": 0.5}


def _kind(options: Options) -> str:
    violation = world.run(options).violation
    return violation.kind if violation else ""


def _with_fewer_records(options: Options, fails: Callable[[Options], bool]) -> Options:
    """Leave out records, in parts of decreasing size, as long as the run fails."""
    for part in _parts(sorted(options.kept_records or ())):
        fewer = replace(
            options, kept_records=(options.kept_records or frozenset()).difference(part)
        )
        if fewer != options and fewer.kept_records and fails(fewer):
            options = fewer
    return options


def _with_fewer_faults(options: Options, fails: Callable[[Options], bool]) -> Options:
    """Leave out faults, in parts of decreasing size, as long as the run fails."""
    for part in _parts(range(world.run(options).fault_numbers)):
        fewer = replace(options, skipped_faults=options.skipped_faults.union(part))
        if fewer != options and fails(fewer):
            options = fewer
    return options


def _parts(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield the halves of *numbers*, their quarters, and so on, down to single numbers."""
    size = len(numbers)
    while size > 1:
        size = -(-size // 2)
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]
