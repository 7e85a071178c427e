"""The files of a model, wherever its directory lies: on S3 or on disk.

From S3 each file is asked for by name, so that reading a model takes `s3:GetObject` and no
listing; only a model whose files nobody can name in advance is listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from .errors import ModelError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Artifacts(Protocol):
    """A model's directory; its methods raise `ModelError` where a file cannot be read."""

    def read(self, name: str) -> bytes:
        """One file."""

    def directory(self, names: list[str] | None) -> Path:
        """The files of these names, or all of them, in a directory on disk."""


def at(location: str) -> Artifacts:
    """The artifacts at ``s3://bucket/prefix`` or a path."""
    if location.startswith("s3://"):
        import boto3  # a model on disk needs no AWS
        from botocore.config import Config

        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        quick = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard"})
        below = f"{prefix.strip('/')}/".lstrip("/")
        with _model_errors(f"cannot read {location}"):
            return S3Artifacts(boto3.client("s3", config=quick), bucket, below)
    if ":/" in location:
        raise ModelError(
            f"{location} is not a place for files: give s3://bucket/prefix or a path"
            " (an MLflow model's own location, not an alias of it)"
        )
    return LocalArtifacts(Path(location))


def plain_name(name: object) -> str:
    """*name*, as a model's own description gives it; refused where it leads elsewhere."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or ".." in parts or parts[0] == "/" or "\0" in parts[-1]:
        raise ModelError("MLmodel names a file outside the model's directory, or none")
    return "/".join(parts)


@dataclass(frozen=True, slots=True)
class LocalArtifacts:
    """A directory on disk."""

    path: Path

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as exc:
            raise ModelError(f"cannot read {self.path / name}: {exc.strerror}") from None

    def directory(self, names: list[str] | None) -> Path:
        return self.path


@dataclass(frozen=True, slots=True)
class S3Artifacts:
    """A prefix of a bucket."""

    client: S3Client
    bucket: str
    prefix: str
    """Ends in a slash, or is empty."""

    def read(self, name: str) -> bytes:
        key = f"{self.prefix}{name}"
        with _model_errors(f"cannot read s3://{self.bucket}/{key}"):
            return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def directory(self, names: list[str] | None) -> Path:
        from tempfile import mkdtemp

        target = Path(mkdtemp(prefix="model-"))
        for name in self._list() if names is None else names:
            path = target / plain_name(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(name))
        return target

    def _list(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix
        )
        with _model_errors(f"cannot list s3://{self.bucket}/{self.prefix}"):
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return [key.removeprefix(self.prefix) for key in keys if not key.endswith("/")]


@contextmanager
def _model_errors(what: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as exc:
        reason = " ".join(str(exc).split())  # some have several lines
        raise ModelError(f"{what}: {reason}") from exc
