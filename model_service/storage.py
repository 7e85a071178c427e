"""Reads, writes and finds files on S3 or on disk, with the same interface.

A `Folder` is a directory on disk or a prefix of a bucket.  If the names of a model's files are
known in advance, each file is read by its name, which needs only the permission ``s3:GetObject``.
Otherwise the folder is listed first.

Errors of the disk and of S3 are converted to an exception of this package.  The caller chooses its
type with the argument *error*.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import glob, has_magic
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .errors import FileError, ModelError, ServiceError

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_s3 import S3Client

SCHEME = "s3://"


TABLE_LOG = re.compile(r"/(_delta_log|\.hoodie|metadata/[^/]+\.metadata\.json$)")
"""The path of a file by which a Delta, Hudi or Iceberg table is recognized."""
IN_TABLE = (
    "{} is a Delta, Iceberg or Hudi table, and its log decides which of its files are valid: export"
    " it as Parquet to another folder and give that folder"
)


class StoredFile(NamedTuple):
    """A file that matches a pattern."""

    location: str
    """An absolute path, or ``s3://bucket/key``."""
    size: int
    """The size in bytes."""
    stamp: str
    """The modification time on disk or the ETag on S3; it changes when the content changes."""


class Folder(Protocol):
    """A directory on disk or a prefix of a bucket; the names of its files may contain slashes."""

    def read(self, name: str) -> bytes:
        """Return the bytes of the file *name*."""

    def names(self) -> list[str]:
        """Return the names of all files in the folder and its subfolders."""

    def move(self, file: Path, name: str) -> None:
        """Move the local file *file* to *name* in the folder; no reader sees an incomplete file."""

    def remove(self, name: str) -> None:
        """Remove the file *name* if it exists."""


def at(location: str) -> Folder:
    """Return the folder of a model; *location* is ``s3://bucket/prefix`` or a path.

    Raises `ModelError` if *location* is another URL, or if no S3 client can be made.  The methods
    of the folder raise `ModelError`, too.
    """
    if location.startswith(SCHEME):
        from botocore.config import Config  # a model on disk needs no AWS

        # A function has 10 seconds to start.
        quick = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard"})
        return s3_folder(location, ModelError, quick)
    if ":/" in location:
        raise ModelError(
            f"{location} is not a location of files: give s3://bucket/prefix or a path."
            f" {_remedy(location)}"
        )
    return LocalFolder(Path(location), ModelError)


def s3_folder(location: str, error: type[ServiceError], config: Config | None = None) -> S3Folder:
    """Return the folder at *location*, which has the form ``s3://bucket/prefix``.

    *error* is the type of the exceptions that its methods raise if S3 fails.  It is also raised if
    no S3 client can be made, for example because of an unknown AWS profile.  *config* is botocore's
    configuration of the client.
    """
    bucket, prefix = split(location)
    with _s3_errors(f"access {location}", error):
        return S3Folder(_client(config), bucket, f"{prefix.strip('/')}/".lstrip("/"), error)


def _remedy(location: str) -> str:
    """Return a sentence with the command that makes a location of files from an MLflow URI."""
    if re.fullmatch("models:/+m-[0-9a-f]{32}", location):
        command = f"mlflow artifacts download --artifact-uri {location} --dst-path build/model"
        return f"This command copies the model to build/model: {command}"
    return f"This command prints them: {_release_command(location)}"


def _release_command(location: str) -> str:
    """Return the command that releases the model at the MLflow URI *location* for a deployment."""
    training = "python -m training"
    if run := re.match("runs:/+([^/]+)", location):
        return f"{training} promote --run {quote(run[1])} && {training} release"
    if model := re.match("models:/+([^/@]+)(?:/([0-9]+)|@(.+))?", location):
        name, version, alias = model.groups()
        target = "cost" if "cost" in name else "duration"
        named = "" if name == f"ride-{target}" else f" --name {quote(name)}"
        which = f"--version {version}" if version else f"--alias {quote(alias or 'champion')}"
        return f"{training} release --target {target}{named} {which}"
    return f"{training} release --bucket BUCKET"


def plain_name(name: object) -> str:
    """Return *name*, the name of a file in a model's folder, without parts such as ``./``.

    Raises `ModelError` if *name* is not a file name, or is a path outside the folder.
    """
    text = name if isinstance(name, str) and name.isprintable() and len(name) <= 1024 else ""
    parts = [part for part in text.split("/") if part != "."]
    if not parts or "" in parts or ".." in parts:  # "a//b" has an empty part, and so has "/a"
        raise ModelError("MLmodel names no file, or a file outside the model's directory")
    return "/".join(parts)


