"""One file over HTTP: asked for politely, gone on with where it broke off, not sent in vain.

What has arrived lies in a part, with a note of what it is a part of.  A part is gone on with only
where the server says that its file is still the same (by ETag and ``If-Range``); else it is begun
anew.  A server in trouble is left alone for longer each time, or for as long as it asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests import Response
from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, ProtocolError

from model_service.errors import ServiceError

from . import receipts
from .receipts import Note

TROUBLE = (429, 500, 502, 503, 504)
ABSENT = (403, 404, 410)  # S3 says 403 of what is not there
PATIENCE = Retry(total=5, backoff_factor=1, backoff_jitter=1, status_forcelist=TROUBLE)
LONGEST_WAIT = 300  # seconds; who asks for more is asked another day
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
CHUNK = 1 << 18
HEADERS = {
    "User-Agent": "ride-predictions (python -m training download)",
    "Accept-Encoding": "identity",  # the file's own bytes, which can be counted
}

Say = Callable[[str], None]
Advance = Callable[[int, int | None], None]
"""Told how many bytes are there, of how many."""


class TransferError(ServiceError):
    """The server is out of reach or in trouble: what else it has cannot be had either."""


class NotThereError(ServiceError):
    """The server does not have this file."""


class _BrokenOff(Exception):
    """Worth another attempt; says what happened."""

    def __init__(self, what: str, response: BaseHTTPResponse | None = None) -> None:
        super().__init__(what)
        self.response = response


@dataclass(frozen=True, slots=True)
class Server:
    """How a server is asked, and who is told that it takes longer."""

    session: requests.Session
    say: Say
    patience: Retry = PATIENCE


def bring(
    server: Server, url: str, part: Path, advance: Advance, *, unless: Note | None
) -> Note | None:
    """All of the file at *url*, as *part*; None where it would be what *unless* is a note of.

    Raises `TransferError`, `NotThereError`, and `OSError` where it cannot be written.
    """
    patience = server.patience
    while True:
        try:
            return _attempt(server, url, part, advance, unless)
        except _BrokenOff as exc:
            patience = _wait(patience, exc, server.say)


def _attempt(
    server: Server, url: str, part: Path, advance: Advance, unless: Note | None
) -> Note | None:
    begun = _begun(part, url)
    headers = {**HEADERS, **_unless(unless, url), **_beyond(begun, part)}
    host = urlsplit(url).hostname
    try:
        with server.session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 304 and unless is not None:
                return None
            _check(server, response, url, part)
            return _receive(response, url, part, begun, advance)
    except requests.exceptions.SSLError as exc:
        raise TransferError(f"{host} does not prove that it is {host}.") from exc
    except (requests.ConnectionError, requests.Timeout) as exc:
        raise _BrokenOff(f"No answer from {host}") from exc
    except requests.RequestException as exc:
        raise TransferError(f"{url} cannot be asked for: {type(exc).__name__}.") from exc


def _begun(part: Path, url: str) -> Note | None:
    """The note of a part that can be gone on with."""
    note = receipts.read(part)
    if note is None or note.url != url or not note.etag or note.etag.startswith("W/"):
        return None
    some = part.is_file() and 0 < part.stat().st_size < (note.bytes or 0)
    return note if some else None


def _unless(note: Note | None, url: str) -> Mapping[str, str]:
    if note is None or note.url != url:
        return {}
    if note.etag:
        return {"If-None-Match": note.etag}
    return {"If-Modified-Since": note.modified} if note.modified else {}


def _beyond(begun: Note | None, part: Path) -> Mapping[str, str]:
    if begun is None:
        return {}
    return {"Range": f"bytes={part.stat().st_size}-", "If-Range": begun.etag}


def _check(server: Server, response: Response, url: str, part: Path) -> None:
    """Raises what a status means, unless it means that a body follows."""
    status, named = response.status_code, _named(url)
    if status in ABSENT:
        raise NotThereError(f"There is no {named} ({status}).")
    if status == 416:
        part.unlink()
        raise _BrokenOff(f"There is less of {named} than was here")
    if server.patience.is_retry("GET", status, "Retry-After" in response.headers):
        raise _BrokenOff(f"{named} is answered with {status}", response.raw)
    if status not in (200, 206):
        raise TransferError(f"{named} is answered with {status}.")


def _receive(
    response: Response, url: str, part: Path, begun: Note | None, advance: Advance
) -> Note:
    note = _place(response, url, part, begun)
    done = part.stat().st_size
    try:
        with part.open("ab") as file:
            while chunk := response.raw.read1(CHUNK):  # what there is; a whole chunk may not come
                file.write(chunk)
                done += len(chunk)
                advance(done, note.bytes)
    except HTTPError as exc:
        raise _BrokenOff(f"{_named(url)} breaks off after {done:,} bytes") from exc
    if done != (note.bytes or done):  # where several lengths were given
        raise _BrokenOff(f"{_named(url)} ends after {done:,} of {note.bytes:,} bytes")
    return replace(note, bytes=done)


def _place(response: Response, url: str, part: Path, begun: Note | None) -> Note:
    """The note of the part that the body belongs to; it is as long as what came before."""
    headers = response.headers
    if response.status_code == 200:
        part.write_bytes(b"")  # before the note: what is there may be of another file
        length = headers.get("Content-Length", "")
        known = int(length) if length.isdecimal() else None
        note = Note(url, headers.get("ETag", ""), headers.get("Last-Modified", ""), known)
        receipts.write(part, note)
        return note
    if begun is not None and headers.get("ETag", begun.etag) == begun.etag:
        start, end = part.stat().st_size, begun.bytes or 0
        if headers.get("Content-Range") == f"bytes {start}-{end - 1}/{end}":
            return begun
    part.unlink(missing_ok=True)
    raise _BrokenOff(f"{_named(url)} comes in other parts than was asked for")


def _wait(patience: Retry, broken: _BrokenOff, say: Say) -> Retry:
    """What is left of *patience*, after a while."""
    try:
        left = patience.increment("GET", error=ProtocolError(str(broken)))
    except MaxRetryError as exc:
        raise TransferError(f"{broken}; the same command goes on from here.") from exc
    seconds = _asked_for(left, broken.response) or left.get_backoff_time()
    if seconds > LONGEST_WAIT:
        raise TransferError(f"{broken}; it asks for {seconds:,.0f} seconds of patience.")
    say(f"{broken}; trying again in {seconds:.0f} s")
    time.sleep(seconds)
    return left


def _asked_for(patience: Retry, response: BaseHTTPResponse | None) -> float | None:
    try:
        return None if response is None else patience.get_retry_after(response)
    except InvalidHeader:  # neither seconds nor a date
        return None


def _named(url: str) -> str:
    """A file's name, and whose it is.

    >>> _named("https://example.org/trip-data/green_tripdata_2022-01.parquet")
    'green_tripdata_2022-01.parquet at example.org'
    """
    parts = urlsplit(url)
    return f"{parts.path.rpartition('/')[2]} at {parts.hostname}"
