"""Receipts of downloaded files: the source, ETag, size and checksum of each.

Receipts and unfinished parts lie in a hidden directory beside the files, so that readers of the
files never see them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from .provenance import fingerprint

FOLDER = ".downloads"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The source and checksum of a file, or of the file that a part belongs to."""

    url: str
    etag: str
    """The server's ETag; empty where it sent none."""
    modified: str
    """The server's Last-Modified; empty where it sent none."""
    bytes: int | None
    """The size of the whole file; None where the server did not send it."""
    sha256: str = ""
    """Empty for a part."""


def part_path(file: Path) -> Path:
    """The path of the unfinished download of *file*."""
    return file.parent / FOLDER / f"{file.name}.part"


def read(file: Path) -> Receipt | None:
    """The receipt of a file or part; None where there is none, or it cannot be decoded."""
    try:
        return msgspec.json.decode(_path(file).read_bytes(), type=Receipt)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def write(file: Path, receipt: Receipt) -> None:
    """Write the receipt of *file*, atomically."""
    path = _path(file)
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(msgspec.json.encode(receipt))
    unfinished.replace(path)


def remove(file: Path) -> None:
    """Delete the receipt of *file*, if it has one."""
    _path(file).unlink(missing_ok=True)


def matches(receipt: Receipt | None, file: Path) -> bool:
    """Whether *file* has the size and SHA-256 of the receipt."""
    if receipt is None or not file.is_file() or file.stat().st_size != receipt.bytes:
        return False
    return fingerprint(file).sha256 == receipt.sha256


def _path(file: Path) -> Path:
    folder = file.parent if file.parent.name == FOLDER else file.parent / FOLDER
    return folder / f"{file.name}.json"