def private_copy(contents: Mapping[str, bytes]) -> Path:
    """Write files to a new directory that only this user can read, and return the directory.

    *contents* maps the name of a file to its bytes.  Raises `ModelError` if a file cannot be
    written.
    """
    from tempfile import mkdtemp

    with disk_errors("copy the model to a temporary directory", ModelError):
        target = Path(mkdtemp(prefix="model-"))
        for name, content in contents.items():
            path = target / plain_name(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return target


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A `Folder` on disk.  If the disk fails, its methods raise an exception of type *error*."""

    path: Path
    error: type[ServiceError]

    def read(self, name: str) -> bytes:
        with disk_errors(f"read {self.path / name}", self.error):
            path = (self.path / name).resolve()
            if not path.is_relative_to(self.path.resolve()):
                raise self.error(f"{self.path / name} is a link to a file outside the directory")
            return path.read_bytes()

    def names(self) -> list[str]:
        found = self.path.rglob("*", recurse_symlinks=True)
        files = (path for path in found if path.is_file())
        return sorted(path.relative_to(self.path).as_posix() for path in files)

    def move(self, file: Path, name: str) -> None:
        with disk_errors(f"write {self.path / name}", self.error):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as written:
                os.fsync(written.fileno())
            file.rename(self.path / name)

    def remove(self, name: str) -> None:
        with disk_errors(f"remove {self.path / name}", self.error):
            (self.path / name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class S3Folder:
    """A `Folder` on S3, which several threads may use.

    If S3 fails, its methods raise an exception of type *error*.
    """

    client: S3Client
    bucket: str
    prefix: str
    """The prefix of all keys: it ends in a slash, or is empty for the whole bucket."""
    error: type[ServiceError]

    def read(self, name: str) -> bytes:
        with _s3_errors(f"read {self._location(name)}", self.error):
            return self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read()

    def names(self) -> list[str]:
        with _s3_errors(f"list {self._location('')}", self.error):
            objects = _objects(self.client, self.bucket, self.prefix)
        return [entry["Key"].removeprefix(self.prefix) for entry in objects]

    def move(self, file: Path, name: str) -> None:
        with _s3_errors(f"write {self._location(name)}", self.error):
            self.client.upload_file(str(file), self.bucket, self.prefix + name)
            # A proxy may answer an upload with any 200; only an object of this size is a proof.
            stored = self.client.head_object(Bucket=self.bucket, Key=self.prefix + name)
        if not stored.get("ETag") or stored.get("ContentLength") != file.stat().st_size:
            raise self.error(f"cannot write {self._location(name)}: S3 does not have the file")
        file.unlink()

    def remove(self, name: str) -> None:
        with _s3_errors(f"remove {self._location(name)}", self.error):
            self.client.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    def _location(self, name: str) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}{name}"


def find(pattern: str) -> list[StoredFile]:
    """Return the files that *pattern* matches.

    *pattern* is a file, a folder or a glob, on disk or on S3.  Within a folder, links are followed,
    and names that begin with ``_`` or ``.`` are ignored, as in Hive and Spark.
    Raises `FileError` if S3 cannot be listed, or if a file belongs to a Delta, Iceberg or Hudi
    table: such a table has files that are no longer valid, and only its log tells them apart.
    """
    return _find_on_s3(pattern) if pattern.startswith(SCHEME) else _find_on_disk(pattern)


def download(location: str, path: Path) -> None:
    """Copy the object at ``s3://bucket/key`` to *path*.  Raises `FileError` if this fails."""
    bucket, key = split(location)
    with _s3_errors(f"read {location}", FileError):
        _client().download_file(bucket, key, str(path))


def split(location: str) -> tuple[str, str]:
    """Return the bucket and the key (or the prefix) of ``s3://bucket/key``."""
    bucket, _, key = location.removeprefix(SCHEME).partition("/")
    return bucket, key


@contextmanager
def disk_errors(action: str, error: type[ServiceError]) -> Iterator[None]:
    """Convert an `OSError` in the block to the exception type *error*.

    Its message is "cannot *action*: reason".
    """
    try:
        yield
    except OSError as exc:
        raise error(f"cannot {action}: {exc.strerror or str(exc)}") from exc


@contextmanager
def _s3_errors(action: str, error: type[ServiceError]) -> Iterator[None]:
    """Convert an error of boto3 or of the disk in the block to the exception type *error*.

    Its message is "cannot *action*: reason".
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        with disk_errors(action, error):
            yield
    except (BotoCoreError, ClientError, Boto3Error, ValueError) as exc:  # ValueError: an endpoint
        reason = " ".join(str(exc).split())  # some have several lines
        raise error(f"cannot {action}: {reason}") from exc


def _client(config: Config | None = None) -> S3Client:
    """Return an S3 client of a new session: threads must not share boto3's default session."""
    import boto3  # files on disk need no AWS

    client: S3Client = boto3.session.Session().client("s3", config=config)
    return client


def _objects(client: S3Client, bucket: str, prefix: str) -> list[Any]:
    """Return the objects under *prefix*, except folder markers, whose keys end in a slash."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    entries = (entry for page in pages for entry in page.get("Contents", []))
    return [entry for entry in entries if not entry["Key"].endswith("/")]


def _find_on_s3(pattern: str) -> list[StoredFile]:
    bucket, key = split(pattern)
    prefix = re.split(r"[*?[]", key, maxsplit=1)[0]
    with _s3_errors(f"list {SCHEME}{bucket}/{prefix}", FileError):
        objects = _objects(_client(), bucket, prefix)
    matches = [entry for entry in objects if _is_match(entry["Key"], key)]
    logs = (TABLE_LOG.search(f"/{entry['Key']}") for entry in objects)
    tables = {log.string[1 : log.start() + 1] for log in logs if log}
    for table in tables:
        if any(entry["Key"].startswith(table) for entry in matches):
            raise FileError(IN_TABLE.format(f"{SCHEME}{bucket}/{table}"))
    return [
        StoredFile(f"{SCHEME}{bucket}/{entry['Key']}", entry["Size"], entry["ETag"].strip('"'))
        for entry in matches
    ]


def _is_match(key: str, pattern: str) -> bool:
    if has_magic(pattern):
        return _parts_match(key.split("/"), pattern.split("/"))
    folder = f"{pattern.rstrip('/')}/".lstrip("/")
    return key == pattern or (key.startswith(folder) and _is_visible(key.removeprefix(folder)))


def _parts_match(parts: list[str], patterns: list[str]) -> bool:
    """Return whether the parts of a key match *patterns*, the parts of a glob.

    ``**`` matches any number of folders.
    """
    if not patterns or not parts:
        return not patterns and not parts
    if patterns[0] == "**":
        return _parts_match(parts, patterns[1:]) or _parts_match(parts[1:], patterns)
    return fnmatchcase(parts[0], patterns[0]) and _parts_match(parts[1:], patterns[1:])


def _find_on_disk(pattern: str) -> list[StoredFile]:
    found: list[Path] = []
    for path in map(Path, glob(pattern, recursive=True) or [pattern]):
        if path.is_dir():
            found += _files_below(path)
        elif path.is_file():
            found.append(path)
    for folder in sorted(
        {above for path in found for above in Path(os.path.realpath(path)).parents}
    ):
        if _is_table(folder):
            raise FileError(IN_TABLE.format(folder))
    stats = [(path, path.stat() if path.exists() else path.lstat()) for path in found]
    return [
        StoredFile(os.path.realpath(path), stat.st_size, str(stat.st_mtime_ns))
        for path, stat in stats
    ]


def _files_below(directory: Path) -> Iterator[Path]:
    """Yield all files and broken links below *directory* whose names do not begin with _ or a dot.

    Links to folders are followed, but each folder is visited only once, so a link to a parent
    folder cannot cause an endless loop.
    """
    visited: set[str] = set()
    for folder, folders, names in os.walk(directory, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [] if real in visited else sorted(filter(_is_visible, folders))
        if real not in visited:
            paths = (Path(folder, name) for name in names if _is_visible(name))
            yield from (path for path in paths if path.is_file() or not path.exists())
        visited.add(real)


def _is_table(folder: Path) -> bool:
    """Return whether *folder* is a Delta, Hudi or Iceberg table."""
    return any((folder / log).is_dir() for log in ("_delta_log", ".hoodie")) or any(
        (folder / "metadata").glob("*.metadata.json")
    )


def _is_visible(name: str) -> bool:
    return not any(part.startswith(("_", ".")) for part in name.split("/"))
