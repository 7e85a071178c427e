"""Stores an object on S3, and accepts only S3's own confirmation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NO_ETAG = "S3 returned no ETag"


def stored(client: S3Client, location: str, key: str, body: bytes, content_type: str) -> str:
    """Store *body*; return an empty text, or the error code if the object is not stored.

    *location* is ``s3://bucket`` or ``s3://bucket/prefix``, and *key* the key below it.  An object
    counts as stored only if the response has its ETag, because a proxy may answer with any 200.
    The message of an error is not returned, because it may name the account and the role.
    """
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    path = "/".join(filter(None, [prefix.strip("/"), key]))
    try:
        reply = client.put_object(Bucket=bucket, Key=path, Body=body, ContentType=content_type)
        return "" if reply.get("ETag") else NO_ETAG
    except ClientError as exc:
        return str(exc.response.get("Error", {}).get("Code"))
    except Exception as exc:  # the SDK may raise anything if the reply is not in S3's format
        return type(exc).__name__
