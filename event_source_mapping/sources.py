"""The interface of streams from which a driver reads records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .records import Record, ShardInfo

READ_LIMIT = 10_000  # records per GetRecords call; an AWS limit


@dataclass(frozen=True, slots=True)
class Read:
    """The next records of a shard."""

    records: tuple[Record, ...]
    ended: bool = False
    """Whether the shard is closed and has no more records."""
    caught_up: bool = True
    """Whether the shard had no more records at the time of the read."""


Reader = Callable[[], Read]
"""A function that reads the next records of one shard, at most `READ_LIMIT`."""


class Source(Protocol):
    """A stream from which a driver reads records."""

    def shards(self) -> tuple[ShardInfo, ...]:
        """Return the shards whose records are still in the stream."""

    def open(self, shard_id: str, position: str, sequence_number: str | None) -> Reader:
        """Return a reader for a shard; the arguments are those of the decision `Open`."""
