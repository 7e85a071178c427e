"""The options of a run, drawn from its seed.

Each run enables only some of the kinds of faults.  If all kinds were enabled in each run, a common
kind would hide the rare ones: few invocations would get far enough to meet them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from random import Random

from .faults import PUT_OBJECT_FAULTS, PUT_RECORDS_FAULTS

UNLIMITED = -1
SLOWEST_RIDE = 0.2  # seconds in which the model scores one ride
ONNX_EVERY = 10  # runs; the other runs score with a stub


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that decides a run; times are in seconds, rates and shares from 0 to 1."""

    seed: int
    # The records.
    records: int
    bursts: int
    """The number of times at which records are put on the stream."""
    arrival_seconds: float
    shards: int
    reshards: int
    """How often a shard is split, or two shards are merged."""
    bad_share: float
    poison_share: float
    """The share of rides that make some version of the model raise an exception."""
    gzip_share: float
    kpl_share: float
    repeat_share: float
    """The share of records that a producer sends twice."""
    bombs: bool
    """Whether a few records hold gzips that are larger than the service accepts."""
    # The mapping.
    batch_size: int
    window: int
    factor: int
    bisect: bool
    retries: int
    age: int
    # The function.
    onnx: bool
    """Whether a real ONNX model scores the rides."""
    intervals: bool
    redeploys: int
    timeout: float
    read_seconds: float
    """The time in which the function reads one record."""
    ride_seconds: float
    """The time in which the model scores one ride."""
    # The faults.
    faulty_seconds: float
    """The time from the start until no more faults occur."""
    put_records: tuple[str, ...]
    put_records_rate: float
    put_object: tuple[str, ...]
    put_object_rate: float
    kills: float
    lost_answers: float
    throttles: float
    outages: int
    # What the search for a shorter trace leaves out.
    kept_records: frozenset[int] | None = None
    """The numbers of the records that are sent; None for all."""
    skipped_faults: frozenset[int] = frozenset()
    """The numbers of the faults that do not occur."""

    def __str__(self) -> str:
        return "\n".join(f"  {field.name} = {getattr(self, field.name)}" for field in fields(self))


def draw(seed: int, *, small: bool = False) -> Options:
    """Return the options of *seed*; if *small*, of a run with few records, for quick tests."""
    random = Random(f"{seed} options")
    put_records = _some(random, PUT_RECORDS_FAULTS)
    put_object = _some(random, PUT_OBJECT_FAULTS)
    calm = random.random() < 0.05
    records = random.randint(8, 24) if small else random.choice([60, 120, 250, 500])
    slow = random.random() < 0.15
    ride_seconds = random.choice([0.0, 0.02, SLOWEST_RIDE] if slow else [0.0, 0.0001])
    kpl_share = random.choice([0.0, 0.02, 0.1])
    return Options(
        seed=seed,
        records=records,
        bursts=random.randint(1, 2 if small else 6),
        arrival_seconds=random.choice([0.0, 10.0, 120.0]),
        shards=1 if small else random.choice([1, 1, 2, 3]),
        reshards=0 if small or random.random() < 0.6 else random.randint(1, 3),
        bad_share=random.choice([0.0, 0.02, 0.1, 0.3]),
        poison_share=random.choice([0.0, 0.0, 0.02, 0.1]),
        gzip_share=random.choice([0.0, 0.05, 0.3]),
        # The slowest model may take longer for an aggregate than an invocation lasts.
        kpl_share=kpl_share if ride_seconds < SLOWEST_RIDE else 0.0,
        repeat_share=random.choice([0.0, 0.0, 0.1]),
        bombs=not small and random.random() < 0.004,
        batch_size=random.choice([24, 50] if slow else [10, 20] if small else [8, 10, 12, 24]),
        window=random.choice([0, 0, 1, 5]),
        factor=1 if random.random() < 0.8 else random.randint(2, 4),
        bisect=random.random() < 0.5,
        retries=UNLIMITED if random.random() < 0.7 else random.randint(0, 4),
        age=UNLIMITED if random.random() < 0.7 else random.choice([60, 300, 3600]),
        onnx=seed % ONNX_EVERY == 0,
        intervals=random.random() < 0.3,
        redeploys=0 if random.random() < 0.6 else random.randint(1, 3),
        timeout=10.0 if slow else random.choice([5.0, 10.0, 60.0]),
        read_seconds=random.choice([0.05, 0.2] if slow else [0.0, 0.001]),
        ride_seconds=ride_seconds,
        faulty_seconds=0.0 if calm else random.choice([30.0, 120.0, 600.0]),
        put_records=put_records,
        put_records_rate=random.choice([0.02, 0.1, 0.3]) if put_records else 0.0,
        put_object=put_object,
        put_object_rate=random.choice([0.05, 0.3]) if put_object else 0.0,
        kills=random.choice([0.0, 0.0, 0.03, 0.15]),
        lost_answers=random.choice([0.0, 0.0, 0.05]),
        throttles=random.choice([0.0, 0.0, 0.05]),
        outages=0 if random.random() < 0.6 else random.randint(1, 3),
    )


def _some(random: Random, kinds: Sequence[str]) -> tuple[str, ...]:
    """Return a random subset of *kinds*, which may be empty."""
    share = random.random()
    return tuple(kind for kind in kinds if random.random() < share)
