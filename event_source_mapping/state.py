"""The state of a mapping: frozen values, which only `core` makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .lanes import Lane
from .records import ShardInfo

NOTHING_PROCESSED = "No records processed"


@dataclass(frozen=True, slots=True)
class Shard:
    """The state of a shard, with the records that were read and that its checkpoint has not passed.

    The records are divided into lanes, the parallel sequences of batches (see `lanes`).
    """

    info: ShardInfo
    position: str
    """The position from which the shard is read if it has no checkpoint."""
    lanes: tuple[Lane, ...]
    opened: bool = False
    ended: bool = False
    order: tuple[str, ...] = ()
    """The sequence numbers of the records after the checkpoint, in the order of the shard."""
    resolved: frozenset[str] = frozenset()
    """The sequence numbers in `order` whose records are resolved.  The checkpoint has not passed
    them, because another lane has an earlier record that is not resolved."""
    checkpoint: str | None = None

    @property
    def finished(self) -> bool:
        return self.ended and not self.order


@dataclass(frozen=True, slots=True)
class State:
    """The state of a mapping: its shards, and counts and checkpoints that belong to no shard."""

    shards: Mapping[str, Shard] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    """Shard -> sequence number, from an earlier run of the mapping."""
    requests: int = 0
    """The number of request ids that were used."""
    last_processing_result: str = NOTHING_PROCESSED
