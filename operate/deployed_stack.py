"""Accesses the streams and the rejects of a deployed stack, for the smoke test."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from model_service import storage
from model_service.kinesis.rejects import RejectsKey

from .command import CommandError

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

OUTPUTS = ("RideEventsStreamName", "RidePredictionsStreamName", "RejectsLocation")
"""The outputs of the template that name the streams and the rejects location of a stack."""
SCORER = re.compile(r"(?!Batch|Decision)\w+FunctionName")
"""Matches the name of the output for each model's function."""


class DeployedStack(NamedTuple):
    """The names of a stack's streams and rejects location, and how many models score each ride."""

    input_stream: str
    output_stream: str
    rejects: str
    """In the form s3://bucket/prefix."""
    models: int = 1


class CloudFormationClient(Protocol):
    """The methods of boto3's CloudFormation client that this module uses."""

    def describe_stacks(self, *, StackName: str) -> Any: ...


def find_stack(client: CloudFormationClient, name: str) -> DeployedStack:
    """Return the names in the outputs of the stack *name*.

    Raises `CommandError` if the stack does not exist or was not created from this template.
    """
    try:
        [described] = client.describe_stacks(StackName=name)["Stacks"]
    except (ClientError, BotoCoreError) as exc:
        raise CommandError(f"the stack {name} cannot be looked up: {exc}") from None
    found = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    if missing := [key for key in OUTPUTS if key not in found]:
        raise CommandError(f"the stack {name} has no output {', '.join(missing)}")
    scorers = [key for key in found if SCORER.fullmatch(key)]
    rides, predictions, rejects = (found[key] for key in OUTPUTS)
    if not rejects.startswith("s3://"):
        raise CommandError(f"the stack {name} stores no rejects: its {OUTPUTS[2]} is {rejects}")
    return DeployedStack(rides, predictions, rejects, models=max(1, len(scorers)))


def put_record(kinesis: KinesisClient, stream: str, key: str, data: bytes) -> str:
    """Write a record with the partition key *key* to *stream*, and return the record's event id.

    Raises `CommandError` if the stream cannot be written to.
    """
    try:
        response = kinesis.put_record(StreamName=stream, PartitionKey=key, Data=data)
        return f"{response['ShardId']}:{response['SequenceNumber']}"
    except (ClientError, BotoCoreError) as exc:
        raise CommandError(f"the stream {stream} cannot be written to: {exc}") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CommandError(
            f"the stream {stream} cannot be written to: the reply did not come from Kinesis"
        ) from None


class PredictionSource(msgspec.Struct):
    """The part of a prediction's ``source`` that the smoke test reads."""

    event_id: str


class PredictionIdentity(msgspec.Struct):
    """The fields of a prediction event that identify the model and the ride event."""

    model: str
    version: str
    source: PredictionSource


class StreamTail:
    """Reads new records of a stream.  It is a class because it holds iterators."""

    def __init__(self, kinesis: KinesisClient, stream: str) -> None:
        """Start to read at the end of *stream*.

        Raises `CommandError` if the stream cannot be read.
        """
        self._kinesis = kinesis
        self._stream = stream
        try:
            shards = kinesis.list_shards(StreamName=stream)["Shards"]
            self._iterators = {
                shard["ShardId"]: self._iterator(shard["ShardId"], "LATEST") for shard in shards
            }
        except (ClientError, BotoCoreError) as exc:
            raise CommandError(f"the stream {stream} cannot be read: {exc}") from None

    def _iterator(self, shard_id: str, kind: Any) -> str:
        return self._kinesis.get_shard_iterator(
            StreamName=self._stream, ShardId=shard_id, ShardIteratorType=kind
        )["ShardIterator"]

    def predictions(self) -> Iterator[PredictionIdentity]:
        """Yield the predictions that arrived since the last call; skip other records.

        Raises `CommandError` if the stream can no longer be read.
        """
        try:
            shard_ids = list(self._iterators)
            for data in [data for shard_id in shard_ids for data in self._read(shard_id)]:
                try:
                    yield msgspec.json.decode(data, type=PredictionIdentity)
                except (ValueError, RecursionError):  # not a prediction event
                    continue
        except (ClientError, BotoCoreError) as exc:
            raise CommandError(f"the stream {self._stream} cannot be read: {exc}") from None

    def _read(self, shard_id: str) -> list[bytes]:
        response = self._kinesis.get_records(ShardIterator=self._iterators.pop(shard_id))
        if following := response.get("NextShardIterator"):
            self._iterators[shard_id] = following
        for child in response.get("ChildShards", []):  # the shard was split or merged
            if child["ShardId"] not in self._iterators:
                self._iterators[child["ShardId"]] = self._iterator(child["ShardId"], "TRIM_HORIZON")
        return [record["Data"] for record in response["Records"]]


def rejection_reasons(
    s3: S3Client, stack: DeployedStack, event_ids: Collection[str]
) -> dict[str, str]:
    """Return the reasons for rejections by event id, for those of *event_ids* in the rejects.

    Raises `CommandError` if the rejects cannot be read.
    """
    bucket, prefix = storage.split(stack.rejects)
    root = f"{prefix.strip('/')}/".lstrip("/")
    found: dict[str, str] = {}
    try:
        models = s3.list_objects_v2(Bucket=bucket, Prefix=root, Delimiter="/")
        for model in models.get("CommonPrefixes", []):
            stream = f"{model['Prefix']}{stack.input_stream}/"
            for shard in {event_id.partition(":")[0] for event_id in event_ids}:
                found |= _reasons_of_shard(s3, bucket, f"{stream}{shard}/", event_ids)
    except (ClientError, BotoCoreError) as exc:
        raise CommandError(f"{stack.rejects} cannot be read: {exc}") from None
    return found


def _reasons_of_shard(
    s3: S3Client, bucket: str, prefix: str, event_ids: Collection[str]
) -> dict[str, str]:
    numbers = [int(event_id.partition(":")[2]) for event_id in event_ids]
    found: dict[str, str] = {}
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for entry in (entry for page in pages for entry in page.get("Contents", [])):
        key = RejectsKey.parse(entry["Key"])
        if key and any(int(key.first) <= number <= int(key.last) for number in numbers):
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            reasons: dict[str, str] = json.loads(body)["reasons"]
            found |= {event_id: reasons[event_id] for event_id in reasons.keys() & set(event_ids)}
    return found
