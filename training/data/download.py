"""Months of rides from where the TLC publishes them.

A month that is there is asked for all the same, but sent again only if the TLC has another by now.
A file that is not as this command left it is not overwritten, unless that is wanted.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl
import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from model_service.errors import ServiceError

from .. import span
from . import http, receipts
from .http import Advance, NotThereError, Server
from .provenance import fingerprint
from .receipts import Note
from .tlc import TAXIS, Kind

FAILED, STOPPED = 1, 130  # exit codes: not all could be had; by the keyboard

Fate = Literal["downloaded", "unchanged", "failed"]


class DownloadError(ServiceError):
    """Nothing can be downloaded, or nothing more."""


class MonthError(ServiceError):
    """This month cannot be had; others may."""


def download(options: argparse.Namespace, console: Console) -> int:
    """Bring the months that were asked for; the exit code."""
    names, fates = _names(options), dict[str, Fate]()
    with _alone(options.data), requests.Session() as session:
        server = Server(session, lambda text: _say(console, text))
        try:
            for name in names:
                fates[name] = _bring(server, options, name, console)
        except KeyboardInterrupt:
            _say(console, "Stopped; the same command goes on from here.")
            return STOPPED
    print(json.dumps({"directory": str(options.data), "files": fates}, indent=2))
    return FAILED if "failed" in fates.values() else 0


def month(server: Server, url: str, file: Path, kept: Note | None, advance: Advance) -> Fate:
    """*file* as it is at *url*; *kept* is the note of what is there.

    Raises `MonthError`, `NotThereError`, `TransferError`, `DownloadError`.
    """
    part = receipts.part(file)
    try:
        note = http.bring(server, url, part, advance, unless=kept)
        if note is None:
            return "unchanged"
        _parquet(part, file.name)
        receipts.write(file, replace(note, sha256=fingerprint(part).sha256))
        part.replace(file)
        receipts.remove(part)
    except OSError as exc:
        raise DownloadError(f"{file} cannot be written: {exc.strerror}.") from exc
    return "downloaded"


def found(file: Path) -> Note | None:
    """The note of a file that is there and as it was left; None where there is no file.

    Raises `MonthError` where it is not as it was left.
    """
    note, part = receipts.read(file), receipts.part(file)
    if receipts.holds(note, part):  # killed with all but the last step done
        part.replace(file)
    if not file.exists():
        return None
    if not receipts.holds(note, file):
        raise MonthError(
            f"{file} is not as this command would have left it, and stays as it is: "
            "--replace downloads it anew."
        )
    return note


def _bring(server: Server, options: argparse.Namespace, name: str, console: Console) -> Fate:
    file = options.data / name
    try:
        kept = None if options.replace else found(file)
        with _bar(console, name) as advance:
            fate = month(server, f"{options.source}/{name}", file, kept, advance)
    except (MonthError, NotThereError) as exc:
        _say(console, str(exc))
        return "failed"
    _say(console, f"{name}: {fate}, {file.stat().st_size:,} bytes")
    return fate


def _names(options: argparse.Namespace) -> list[str]:
    kind: Kind = options.kind
    return [TAXIS[kind].file(month) for month in span.between(options.first, options.last)]


def _parquet(part: Path, name: str) -> None:
    """Raises `MonthError` for what is no Parquet from beginning to end."""
    try:
        pl.read_parquet_schema(part)
    except pl.exceptions.PolarsError as exc:
        part.unlink()
        raise MonthError(f"What came as {name} is no Parquet file; it was not kept.") from exc


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Nobody else downloads to *directory* meanwhile."""
    shelf = directory / receipts.SHELF
    shelf.mkdir(parents=True, exist_ok=True)
    lock = os.open(shelf, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise DownloadError(f"Another download to {directory} is under way.") from exc
        yield
    finally:
        os.close(lock)


@contextmanager
def _bar(console: Console, name: str) -> Iterator[Advance]:
    """A bar on a terminal; anywhere else a month leaves a line when it is there."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
