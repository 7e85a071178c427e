"""How an event source mapping divides a shard's records into batches, in a steady state.

Rule 1: Lambda reads a shard about once a second, so a batch has the records of a second or of the
        batch window, whichever is longer.
Rule 2: a batch ends early if it has `most` records.
Rule 3: the next batch of a lane begins when the function has returned, so it also has the records
        that arrived in the meantime.  (Lambda Developer Guide, "Event source mappings".)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """The time that a function takes for a batch, in seconds."""

    a_batch: float
    a_record: float

    def seconds(self, records: float) -> float:
        return self.a_batch + records * self.a_record


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of one lane: a shard, or one of the simultaneous batches of a shard."""

    rate: float
    """Records a second that arrive."""
    records: float
    """The mean number of records in a batch."""
    seconds: float
    """The time that the function takes for such a batch."""
    gathering: float
    """The longest time for which Lambda gathers a batch, in seconds."""
    highest_rate: float
    """Records a second that the function can process, with full batches one after the other."""

    @property
    def a_second(self) -> float:
        """The number of batches a second."""
        return self.rate / self.records

    @property
    def keep_up(self) -> bool:
        return self.rate < self.highest_rate


def batches(rate: float, window: float, poll: float, most: float, work: Work) -> Batches:
    """Return the batches of a lane at which *rate* records a second arrive.

    *window* is the batch window and *poll* the time between two reads, in seconds.  *most* is the
    largest number of records in a batch.
    """
    busy = rate * work.a_record
    cycle = max(window, poll) + work.a_batch
    records = min(most, (1 + rate * cycle) / (1 - busy)) if busy < 1 else most
    return Batches(
        rate=rate,
        records=records,
        seconds=work.seconds(records),
        gathering=min(window, most / rate),
        highest_rate=most / work.seconds(most),
    )
