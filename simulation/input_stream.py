"""The input stream: its shards, and the records on them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from event_source_mapping.records import Record, ShardInfo

from .ledger import Ledger, delivered
from .workload import Sent, shard_hash

STREAM_ARN = "arn:aws:kinesis:eu-west-1:000000000000:stream/ride_events"
HASHES = 2**128


@dataclass(slots=True)
class Shard:
    """A shard of the input stream; mutable, because records are added to it."""

    low: int
    high: int
    """The range of its hash keys; *high* is exclusive."""
    unread: list[Record] = field(default_factory=list)
    is_open: bool = False
    """Whether the mapping reads it."""
    is_closed: bool = False
    """Whether it was split or merged."""
    ended: bool = False
    """Whether the mapping knows that it was read to its end."""


class Change(NamedTuple):
    """A split of a shard, or a merge of two."""

    new: tuple[ShardInfo, ...]
    what: str
    """A few words about the change, for the trace."""


class InputStream:
    """The input stream of a run; a class, because it holds the shards."""

    def __init__(self, ledger: Ledger, shards: int) -> None:
        self.ledger = ledger
        self.shards: dict[str, Shard] = {}
        size = -(-HASHES // shards)
        self.infos = [self._add(n * size, (n + 1) * size) for n in range(shards)]
        """The shards at the beginning."""

    def put(self, records: Sequence[Sent], now: float) -> list[str]:
        """Put *records* on the stream; return the ids of the shards that they reach.

        *now* is the virtual time, in seconds since 1970.
        """
        arrived = round(now, 3)
        reached: dict[str, None] = {}
        for sent in records:
            shard_id, shard = self._shard_of(sent.key)
            number = len(self.ledger.records)
            record = Record(f"4963008166608487929058118{number:031d}", sent.key, sent.data, arrived)
            event = envelope(record, shard_id)
            self.ledger.sent(delivered(number, record, shard_id, sent, event))
            shard.unread.append(record)
            reached[shard_id] = None
        return list(reached)

    def reshard(self, random: Random) -> Change:
        """Split a shard, or merge two that are neighbours."""
        live = [(name, shard) for name, shard in self.shards.items() if not shard.is_closed]
        name, shard = random.choice(live)
        neighbour = next((pair for pair in live if pair[1].low == shard.high), None)
        shard.is_closed = True
        if neighbour and random.random() < 0.5:
            other, second = neighbour
            second.is_closed = True
            merged = self._add(shard.low, second.high, (name, other))
            return Change((merged,), f"{short(name)} and {short(other)} are merged")
        middle = (shard.low + shard.high) // 2
        halves = ((shard.low, middle), (middle, shard.high))
        split = tuple(self._add(low, high, (name,)) for low, high in halves)
        return Change(split, f"{short(name)} is split")

    def _add(self, low: int, high: int, parents: tuple[str, ...] = ()) -> ShardInfo:
        shard_id = f"shardId-{len(self.shards):012d}"
        self.shards[shard_id] = Shard(low, high)
        self.ledger.shards[shard_id] = []
        return ShardInfo(shard_id, parents)

    def _shard_of(self, key: str) -> tuple[str, Shard]:
        hashed = shard_hash(key)
        return next(
            (shard_id, shard)
            for shard_id, shard in self.shards.items()
            if not shard.is_closed and shard.low <= hashed < shard.high
        )


def short(shard_id: str) -> str:
    """Return the number of a shard, for the trace.

    >>> short("shardId-000000000007")
    'shard 7'
    """
    return f"shard {int(shard_id.partition('-')[2])}"


def envelope(record: Record, shard_id: str) -> dict[str, Any]:
    """Return a record as Lambda delivers it."""
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.partition_key,
            "sequenceNumber": record.sequence_number,
            "data": b64encode(record.data).decode(),
            "approximateArrivalTimestamp": record.arrived_at,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{record.sequence_number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/scorer",
        "awsRegion": "eu-west-1",
        "eventSourceARN": STREAM_ARN,
    }
