"""Files on S3, by one client: lists, copies, uploads.  An upload is whole, or is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import FileError, OutputError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SCHEME = "s3://"


def client() -> S3Client:
    """A client of its own: boto3's default session is not for several threads."""
    import boto3  # files on disk need no AWS

    made: S3Client = boto3.session.Session().client("s3")
    return made


def find(pattern: str) -> list[tuple[str, int, str]]:
    """Location, size and ETag of each object that *pattern* names: a key, a folder, a glob.

    Raises `FileError`.
    """
    bucket, key = split(pattern)
    before = re.split(r"[*?[]", key, maxsplit=1)[0]
    with s3_errors(f"list {SCHEME}{bucket}/{before}", FileError):
        entries = _listing(client(), bucket, before)
    return [
        (f"{SCHEME}{bucket}/{entry['Key']}", entry["Size"], entry["ETag"].strip('"'))
        for entry in entries
        if not entry["Key"].endswith("/") and _names(key, entry["Key"])
    ]


def copy(location: str, path: Path) -> None:
    """An object to the disk.  Raises `FileError`."""
    bucket, key = split(location)
    with s3_errors(f"read {location}", FileError):
        client().download_file(bucket, key, str(path))


def split(location: str) -> tuple[str, str]:
    """Bucket and key, or prefix."""
    bucket, _, key = location.removeprefix(SCHEME).partition("/")
    return bucket, key


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix of a bucket, as an output."""

    client: S3Client
    bucket: str
    prefix: str
    """Ends in a slash, or is empty."""
    scratch: Path

    def names(self) -> list[str]:
        with s3_errors(f"list {self._at('')}", OutputError):
            keys = [entry["Key"] for entry in _listing(self.client, self.bucket, self.prefix)]
        return [key.removeprefix(self.prefix) for key in keys]

    def read(self, name: str) -> bytes:
        with s3_errors(f"read {self._at(name)}", OutputError):
            return self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read()

    def move(self, file: Path, name: str) -> None:
        with s3_errors(f"write {self._at(name)}", OutputError):
            self.client.upload_file(str(file), self.bucket, self.prefix + name)
        file.unlink()

    def remove(self, name: str) -> None:
        with s3_errors(f"remove {self._at(name)}", OutputError):
            self.client.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    def _at(self, name: str) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}{name}"


@contextmanager
def s3_errors(what: str, error: type[FileError | OutputError]) -> Iterator[None]:
    """What the SDK or the disk says, as an error of ours."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error, OSError) as exc:
        raise error(f"cannot {what}: {' '.join(str(exc).split())}") from exc


def _listing(client: S3Client, bucket: str, prefix: str) -> list[Any]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry for page in pages for entry in page.get("Contents", [])]


def _names(pattern: str, key: str) -> bool:
    if has_magic(pattern):
        return _matches(key.split("/"), pattern.split("/"))
    folder = f"{pattern.rstrip('/')}/".lstrip("/")
    return key == pattern or (key.startswith(folder) and visible(key.removeprefix(folder)))


def visible(name: str) -> bool:
    """Whether a file of this name, from a folder on, is meant to be read; Hive's rule."""
    return not any(part.startswith(("_", ".")) for part in name.split("/"))


def _matches(parts: list[str], wanted: list[str]) -> bool:
    """Whether a key's parts match a pattern's, where ``**`` stands for any number of folders."""
    if not wanted or not parts:
        return not wanted and not parts
    if wanted[0] == "**":
        return _matches(parts, wanted[1:]) or _matches(parts[1:], wanted)
    return fnmatchcase(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])
