"""Reads a Kinesis stream with boto3, from AWS or from an emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import CreateError, MappingError
from .records import Record, ShardInfo
from .sources import READ_LIMIT, Read, Reader

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

TRANSIENT = (
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "InternalFailure",
    "ServiceUnavailable",
    "ThrottlingException",
    "KMSThrottlingException",
)
"""Error codes after which the same call can succeed."""


class KinesisSource:
    """A Kinesis stream, read with boto3.  It is a class because it holds a client."""

    def __init__(self, client: KinesisClient, stream: str) -> None:
        """Look up the stream *stream*.  Raises `CreateError` if it does not exist, as AWS does."""
        self._client = client
        self._stream = stream
        try:
            response = client.describe_stream_summary(StreamName=stream)
        except client.exceptions.ResourceNotFoundException:
            raise CreateError(
                "InvalidParameterValueException", 400, f"there is no stream {stream}"
            ) from None
        summary = response["StreamDescriptionSummary"]
        self.arn = summary["StreamARN"]
        self.retention_period_hours = summary.get("RetentionPeriodHours", 24)

    def shards(self) -> tuple[ShardInfo, ...]:
        found: list[ShardInfo] = []
        options: dict[str, Any] = {"StreamName": self._stream}
        while True:
            page = self._client.list_shards(**options)
            found += [
                ShardInfo(
                    shard["ShardId"],
                    tuple(
                        str(shard[name])
                        for name in ("ParentShardId", "AdjacentParentShardId")
                        if shard.get(name)
                    ),
                )
                for shard in page["Shards"]
            ]
            if not page.get("NextToken"):
                return tuple(found)
            options = {"NextToken": page["NextToken"]}

    def open(self, shard_id: str, position: str, sequence_number: str | None) -> Reader:
        after = sequence_number
        iterator: str | None = self._iterator(shard_id, position, after)

        def read() -> Read:
            nonlocal iterator, after
            assert iterator is not None, "read after the end of the shard"
            try:
                page = self._client.get_records(ShardIterator=iterator, Limit=READ_LIMIT)
            except self._client.exceptions.ExpiredIteratorException:
                iterator = self._iterator(shard_id, position, after)
                return Read((), caught_up=False)
            except self._client.exceptions.ResourceNotFoundException:
                raise MappingError(f"The stream {self._stream} was deleted.") from None
            except self._client.exceptions.ClientError as exc:
                if exc.response["Error"]["Code"] in TRANSIENT:
                    return Read((), caught_up=False)
                raise
            iterator = page.get("NextShardIterator")
            records = tuple(
                Record(
                    record["SequenceNumber"],
                    record["PartitionKey"],
                    record["Data"],
                    record["ApproximateArrivalTimestamp"].timestamp(),
                )
                for record in page["Records"]
            )
            if records:
                after = records[-1].sequence_number
            caught_up = not records and not page.get("MillisBehindLatest")
            return Read(records, ended=not iterator, caught_up=caught_up or not iterator)

        return read

    def _iterator(self, shard_id: str, position: str, after: str | None) -> str:
        options: dict[str, Any] = {"ShardIteratorType": position}
        if after is not None:
            options = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": after,
            }
        response = self._client.get_shard_iterator(
            StreamName=self._stream, ShardId=shard_id, **options
        )
        return response["ShardIterator"]
