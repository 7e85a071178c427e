"""What is known of a file that was downloaded: where it came from, and its checksum.

Notes and unfinished parts lie in a directory of their own beside the files, so that nobody who
reads the files meets them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from .provenance import fingerprint

SHELF = ".downloads"


@dataclass(frozen=True, slots=True)
class Note:
    """What a file is, or what a part is of."""

    url: str
    etag: str
    """What the server calls these bytes; empty where it does not say."""
    modified: str
    """The same of its Last-Modified."""
    bytes: int | None
    """Of the whole file; None where the server did not say."""
    sha256: str = ""
    """Empty of a part."""


def part(file: Path) -> Path:
    """Where what has arrived of *file* lies until all has."""
    return file.parent / SHELF / f"{file.name}.part"


def read(file: Path) -> Note | None:
    """The note of a file or of a part."""
    try:
        return msgspec.json.decode(_path(file).read_bytes(), type=Note)
    except (FileNotFoundError, msgspec.MsgspecError):  # a note that says nothing is none
        return None


def write(file: Path, note: Note) -> None:
    """Note it, as a whole or not at all."""
    path = _path(file)
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(msgspec.json.encode(note))
    unfinished.replace(path)


def remove(file: Path) -> None:
    """The note, where there is one."""
    _path(file).unlink(missing_ok=True)


def holds(note: Note | None, file: Path) -> bool:
    """Whether *file* is, byte for byte, what the note says."""
    if note is None or not file.is_file() or file.stat().st_size != note.bytes:
        return False
    return fingerprint(file).sha256 == note.sha256


def _path(file: Path) -> Path:
    shelf = file.parent if file.parent.name == SHELF else file.parent / SHELF
    return shelf / f"{file.name}.json"
