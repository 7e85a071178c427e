"""Reads the shards of a Kinesis stream from their beginning, without a consumer library."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

READ_LIMIT = 10_000  # records per GetRecords call; an AWS limit


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it is stored in a shard."""

    sequence_number: str
    partition_key: str
    data: bytes
    arrived_at: datetime


class Reader:
    """Reads one shard from its beginning.  It is a class because it holds an iterator."""

    def __init__(self, kinesis: KinesisClient, stream: str, shard_id: str) -> None:
        self.shard_id = shard_id
        self._kinesis = kinesis
        self._iterator: str | None = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]

    def __call__(self, limit: int = READ_LIMIT) -> list[Record]:
        """Return the next records, at most *limit*; empty if no record is waiting."""
        if self._iterator is None:  # the shard is closed and was read to its end
            return []
        response = self._kinesis.get_records(ShardIterator=self._iterator, Limit=limit)
        self._iterator = response.get("NextShardIterator")
        return [
            Record(
                record["SequenceNumber"],
                record["PartitionKey"],
                record["Data"],
                record["ApproximateArrivalTimestamp"],
            )
            for record in response["Records"]
        ]


def readers(kinesis: KinesisClient, stream: str) -> list[Reader]:
    """Return a reader for each shard of *stream*."""
    shards = kinesis.list_shards(StreamName=stream)["Shards"]
    return [Reader(kinesis, stream, shard["ShardId"]) for shard in shards]


def event_id(shard_id: str, sequence_number: str) -> str:
    """Return the event id that Lambda gives to the record *sequence_number* of a shard.

    >>> event_id("shardId-000000000000", "49")
    'shardId-000000000000:49'
    """
    return f"{shard_id}:{sequence_number}"
