"""A Kinesis stream in memory: the same calls always give the same records and shards."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import md5
from itertools import pairwise

from .assumed import LATEST_MISSES_SECONDS_ASSUMED
from .errors import MappingError
from .records import Record, ShardInfo
from .settings import LATEST
from .sources import READ_LIMIT, Read, Reader

HASH_KEYS = 2**128
FIRST_NUMBER = 49671245837205640000000000000000000000000000000000000000
STEP = 2**40  # between two sequence numbers


@dataclass(slots=True)
class Shard:
    """A shard of a `MemoryStream`, for the hash keys from *low* to *high* - 1."""

    info: ShardInfo
    low: int
    high: int
    records: list[Record] = field(default_factory=list)
    closed: bool = False


class MemoryStream:
    """A Kinesis stream in memory.  It is a class because it holds records.

    As in Kinesis, the MD5 of a partition key decides to which shard its records belong.
    """

    def __init__(self, shards: int = 1) -> None:
        if not isinstance(shards, int) or shards < 1:
            raise MappingError("shards must be a whole number of at least 1.")
        bounds = [HASH_KEYS * number // shards for number in range(shards + 1)]
        self._shards: dict[str, Shard] = {}
        self._count = 0
        self.now = 0.0
        """The time at which records arrive and LATEST is resolved; a driver moves it."""
        for low, high in pairwise(bounds):
            self._add(low, high, ())

    def put(self, data: bytes, partition_key: str) -> tuple[str, Record]:
        """Append a record at the time `now`; return the id of its shard, and the record."""
        shard = self._shards[self.shard_of(partition_key)]
        self._count += 1
        number = str(FIRST_NUMBER + STEP * self._count)
        record = Record(number, partition_key, data, self.now)
        shard.records.append(record)
        return shard.info.shard_id, record

    def shard_of(self, partition_key: str) -> str:
        """Return the open shard to which a partition key belongs."""
        key = int.from_bytes(md5(partition_key.encode(), usedforsecurity=False).digest())
        return next(
            shard.info.shard_id
            for shard in self._shards.values()
            if not shard.closed and shard.low <= key < shard.high
        )

    def split(self, shard_id: str) -> tuple[str, str]:
        """Close a shard and split its hash keys in halves; return the ids of the two new shards."""
        shard = self._close(shard_id)
        middle = (shard.low + shard.high) // 2
        return (
            self._add(shard.low, middle, (shard_id,)),
            self._add(middle, shard.high, (shard_id,)),
        )

    def merge(self, shard_id: str, adjacent: str) -> str:
        """Close two shards with adjacent hash keys; return the id of the shard that has both."""
        pair = (self._shards[shard_id], self._shards[adjacent])
        low, high = sorted(pair, key=lambda shard: shard.low)
        if low.high != high.low or low.closed or high.closed:
            raise MappingError(f"{shard_id} and {adjacent} are not open and adjacent.")
        for each in (shard_id, adjacent):
            self._close(each)
        return self._add(low.low, high.high, (shard_id, adjacent))

    def last_sequence_number(self) -> str:
        """Return the sequence number of the last record that arrived."""
        return str(FIRST_NUMBER + STEP * self._count)

    def shards(self) -> tuple[ShardInfo, ...]:
        return tuple(shard.info for shard in self._shards.values())

    def open(self, shard_id: str, position: str, sequence_number: str | None) -> Reader:
        shard = self._shards[shard_id]
        earliest = self.now + LATEST_MISSES_SECONDS_ASSUMED
        place = 0
        if sequence_number is not None:
            place = 1 + [r.sequence_number for r in shard.records].index(sequence_number)
        elif position == LATEST:
            place = len(shard.records)

        def read() -> Read:
            nonlocal place
            found = shard.records[place : place + READ_LIMIT]
            place += len(found)
            if position == LATEST and sequence_number is None:
                found = [record for record in found if record.arrived_at >= earliest]
            at_end = place == len(shard.records)
            return Read(tuple(found), ended=shard.closed and at_end, caught_up=at_end)

        return read

    def _close(self, shard_id: str) -> Shard:
        shard = self._shards.get(shard_id)
        if shard is None or shard.closed:
            raise MappingError(f"{shard_id} is no open shard of the stream.")
        shard.closed = True
        return shard

    def _add(self, low: int, high: int, parents: tuple[str, ...]) -> str:
        shard_id = f"shardId-{len(self._shards):012d}"
        self._shards[shard_id] = Shard(ShardInfo(shard_id, parents), low, high)
        return shard_id
