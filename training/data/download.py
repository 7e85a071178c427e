"""Downloads the TLC's months: a file with a month's name is always complete.

A month that was downloaded before is requested again, but the server sends it only if it has
changed.  The size and checksum of each download are recorded (see `download_records`).  A local
file that differs from its record is never overwritten, unless the caller requests it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl

from model_service.errors import ServiceError

from . import download_records, http
from .download_records import DownloadRecord
from .http import Progress, Server
from .provenance import fingerprint

DownloadStatus = Literal["downloaded", "unchanged", "failed"]


class DownloadError(ServiceError):
    """The directory for downloaded months cannot be used, for example because it is read-only."""


class MonthError(ServiceError):
    """One month cannot be downloaded, but other months may be."""


def download(
    server: Server, url: str, file: Path, current: DownloadRecord | None, progress: Progress
) -> DownloadStatus:
    """Download *url* to *file*, and return ``downloaded``; ``unchanged`` if *file* is up to date.

    *current* is the record of *file*; with None, *file* is replaced if it exists.  Raises
    `MonthError` or `NotFoundError` if this month cannot be downloaded, and `TransferError` or
    `DownloadError` if other months would fail, too.
    """
    part = download_records.part_path(file)
    try:
        record = http.fetch(server, url, part, progress, unless=current)
        if record is None:
            return "unchanged"
        _check_parquet(part, file.name)
        download_records.write(file, replace(record, sha256=fingerprint(part).sha256))
        part.replace(file)
        download_records.remove(part)
    except OSError as exc:
        raise DownloadError(f"{file} cannot be written: {exc.strerror}.") from exc
    return "downloaded"


def current_record(file: Path) -> DownloadRecord | None:
    """Return the record of *file*, or None if there is no such file.

    Raises `MonthError` if the file differs from its record.
    """
    record, part = download_records.read(file), download_records.part_path(file)
    if download_records.matches(record, part):  # interrupted just before the last step
        part.replace(file)
    if not file.exists():
        return None
    if not download_records.matches(record, file):
        raise MonthError(
            f"{file} was not written by this command, or has changed since; it was left alone. "
            "Use --replace to download it again."
        )
    return record


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold an exclusive lock on downloads to *directory*.

    Raises `DownloadError` if another process holds the lock.
    """
    folder = directory / download_records.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise DownloadError(f"Another download to {directory} is running.") from exc
        yield
    finally:
        os.close(lock)


def _check_parquet(part: Path, name: str) -> None:
    """Delete *part* and raise `MonthError` if *part* is not a complete Parquet file."""
    try:
        pl.read_parquet_schema(part)
    except pl.exceptions.PolarsError as exc:
        part.unlink()
        raise MonthError(f"{name} as downloaded is not a Parquet file; it was deleted.") from exc
