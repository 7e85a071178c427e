"""Reads failed records from S3: records that the function rejected or that Lambda gave up on.

Both kinds of object contain the original records as ``payload``.  An object written by the function
has a reason for each event id.  An object written by Lambda has one reason for all its records: the
condition under which Lambda gave up.

A replay never changes an object.  It writes a marker beside the object: an empty object whose key
is ``{key}.{etag}.replayed``.  This has three consequences:

* A listing shows which objects were replayed, without a request for each object.
* A replay needs permission to write keys that end in ``.replayed`` and no other keys.  (A tag would
  need fewer permissions, but the function would remove the tag if it wrote the object again.)
* A marker belongs to one version of an object.  If the function rejects records again, it often
  stores them under the same key.  The new object has another ETag, so it waits for the next replay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from model_service import storage
from model_service.errors import EventError
from model_service.kinesis import records
from model_service.kinesis.records import Record
from model_service.kinesis.rejects import CONDITION, RejectsKey

from .command import CommandError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MARKER_SUFFIX = ".replayed"


class UnreadableObject(Exception):
    """An S3 object does not contain failed records, or changed after it was listed."""


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an S3 object, as a listing returns it."""

    key: str
    etag: str

    @property
    def marker(self) -> str:
        """Return the key of the marker of this version, which exists once it was replayed."""
        return f"{self.key}.{self.etag}{MARKER_SUFFIX}"


@dataclass(frozen=True, slots=True)
class FailedRecords:
    """The failed records in one S3 object, and the reasons why they failed."""

    version: ObjectVersion
    model: str
    """The model that rejected the records; empty if Lambda gave up on them."""
    function: str
    """The function that failed on the records; empty if a model rejected them."""
    records: tuple[Record, ...]
    reasons: Mapping[str, str]
    """Event id -> the reason why the record failed."""


class _RequestContext(Struct):
    condition: str
    functionArn: str = ""


class _FailureObject(Struct):
    requestContext: _RequestContext
    payload: str
    reasons: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class FailedRecordStore:
    """The failed records below a prefix in S3.  It is a class because it holds a client."""

    client: S3Client
    bucket: str
    prefix: str
    """The beginning of the objects' keys, up to a slash, or the key of one object."""

    @classmethod
    def at(cls, client: S3Client, location: str) -> FailedRecordStore:
        """Return the store at *location*, which has the form s3://bucket/prefix.

        Raises `CommandError` if *location* does not have this form.

        >>> FailedRecordStore.at(None, "rejects")
        Traceback (most recent call last):
        operate.command.CommandError: rejects is not of the form s3://bucket/prefix
        """
        bucket, prefix = storage.split(location)
        if not location.startswith(storage.SCHEME) or not bucket:
            raise CommandError(f"{location} is not of the form s3://bucket/prefix")
        return cls(client, bucket, prefix.strip("/"))

    def pending(self) -> tuple[list[ObjectVersion], int]:
        """Return the objects that wait to be replayed, and the number of objects already replayed.

        Raises `CommandError` if the bucket cannot be listed.
        """
        versions, markers = self._list()
        waiting = [version for version in versions if version.marker not in markers]
        return waiting, len(versions) - len(waiting)

    def _list(self) -> tuple[list[ObjectVersion], set[str]]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix
        )
        versions, markers = list[ObjectVersion](), set[str]()
        try:
            for entry in (entry for page in pages for entry in page.get("Contents", [])):
                if entry["Key"].endswith(MARKER_SUFFIX):
                    markers.add(entry["Key"])
                elif self._includes(entry["Key"]):
                    versions.append(ObjectVersion(entry["Key"], entry["ETag"].strip('"')))
        except (ClientError, BotoCoreError) as exc:
            raise CommandError(f"s3://{self.bucket} cannot be listed: {exc}") from None
        return versions, markers

    def _includes(self, key: str) -> bool:
        return not self.prefix or key == self.prefix or key.startswith(f"{self.prefix}/")

    def read(self, version: ObjectVersion) -> FailedRecords:
        """Read the failed records in one version of an object.

        Raises `UnreadableObject` if the object changed, is gone, or does not contain failed
        records.
        """
        try:
            body = self.client.get_object(
                Bucket=self.bucket, Key=version.key, IfMatch=f'"{version.etag}"'
            )["Body"].read()
        except ClientError as exc:
            raise UnreadableObject(f"cannot be read: {exc.response['Error']['Code']}") from None
        except BotoCoreError as exc:
            raise UnreadableObject(f"cannot be read: {type(exc).__name__}") from None
        return parse(version, body)

    def mark_replayed(self, version: ObjectVersion) -> None:
        """Write the marker of *version*, so that no later replay sends its records again.

        Raises `CommandError` if the marker cannot be written.
        """
        try:
            reply = self.client.put_object(Bucket=self.bucket, Key=version.marker, Body=b"")
        except (ClientError, BotoCoreError) as exc:
            raise CommandError(f"{version.key} was replayed but cannot be marked: {exc}") from None
        if not reply.get("ETag"):
            raise CommandError(
                f"{version.key} was replayed but cannot be marked: the reply did not come from S3"
            )


def parse(version: ObjectVersion, body: bytes) -> FailedRecords:
    """Return the failed records in *body*, the bytes of the object *version*.

    Raises `UnreadableObject` if *body* does not contain failed records.
    """
    try:
        failure = msgspec.json.decode(body, type=_FailureObject)
        event: dict[str, Any] = json.loads(failure.payload)
        batch = tuple(records.read(event))
    except (ValueError, EventError, RecursionError):
        raise UnreadableObject("does not hold rejected or failed records") from None
    if not batch:
        raise UnreadableObject("holds no records")
    condition = failure.requestContext.condition
    if condition == CONDITION:
        key = RejectsKey.parse(version.key)
        return FailedRecords(version, key.model if key else "", "", batch, failure.reasons)
    reasons = {record.event_id: f"Lambda gave up: {condition}" for record in batch}
    function = function_name(failure.requestContext.functionArn)
    return FailedRecords(version, "", function, batch, reasons)


def function_name(arn: str) -> str:
    """Return the name of the Lambda function whose ARN is *arn*, without the alias.

    >>> function_name("arn:aws:lambda:eu-west-1:123456789012:function:ride-duration:live")
    'ride-duration'
    """
    return "".join(arn.split(":")[6:7])
