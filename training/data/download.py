"""Downloads the TLC's months: a file with a month's name is always complete.

A month that was downloaded before is requested again, but the server sends it only if it has
changed. A local file that differs from its receipt (see `receipts`) is never overwritten, unless
the caller requests it.
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

from . import http, receipts
from .http import Progress, Server
from .provenance import fingerprint
from .receipts import Receipt

DownloadStatus = Literal["downloaded", "unchanged", "failed"]


class DownloadError(ServiceError):
    """No month can be downloaded to this directory."""


class MonthError(ServiceError):
    """One month cannot be downloaded, but other months may be."""


def download(
    server: Server, url: str, file: Path, current: Receipt | None, progress: Progress
) -> DownloadStatus:
    """Download *url* to *file*, unless *file* is up to date.

    *current* is the receipt of *file*, or None if there is no file or it is to be replaced. Raises
    `MonthError` or `NotFoundError` if this month cannot be downloaded, and `TransferError` or
    `DownloadError` if no month can be.
    """
    part = receipts.part_path(file)
    try:
        receipt = http.fetch(server, url, part, progress, unless=current)
        if receipt is None:
            return "unchanged"
        _check_parquet(part, file.name)
        receipts.write(file, replace(receipt, sha256=fingerprint(part).sha256))
        part.replace(file)
        receipts.remove(part)
    except OSError as exc:
        raise DownloadError(f"{file} cannot be written: {exc.strerror}.") from exc
    return "downloaded"


def current_receipt(file: Path) -> Receipt | None:
    """Return the receipt of *file*, or None if there is no such file.

    Raises `MonthError` if the file differs from its receipt.
    """
    receipt, part = receipts.read(file), receipts.part_path(file)
    if receipts.matches(receipt, part):  # interrupted just before the last step
        part.replace(file)
    if not file.exists():
        return None
    if not receipts.matches(receipt, file):
        raise MonthError(
            f"{file} was not written by this command, or has changed since; it was left alone. "
            "Use --replace to download it again."
        )
    return receipt


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold an exclusive lock on downloads to *directory*.

    Raises `DownloadError` if another process holds the lock.
    """
    folder = directory / receipts.FOLDER
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
