"""Decides which faults occur, and when.

Faults are numbered in the order in which they occur.  A fault whose number is skipped does not
occur; so a failing run can be repeated with fewer faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .clock import Clock
    from .options import Options

PUT_RECORDS_FAULTS = (
    "throttled call",
    "throttled entries",
    "failed entries",
    "denied",
    "500 before it applied",
    "500 after it applied",
    "503 after it applied in part",
    "reset before it applied",
    "reset after it applied",
    "timed out, applied late",
    "timed out, not applied",
    "truncated answer",
    "too few answers",
    "too many answers",
    "answers without sequence numbers",
    "foreign answer",
    "slower than the deadline, applied",
    "slower than the deadline, not applied",
)
PUT_OBJECT_FAULTS = (
    "SlowDown",
    "denied",
    "500 before it applied",
    "500 after it applied",
    "reset before it applied",
    "reset after it applied",
    "timed out, applied late",
    "timed out, not applied",
    "truncated answer",
    "foreign answer",
    "slower than the deadline, applied",
    "slower than the deadline, not applied",
)
UNAVAILABLE = "unavailable"
OUTAGES = ("kinesis", "s3", "kinesis and s3", "model", "lambda")

Note = Callable[[str, str], None]
"""A function that takes the name of a part and a sentence, for the trace of a run."""


class Outage(NamedTuple):
    """A time in which a part of the world is unavailable; both ends are in seconds since 1970."""

    part: str
    begins: float
    ends: float


@dataclass(slots=True)
class Faults:
    """The faults of one run; mutable, because it numbers and counts them."""

    options: Options
    clock: Clock
    note: Note | None = None
    counts: Counter[str] = field(default_factory=Counter)
    outages: tuple[Outage, ...] = ()
    ends: float = 0.0
    """The time from which no more faults occur."""
    number: int = 0
    """The number of the next fault."""
    _random: dict[str, Random] = field(default_factory=dict)

    def __post_init__(self) -> None:
        begins = self.clock.now
        self.ends = begins + self.options.faulty_seconds
        for part in ("PutRecords", "PutObject", "function", "details"):
            self._random[part] = Random(f"{self.options.seed} {part}")
        random = Random(f"{self.options.seed} outages")
        for _ in range(self.options.outages if self.options.faulty_seconds else 0):
            part = random.choice(OUTAGES)
            start = begins + random.uniform(0, self.options.faulty_seconds)
            end = start + random.choice([20.0, 60.0, 300.0])
            if self.occurs(f"{part} is unavailable for {end - start:.0f} s"):
                self.outages += (Outage(part, start, min(end, self.ends)),)

    @property
    def details(self) -> Random:
        """Return the generator of random numbers for the details of faults."""
        return self._random["details"]

    def occurs(self, kind: str) -> bool:
        """Count the next fault, which is of *kind*; return False if its number is skipped."""
        number, self.number = self.number, self.number + 1
        if number in self.options.skipped_faults:
            return False
        self.counts[kind.split(" for ")[0]] += 1
        if self.note:
            self.note("fault", f"#{number} {kind}")
        return True

    def happens(self, part: str, rate: float, kind: str) -> bool:
        """Return whether a fault of *kind* occurs now in *part*.

        *rate*, from 0 to 1, is its probability.
        """
        if not rate or self.clock.now >= self.ends:
            return False
        return self._random[part].random() < rate and self.occurs(kind)

    def put_records(self) -> str:
        """Return the kind of the fault of this PutRecords call; empty for none."""
        options = self.options
        return self._call("PutRecords", "kinesis", options.put_records, options.put_records_rate)

    def put_object(self) -> str:
        """Return the kind of the fault of this PutObject call; empty for none."""
        options = self.options
        return self._call("PutObject", "s3", options.put_object, options.put_object_rate)

    def is_out(self, part: str) -> bool:
        """Return whether *part* is unavailable now."""
        now = self.clock.now
        return any(part in out.part and out.begins <= now < out.ends for out in self.outages)

    def _call(self, call: str, part: str, kinds: Sequence[str], rate: float) -> str:
        if self.is_out(part):
            self.counts[f"{call}: {UNAVAILABLE}"] += 1
            return UNAVAILABLE
        if not rate or self.clock.now >= self.ends:
            return ""
        random = self._random[call]
        if random.random() >= rate:
            return ""
        kind = random.choice(kinds)
        return kind if self.occurs(f"{call}: {kind}") else ""
