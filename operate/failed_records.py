"""Records that lie on S3: what the function rejected, and what Lambda itself gave up.

Both kinds of object have the original records as ``payload``.  Rejects say why for each event id;
of Lambda's own, the condition on which it gave up is the reason of every record.

A replayed object is never changed.  Beside it a *mark* is put, an empty object whose key is
``{key}.{etag}.replayed``.  So

* the listing alone says what is done, with no call for each object;
* whoever replays may write keys that end in ``.replayed``, and no others (an S3 tag would need
  less, but the function, writing the object again, would wipe it off);
* a mark is of one version of its object.  Records that are rejected again are kept again by the
  function, often under the same key; that object has another ETag, so it waits for the next replay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from model_service.errors import EventError
from model_service.kinesis import records
from model_service.kinesis.records import Record
from model_service.kinesis.rejects import CONDITION

from .errors import BadInput, Unreadable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MARK = ".replayed"


@dataclass(frozen=True, slots=True)
class Found:
    """One version of an object, as the listing has it."""

    key: str
    etag: str

    @property
    def mark(self) -> str:
        """The key that says that this version was replayed."""
        return f"{self.key}.{self.etag}{MARK}"


@dataclass(frozen=True, slots=True)
class Kept:
    """What an object holds."""

    found: Found
    model: str
    """That rejected the records; empty where Lambda gave them up."""
    function: str
    """That failed on them; empty where they were rejected."""
    records: tuple[Record, ...]
    reasons: Mapping[str, str]
    """By event id."""


class _Context(Struct):
    condition: str
    functionArn: str = ""


class _Failure(Struct):
    requestContext: _Context
    payload: str
    reasons: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Shelf:
    """The objects under ``s3://bucket/prefix``; a class because it holds a client."""

    client: S3Client
    bucket: str
    prefix: str
    """Of whole steps of a key; or one key."""

    @classmethod
    def at(cls, client: S3Client, location: str) -> Shelf:
        """
        >>> Shelf.at(None, "rejects")
        Traceback (most recent call last):
        operate.errors.BadInput: rejects is not s3://bucket/prefix

        Raises `BadInput`.
        """
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        if not location.startswith("s3://") or not bucket:
            raise BadInput(f"{location} is not s3://bucket/prefix")
        return cls(client, bucket, prefix.strip("/"))

    def find(self) -> tuple[list[Found], int]:
        """What waits to be replayed; and how many objects were replayed.

        Raises `BadInput` where the bucket cannot be listed.
        """
        listed, marks = self._list()
        waiting = [found for found in listed if found.mark not in marks]
        return waiting, len(listed) - len(waiting)

    def _list(self) -> tuple[list[Found], set[str]]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix
        )
        found, marks = list[Found](), set[str]()
        try:
            for entry in (entry for page in pages for entry in page.get("Contents", [])):
                if entry["Key"].endswith(MARK):
                    marks.add(entry["Key"])
                elif self._inside(entry["Key"]):
                    found.append(Found(entry["Key"], entry["ETag"].strip('"')))
        except (ClientError, BotoCoreError) as exc:
            raise BadInput(f"s3://{self.bucket} cannot be listed: {exc}") from None
        return found, marks

    def _inside(self, key: str) -> bool:
        return not self.prefix or key == self.prefix or key.startswith(f"{self.prefix}/")

    def read(self, found: Found) -> Kept:
        """What *found* holds.

        Raises `Unreadable`.
        """
        try:
            body = self.client.get_object(
                Bucket=self.bucket, Key=found.key, IfMatch=f'"{found.etag}"'
            )["Body"].read()
        except ClientError as exc:
            raise Unreadable(f"it cannot be read: {exc.response['Error']['Code']}") from None
        except BotoCoreError as exc:
            raise Unreadable(f"it cannot be read: {type(exc).__name__}") from None
        return content(found, body)

    def mark(self, found: Found) -> None:
        """Say that *found* was replayed.

        Raises `BadInput` where that may not be written.
        """
        try:
            self.client.put_object(Bucket=self.bucket, Key=found.mark, Body=b"")
        except (ClientError, BotoCoreError) as exc:
            raise BadInput(f"{found.key} was replayed and cannot be marked: {exc}") from None


def content(found: Found, body: bytes) -> Kept:
    """The records of an object.

    Raises `Unreadable`.
    """
    try:
        failure = msgspec.json.decode(body, type=_Failure)
        payload: dict[str, Any] = json.loads(failure.payload)
        batch = tuple(records.read(payload))
    except (ValueError, EventError, RecursionError):
        raise Unreadable("it is no object of rejected or failed records") from None
    if not batch:
        raise Unreadable("it holds no records")
    condition = failure.requestContext.condition
    if condition == CONDITION:
        model = "".join(found.key.split("/")[-4:-3])  # {model}/{stream}/{shard}/{first}-{last}
        return Kept(found, model, "", batch, failure.reasons)
    gave_up = {record.event_id: f"Lambda gave up: {condition}" for record in batch}
    return Kept(found, "", function_name(failure.requestContext.functionArn), batch, gave_up)


def function_name(arn: str) -> str:
    """
    >>> function_name("arn:aws:lambda:eu-west-1:123456789012:function:ride-duration:live")
    'ride-duration'
    """
    return "".join(arn.split(":")[6:7])
