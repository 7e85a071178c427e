"""Reads and writes records of downloads: the source, ETag, size and checksum of each file.

The records and the incomplete downloads are in a hidden directory beside the files, so that
programs that list the files do not see them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from .provenance import fingerprint

FOLDER = ".downloads"


@dataclass(frozen=True, slots=True)
class DownloadRecord:
    """The source and checksum of a downloaded file, or the source of an incomplete download."""

    url: str
    etag: str
    """The server's ETag; empty if the server sent none."""
    modified: str
    """The server's Last-Modified; empty if the server sent none."""
    bytes: int | None
    """The size of the whole file; None if the server did not send it."""
    sha256: str = ""
    """The SHA-256 of the file; empty if the download is incomplete."""


def part_path(file: Path) -> Path:
    """Return the path to which *file* is written until its download is complete."""
    return file.parent / FOLDER / f"{file.name}.part"


def read(file: Path) -> DownloadRecord | None:
    """Return the record of *file*, a complete or incomplete download.

    Returns None if the record is missing or unreadable.
    """
    try:
        return msgspec.json.decode(_path(file).read_bytes(), type=DownloadRecord)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def write(file: Path, record: DownloadRecord) -> None:
    """Write *record* atomically to the record file beside *file*."""
    path = _path(file)
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(msgspec.json.encode(record))
    unfinished.replace(path)


def remove(file: Path) -> None:
    """Delete the record of *file*, if it exists."""
    _path(file).unlink(missing_ok=True)


def matches(record: DownloadRecord | None, file: Path) -> bool:
    """Return whether *file* exists and has the size and SHA-256 in the record."""
    if record is None or not file.is_file() or file.stat().st_size != record.bytes:
        return False
    return fingerprint(file).sha256 == record.sha256


def _path(file: Path) -> Path:
    folder = file.parent if file.parent.name == FOLDER else file.parent / FOLDER
    return folder / f"{file.name}.json"
