"""Writes a run as text, a line for each step, for readers who have never seen a batch split.

Records are numbered in the order in which they arrive from their shard, because their sequence
numbers are too long to compare by eye.  A batch that comes from a split is indented under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from .decisions import (
    AGE_EXCEEDED,
    Checkpoint,
    Decision,
    Discard,
    Expired,
    Finished,
    Invoke,
    Open,
    Progressed,
    Retry,
    Split,
    Succeeded,
)
from .events import RecordsArrived
from .records import Record
from .settings import LATEST

INDENT = "  "
HEAD = ("seconds", "shard", "records", "step")
RECORDS_WIDTH = 22


@dataclass(frozen=True, slots=True)
class Note:
    """A text that says how the last invocation with *records* failed."""

    shard_id: str
    records: tuple[Record, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A text about the last invocation with *records*, which did not fail."""

    shard_id: str
    records: tuple[Record, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at the time *at*, in seconds."""

    at: float
    what: Decision | Note | Remark | RecordsArrived


@dataclass(slots=True)
class Narrator:
    """Writes moments as lines of text.  It is a class because it holds the records' numbers."""

    started_at: float
    has_destination: bool = True
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    depths: dict[tuple[str, str], int] = field(default_factory=dict)

    def head(self) -> str:
        """Return the line with the names of the columns."""
        return _columns(*HEAD)

    def line(self, moment: Moment) -> str | None:
        """Return the line of text for *moment*; None for an arrival, which only numbers records."""
        what = moment.what
        if isinstance(what, RecordsArrived):
            self._number(what)
            return None
        records = _records(what)
        shard = what.shard_id.removeprefix("shardId-").lstrip("0") or "0"
        indent = INDENT * self._depth(what, records)
        seconds = f"{moment.at - self.started_at:,.3f}"
        shown = indent + self.names(what.shard_id, records)
        return _columns(seconds, shard, shown, self._step(moment.at, what)).rstrip()

    def names(self, shard_id: str, records: Sequence[Record]) -> str:
        """Return the numbers of *records*, such as ``1-3 7``."""
        found = [self.numbers.get((shard_id, record.sequence_number)) for record in records]
        return ranges([number for number in found if number is not None])

    def _number(self, arrival: RecordsArrived) -> None:
        first = self.counts.get(arrival.shard_id, 0) + 1
        for number, record in enumerate(arrival.records, first):
            self.numbers[arrival.shard_id, record.sequence_number] = number
        self.counts[arrival.shard_id] = first - 1 + len(arrival.records)

    def _depth(self, what: Decision | Note | Remark, records: Sequence[Record]) -> int:
        if not records:
            return 0
        depth = self.depths.get((what.shard_id, records[0].sequence_number), 0)
        if isinstance(what, Split):
            for record in (*what.left, *what.right):
                self.depths[what.shard_id, record.sequence_number] = depth + 1
        return depth

    def _step(self, at: float, what: Decision | Note | Remark) -> str:
        match what:
            case Open(position=position, sequence_number=number):
                if number is not None:
                    return "opened: read after the checkpoint of the last run"
                if position == LATEST:
                    return "opened: read from now on"
                return "opened: read from its oldest record"
            case Invoke(attempt=attempt, records=records):
                many = f"{len(records):,} record{'s' * (len(records) > 1)}"
                again = f", attempt {attempt} with the same batch" if attempt > 1 else ""
                return f"function invoked with {many}{again}"
            case Note(text=text):
                return f"failed: {first_line(text)}"
            case Remark(text=text):
                return f"note: {text}"
            case Succeeded():
                return "processed"
            case Progressed(shard_id=shard_id, done=done, rest=rest):
                left = self.names(shard_id, rest)
                return (
                    f"function reported record {self.names(shard_id, rest[:1])}:"
                    f" {self.names(shard_id, done)} processed, {left} delivered again at once"
                )
            case Split(shard_id=shard_id, left=left, right=right):
                now, later = self.names(shard_id, left), self.names(shard_id, right)
                return f"split to find the bad record: half {now} now, half {later} after it"
            case Retry(cause=cause, at=due):
                return f"{_CAUSES[cause]}next attempt in {due - at:,.1f} s"
            case Discard(condition=condition, invoke_count=count):
                where = "message sent to the destination" if self.has_destination else "LOST"
                why = (
                    "given up because of its age"
                    if condition == AGE_EXCEEDED
                    else f"given up after {count} attempt{'s' * (count > 1)}"
                )
                return f"{why}: {where}"
            case Expired():
                return "LOST: older than the stream keeps records"
            case Checkpoint(shard_id=shard_id, sequence_number=number):
                reached = self.numbers.get((shard_id, number))
                up_to = f" up to {reached}" if reached else ""
                return f"checkpoint: all records{up_to} are resolved"
            case Finished():
                return "finished: the shard was closed, and its successors are read now"


EXPLANATIONS = {
    Split: """
Why a batch is split: a function that fails does not say which record it failed on.  Lambda tries
each half by itself, and splits a half that fails again, until the bad record is alone.  The others
get through.  A split spends no retry, and each half has all retries.""",
    Progressed: """
Why records are delivered again: the function reported the first record that it did not process.
Lambda counts the records before it as processed, and delivers this one and all after it again.""",
    Discard: """
What giving up means: Lambda goes on with the next records of the shard.  It sends a message about
the batch to the on-failure destination; without a destination, the records are lost.""",
}
"""Decision -> a paragraph that explains the decision, for readers who do not know it yet."""

_CAUSES = {
    "failed": "",
    "throttled": "did not reach the function, which spends no retry; ",
    "too large": "too large for the function, which never receives it; ",
}


def timeline(moments: Iterable[Moment], started_at: float, *, has_destination: bool = True) -> str:
    """Return *moments* as text, one line for each.

    The times in the text are seconds after *started_at*.  *has_destination* says whether messages
    about discarded batches are sent to a destination.
    """
    narrator = Narrator(started_at, has_destination)
    told = list(moments)
    kinds = {type(moment.what) for moment in told}
    notes = [text for kind, text in EXPLANATIONS.items() if kind in kinds]
    lines = [line for line in map(narrator.line, told) if line is not None]
    return "\n".join([narrator.head(), *lines, *notes])


def first_line(text: str) -> str:
    """Return the first line of *text*.

    >>> first_line("AssertionError: assert 1 == 2\\n  +  where 1 = f()")
    'AssertionError: assert 1 == 2'
    """
    return text.partition("\n")[0]


def ranges(numbers: Sequence[int]) -> str:
    """Return *numbers*, which are in order, as text with ranges.

    >>> ranges([1, 2, 3, 7, 9, 10])
    '1-3 7 9-10'
    """
    groups = groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0])
    return " ".join(_range([number for _, number in group]) for _, group in groups)


def _range(numbers: Sequence[int]) -> str:
    return f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else str(numbers[0])


def _records(what: Decision | Note | Remark) -> tuple[Record, ...]:
    match what:
        case Progressed(done=done, rest=rest):
            return done + rest
        case Split(left=left, right=right):
            return left + right
        case Open() | Checkpoint() | Finished():
            return ()
    return what.records


def _columns(seconds: str, shard: str, records: str, step: str) -> str:
    return f"{seconds:>10}  {shard:>5}  {records:<{RECORDS_WIDTH}}  {step}"
