"""Finds the input files of a job and provides its output directory, on disk or on S3.

An input on S3 is copied to the disk before it is read.  An output file is first written to a
temporary directory on the disk.  Once it is complete, it is moved or uploaded to the output, so
that nobody can read an incomplete file.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from .. import archive_format, storage
from ..errors import FileError, OutputError
from ..storage import SCHEME, Folder, LocalFolder, disk_errors

TEMPORARY = "_temporary"


@dataclass(frozen=True, slots=True, order=True)
class Input:
    """A file of rides that a job reads."""

    location: str
    """An absolute path, or ``s3://bucket/key``."""
    size: int
    """The size in bytes."""
    stamp: str
    """The modification time on disk or the ETag on S3; it changes when the content changes."""
    skip_through: int = -1
    """In an object of the archive: the last sequence number whose lines another input has."""

    @property
    def name(self) -> str:
        """Return the name that the output files of this input begin with.

        It is the stem of the input's file name, and a hash of its location.  The hash has 64 bits,
        so two inputs practically never have the same name.  The stem is cut off at 100 characters,
        because a file name has at most 255 bytes.
        """
        digest = blake2b(self.location.encode(), digest_size=8).hexdigest()
        stem = PurePosixPath(self.location).name.partition(".")[0][:100]
        return f"{re.sub(r'[^\w.-]', '_', stem, flags=re.ASCII)}-{digest}"


@dataclass(frozen=True, slots=True)
class Output:
    """A directory to which a job writes; the methods of *folder* raise `OutputError`."""

    folder: Folder
    scratch: Path
    """A local directory for files that are not complete yet."""
    known: Sequence[str] | None = None
    """The names of the files in the folder; None if they are not known, so that `names` lists them.
    """

    def names(self) -> list[str]:
        """Return the names of all complete files.  Raises `OutputError` if this fails."""
        names = self.folder.names() if self.known is None else self.known
        return [name for name in names if not name.startswith(TEMPORARY)]

    def write(self, name: str, data: bytes) -> None:
        """Write *data* to the file *name*.  Raises `OutputError` if this fails."""
        file = self.scratch / name.replace("/", "~")
        with disk_errors(f"write {file}", OutputError):
            file.write_bytes(data)
        self.folder.move(file, name)


def matching(pattern: str) -> list[Input]:
    """Return the files that *pattern* matches (see `storage.find`), sorted by location.

    If objects of the archive overlap, each line of theirs is to be read from one of them only.
    Raises `FileError` if S3 cannot be listed, or if a name is not UTF-8 or has control characters.
    """
    found = sorted(Input(*file) for file in storage.find(pattern))
    for one in found:
        if not one.location.isprintable():  # it could not be logged or written to a report
            raise FileError(f"a file name cannot be printed: {one.location!a}")
    return _without_overlaps(found)


def inputs(patterns: Sequence[str]) -> list[Input]:
    """Return the files that match any of *patterns*, each once, sorted by location.

    Raises `FileError` if a pattern matches no file, or under the conditions of `matching`.
    """
    found: dict[str, Input] = {}
    for pattern in patterns:
        files = matching(pattern)
        if not files:
            raise FileError(f"there is no file {pattern}")
        found |= {file.location: file for file in files}
    return _without_overlaps([found[location] for location in sorted(found)])


def _without_overlaps(found: Sequence[Input]) -> list[Input]:
    """Return *found* with the sequence numbers up to which each object is to be skipped."""
    covered = archive_format.covered(one.location for one in found)
    return [replace(one, skip_through=covered.get(one.location, -1)) for one in found]


def outside(inputs: Sequence[Input], output: str) -> list[Input]:
    """Return those of *inputs* that are not in the directory *output*.

    Raises `FileError` if all inputs are in that directory.
    """
    directory = output if output.startswith(SCHEME) else os.path.realpath(output)
    found = [one for one in inputs if not one.location.startswith(f"{directory.rstrip('/')}/")]
    if not found:
        raise FileError(f"all inputs are in the output directory {output}")
    return found


@contextmanager
def local_copy(source: Input) -> Iterator[Path]:
    """Yield the path of *source* on disk.

    A file on S3 is downloaded, and the copy is deleted when the block ends.  Raises `FileError` if
    the download fails.
    """
    if not source.location.startswith(SCHEME):
        yield Path(source.location)
        return
    with TemporaryDirectory(prefix="rides-") as directory:
        path = Path(directory) / "input"
        storage.download(source.location, path)
        yield path


@contextmanager
def output(location: str) -> Iterator[Output]:
    """Yield the output directory at *location*; create it if it does not exist.

    A local directory is locked until the block ends, so that no other job can write to it.
    Raises `OutputError` if the directory is locked by another job or cannot be written.
    """
    if location.startswith(SCHEME):
        with _output_on_s3(location) as output:
            yield output
        return
    path = Path(location).absolute()  # Arrow would read some relative paths as URIs
    with _locked(path):
        scratch = path / TEMPORARY
        shutil.rmtree(scratch, ignore_errors=True)  # left by a job that was killed
        with disk_errors(f"write {location}", OutputError):
            scratch.mkdir()
        try:
            yield Output(LocalFolder(path, OutputError), scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def task_output(location: str) -> Iterator[Output]:
    """Yield the output directory at *location* for one Spark task, with a scratch directory for it.

    The driver must have opened the output directory with `output` before.
    Raises `OutputError` if the scratch directory cannot be created.
    """
    if location.startswith(SCHEME):
        with _output_on_s3(location) as output:
            yield output
        return
    path = Path(location).absolute()
    with disk_errors(f"write {location}", OutputError):
        scratch = TemporaryDirectory(dir=path / TEMPORARY)
    with scratch:
        yield Output(LocalFolder(path, OutputError), Path(scratch.name))


@contextmanager
def _output_on_s3(location: str) -> Iterator[Output]:
    folder = storage.s3_folder(location, OutputError)
    with TemporaryDirectory(prefix="rides-") as directory:
        yield Output(folder, Path(directory))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold an exclusive lock on *directory*; the system releases it when the process ends."""
    with disk_errors(f"write {directory}", OutputError):
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"another job is writing to {directory}") from None
        yield
    finally:
        os.close(lock)
