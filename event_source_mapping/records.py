"""Records and shards of a Kinesis stream, as the mapping sees them."""

from __future__ import annotations

from dataclasses import dataclass

from .assumed import ENVELOPE_BYTES_ASSUMED

PAYLOAD_BYTES = 6 * 1024 * 1024
"""The maximum size of an event, which is Lambda's limit for the payload of an invocation."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it is stored in a shard."""

    sequence_number: str
    """Decimal digits; unique in its shard."""
    partition_key: str
    data: bytes
    arrived_at: float
    """Seconds since 1970."""

    @property
    def event_bytes(self) -> int:
        """Return the size in bytes of the record in an event, in which its data is base64 text."""
        encoded = 4 * ((len(self.data) + 2) // 3)
        return encoded + len(self.partition_key.encode()) + ENVELOPE_BYTES_ASSUMED


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """A shard of a stream, and its parents: the shards that were split or merged into it."""

    shard_id: str
    parents: tuple[str, ...] = ()
