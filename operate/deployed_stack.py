"""The streams and the rejects of a deployed stack, as a smoke test sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from model_service.kinesis.rejects import RejectsKey

from .errors import BadInput

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

OUTPUTS = ("RideEventsStreamName", "RidePredictionsStreamName", "RejectsLocation")
"""Of the template: what tells a stack's parts."""
SCORER = re.compile(r"(?!Batch)\w+FunctionName")
"""An output for each model."""


class Stack(NamedTuple):
    """Names of a stack's parts, and how many models answer each ride."""

    input: str
    output_stream: str
    rejects: str
    """s3://bucket/prefix"""
    models: int = 1


class CloudFormation(Protocol):
    """What is used of boto3's client."""

    def describe_stacks(self, *, StackName: str) -> Any: ...


def deployed(client: CloudFormation, name: str) -> Stack:
    """The parts of the stack *name*, as its outputs tell them.

    Raises `BadInput`.
    """
    try:
        [described] = client.describe_stacks(StackName=name)["Stacks"]
    except (ClientError, BotoCoreError) as exc:
        raise BadInput(f"the stack {name} cannot be looked up: {exc}") from None
    found = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    if missing := [key for key in OUTPUTS if key not in found]:
        raise BadInput(f"the stack {name} has no output {', '.join(missing)}")
    scorers = [key for key in found if SCORER.fullmatch(key)]
    rides, predictions, rejects = (found[key] for key in OUTPUTS)
    stack = Stack(rides, predictions, rejects, models=max(1, len(scorers)))
    if not stack.rejects.startswith("s3://"):
        raise BadInput(f"{name} keeps no rejects: its {OUTPUTS[2]} is {stack.rejects}")
    return stack


def put(kinesis: KinesisClient, stream: str, key: str, data: bytes) -> str:
    """Send a record; its event id.

    Raises `BadInput` where the stream does not take it.
    """
    try:
        reply = kinesis.put_record(StreamName=stream, PartitionKey=key, Data=data)
    except (ClientError, BotoCoreError) as exc:
        raise BadInput(f"the stream {stream} cannot be written to: {exc}") from None
    return f"{reply['ShardId']}:{reply['SequenceNumber']}"


class Source(msgspec.Struct):
    event_id: str


class Prediction(msgspec.Struct):
    """The part of a prediction event that says who answered what."""

    model: str
    version: str
    source: Source


class Tail:
    """What comes onto a stream from now on; a class because it holds its places."""

    def __init__(self, kinesis: KinesisClient, stream: str) -> None:
        """
        Raises `BadInput` where the stream cannot be read.
        """
        self._kinesis = kinesis
        self._stream = stream
        try:
            shards = kinesis.list_shards(StreamName=stream)["Shards"]
            self._places = {
                shard["ShardId"]: self._place(shard["ShardId"], "LATEST") for shard in shards
            }
        except (ClientError, BotoCoreError) as exc:
            raise BadInput(f"the stream {stream} cannot be read: {exc}") from None

    def _place(self, shard_id: str, kind: Any) -> str:
        return self._kinesis.get_shard_iterator(
            StreamName=self._stream, ShardId=shard_id, ShardIteratorType=kind
        )["ShardIterator"]

    def predictions(self) -> Iterator[Prediction]:
        """Those that came since the last time; other records are passed over.

        Raises `BadInput` where the stream cannot be read any more.
        """
        try:
            for data in [data for shard_id in list(self._places) for data in self._read(shard_id)]:
                try:
                    yield msgspec.json.decode(data, type=Prediction)
                except (ValueError, RecursionError):  # somebody else's
                    continue
        except (ClientError, BotoCoreError) as exc:
            raise BadInput(f"the stream {self._stream} cannot be read: {exc}") from None

    def _read(self, shard_id: str) -> list[bytes]:
        reply = self._kinesis.get_records(ShardIterator=self._places.pop(shard_id))
        if following := reply.get("NextShardIterator"):
            self._places[shard_id] = following
        for child in reply.get("ChildShards", []):  # the shard was split, or merged, meanwhile
            if child["ShardId"] not in self._places:
                self._places[child["ShardId"]] = self._place(child["ShardId"], "TRIM_HORIZON")
        return [record["Data"] for record in reply["Records"]]


def reason(s3: S3Client, stack: Stack, event_id: str) -> str:
    """Why the record was rejected; nothing while it is not among the rejects.

    Raises `BadInput` where the rejects cannot be read.
    """
    bucket, _, prefix = stack.rejects.removeprefix("s3://").partition("/")
    root = f"{prefix.strip('/')}/".lstrip("/")
    try:
        models = s3.list_objects_v2(Bucket=bucket, Prefix=root, Delimiter="/")
        for model in models.get("CommonPrefixes", []):
            if found := _reason(s3, bucket, f"{model['Prefix']}{stack.input}/", event_id):
                return found
    except (ClientError, BotoCoreError) as exc:
        raise BadInput(f"{stack.rejects} cannot be read: {exc}") from None
    return ""


def _reason(s3: S3Client, bucket: str, prefix: str, event_id: str) -> str:
    shard, _, number = event_id.partition(":")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}{shard}/")
    for entry in (entry for page in pages for entry in page.get("Contents", [])):
        rejects = RejectsKey.parse(entry["Key"])
        if rejects and int(rejects.first) <= int(number) <= int(rejects.last):
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            if event_id in (reasons := json.loads(body)["reasons"]):
                return str(reasons[event_id])
    return ""
