"""Where files of rides come from, and where files of answers go: a directory, or S3.

A file on S3 is copied to the disk and read there; what is written is finished on the disk first
and then moved to its name as a whole, by a rename or an upload.  So nobody meets half a file.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Protocol

from .. import buckets
from ..buckets import SCHEME, Bucket, visible
from ..errors import FileError, OutputError

TEMPORARY = "_temporary"


@dataclass(frozen=True, slots=True)
class Input:
    """A file of rides."""

    location: str
    """An absolute path, or ``s3://bucket/key``."""
    size: int
    stamp: str
    """Another one where its bytes may be others."""

    @property
    def name(self) -> str:
        """Of what is made of it; it takes 64 bits for no two of many inputs to share one.

        A name on disk has 255 bytes at most, and others stand around this one.
        """
        digest = blake2b(self.location.encode(), digest_size=8).hexdigest()
        stem = PurePosixPath(self.location).name.partition(".")[0][:100]
        return f"{re.sub(r'[^\w.-]', '_', stem, flags=re.ASCII)}-{digest}"


class Output(Protocol):
    """A directory of files, by names with slashes; its methods raise `OutputError`."""

    @property
    def scratch(self) -> Path:
        """Where to write what will be moved here."""

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...

    def move(self, file: Path, name: str) -> None: ...

    def remove(self, name: str) -> None: ...


def inputs(patterns: Sequence[str]) -> list[Input]:
    """The files that *patterns* name: files, directories and globs, local or on S3; by location.

    In a directory, files whose name, or whose directory's, begins with ``_`` or ``.`` are none.
    Raises `FileError` where a pattern names nothing.
    """
    found: dict[str, Input] = {}
    for pattern in patterns:
        on_s3 = pattern.startswith(SCHEME)
        matched = [Input(*one) for one in buckets.find(pattern)] if on_s3 else _on_disk(pattern)
        if not matched:
            raise FileError(f"there is no file {pattern}")
        found |= {one.location: one for one in matched}
    for location in found:
        if not location.isprintable():  # so it is no UTF-8, or would break a line of what we say
            raise FileError(f"there is a file of a name that cannot be written: {location!a}")
    return [found[location] for location in sorted(found)]


def outside(inputs: Sequence[Input], output: str) -> list[Input]:
    """The *inputs* that do not lie in the directory *output*, where answers are.

    Raises `FileError` where that leaves none.
    """
    there = output if output.startswith(SCHEME) else os.path.realpath(output)
    found = [one for one in inputs if not one.location.startswith(f"{there.rstrip('/')}/")]
    if not found:
        raise FileError(f"all inputs lie in {output}, where the answers go")
    return found


@contextmanager
def local_copy(source: Input) -> Iterator[Path]:
    """The file on disk.  Raises `FileError`."""
    if not source.location.startswith(SCHEME):
        yield Path(source.location)
        return
    with TemporaryDirectory(prefix="rides-") as directory:
        path = Path(directory) / "input"
        buckets.copy(source.location, path)
        yield path


@contextmanager
def output(location: str) -> Iterator[Output]:
    """The output directory, for one run at a time where it is local.  Raises `OutputError`."""
    if location.startswith(SCHEME):
        bucket, prefix = buckets.split(location)
        with TemporaryDirectory(prefix="rides-") as directory:
            below = f"{prefix.strip('/')}/".lstrip("/")
            with buckets.s3_errors(f"use {location}", OutputError):
                client = buckets.client()
            yield Bucket(client, bucket, below, Path(directory))
        return
    path = Path(location).absolute()  # for Arrow, another may be a URI
    with _locked(path):
        scratch = path / TEMPORARY
        shutil.rmtree(scratch, ignore_errors=True)  # what a run left that was killed
        with output_errors(location):
            scratch.mkdir()
        try:
            yield Directory(path, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def write(output: Output, name: str, data: bytes) -> None:
    """A small file, whole.  Raises `OutputError`."""
    file = output.scratch / name.replace("/", "~")
    with output_errors(str(file)):
        file.write_bytes(data)
    output.move(file, name)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Nobody else's, as long as this process lives."""
    with output_errors(str(directory)):
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"another run is writing to {directory}") from None
        yield
    finally:
        os.close(lock)


@dataclass(frozen=True, slots=True)
class Directory:
    """On disk."""

    path: Path
    scratch: Path

    def names(self) -> list[str]:
        files = (path for path in self.path.rglob("*") if path.is_file())
        names = sorted(path.relative_to(self.path).as_posix() for path in files)
        return [name for name in names if not name.startswith(TEMPORARY)]

    def read(self, name: str) -> bytes:
        with output_errors(name):
            return (self.path / name).read_bytes()

    def move(self, file: Path, name: str) -> None:
        with output_errors(name):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as written:
                os.fsync(written.fileno())
            file.rename(self.path / name)

    def remove(self, name: str) -> None:
        with output_errors(name):
            (self.path / name).unlink(missing_ok=True)


@contextmanager
def output_errors(what: str) -> Iterator[None]:
    """What the disk says, as an `OutputError`."""
    try:
        yield
    except OSError as exc:
        raise OutputError(f"cannot write {what}: {exc.strerror or type(exc).__name__}") from exc


def _on_disk(pattern: str) -> list[Input]:
    paths = [Path(path) for path in (glob(pattern, recursive=True) or [pattern])]
    files: list[Path] = []
    for path in paths:
        files += _below(path) if path.is_dir() else [path] if path.is_file() else []
    return [
        Input(os.path.realpath(path), (stat := path.stat()).st_size, str(stat.st_mtime_ns))
        for path in files
    ]


def _below(directory: Path) -> list[Path]:
    found = [path for path in directory.rglob("*") if path.is_file()]
    return [path for path in found if visible(path.relative_to(directory).as_posix())]
