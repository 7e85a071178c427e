"""Download of one file over HTTP, which resumes where it broke off and skips unchanged files.

Bytes that have arrived lie in a part file, whose receipt names the file that it belongs to.  A
part is resumed only where the server confirms that its file is unchanged (by ETag and
``If-Range``); else the download starts again.  Failed requests are retried with growing pauses, or
after the time that the server's ``Retry-After`` asks for.
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
from .receipts import Receipt

RETRIED = (429, 500, 502, 503, 504)
NOT_FOUND = (403, 404, 410)  # S3 answers 403 for a missing key
RETRIES = Retry(total=5, backoff_factor=1, backoff_jitter=1, status_forcelist=RETRIED)
MAX_WAIT = 300  # seconds; a longer Retry-After ends the command
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
CHUNK = 1 << 18
HEADERS = {
    "User-Agent": "ride-predictions (python -m training download)",
    "Accept-Encoding": "identity",  # the file's own bytes, which can be counted
}

Print = Callable[[str], None]
Progress = Callable[[int, int | None], None]
"""Called with the bytes that have arrived, and the file's size where it is known."""


class TransferError(ServiceError):
    """The server is unreachable or keeps failing, so that other files would fail as well."""


class NotFoundError(ServiceError):
    """The server does not have this file."""


class _RetryableError(Exception):
    """A request failed that may succeed later; *response* may have a ``Retry-After``."""

    def __init__(self, message: str, response: BaseHTTPResponse | None = None) -> None:
        super().__init__(message)
        self.response = response


@dataclass(frozen=True, slots=True)
class Server:
    """An HTTP session, its retry policy, and the function that prints messages about retries."""

    session: requests.Session
    print: Print
    retries: Retry = RETRIES


def fetch(
    server: Server, url: str, part: Path, progress: Progress, *, unless: Receipt | None
) -> Receipt | None:
    """Download *url* into *part* and return its receipt; None where *unless* is still current.

    Raises `TransferError`, `NotFoundError`, and `OSError` where *part* cannot be written.
    """
    retries = server.retries
    while True:
        try:
            return _attempt(server, url, part, progress, unless)
        except _RetryableError as exc:
            retries = _wait(retries, exc, server.print)


def _attempt(
    server: Server, url: str, part: Path, progress: Progress, unless: Receipt | None
) -> Receipt | None:
    resumed = _resumable(part, url)
    headers = {**HEADERS, **_unless_unchanged(unless, url), **_range(resumed, part)}
    host = urlsplit(url).hostname
    try:
        with server.session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 304 and unless is not None:
                return None
            _check_status(server, response, url, part)
            return _receive(response, url, part, resumed, progress)
    except requests.exceptions.SSLError as exc:
        raise TransferError(f"The TLS certificate of {host} is not valid.") from exc
    except (requests.ConnectionError, requests.Timeout) as exc:
        raise _RetryableError(f"No response from {host}") from exc
    except requests.RequestException as exc:
        raise TransferError(f"The request for {url} failed: {type(exc).__name__}.") from exc


def _resumable(part: Path, url: str) -> Receipt | None:
    """The receipt of *part* where its download can be resumed."""
    receipt = receipts.read(part)
    if receipt is None or receipt.url != url or not receipt.etag or receipt.etag.startswith("W/"):
        return None
    incomplete = part.is_file() and 0 < part.stat().st_size < (receipt.bytes or 0)
    return receipt if incomplete else None


def _unless_unchanged(receipt: Receipt | None, url: str) -> Mapping[str, str]:
    if receipt is None or receipt.url != url:
        return {}
    if receipt.etag:
        return {"If-None-Match": receipt.etag}
    return {"If-Modified-Since": receipt.modified} if receipt.modified else {}


def _range(resumed: Receipt | None, part: Path) -> Mapping[str, str]:
    if resumed is None:
        return {}
    return {"Range": f"bytes={part.stat().st_size}-", "If-Range": resumed.etag}


def _check_status(server: Server, response: Response, url: str, part: Path) -> None:
    """Raises the error that a status means, unless a body follows."""
    status, name = response.status_code, _describe(url)
    if status in NOT_FOUND:
        raise NotFoundError(f"There is no {name} ({status}).")
    if status == 416:
        part.unlink()
        raise _RetryableError(f"{name} is shorter than the part that was downloaded")
    if server.retries.is_retry("GET", status, "Retry-After" in response.headers):
        raise _RetryableError(f"{name}: the server answered {status}", response.raw)
    if status not in (200, 206):
        raise TransferError(f"{name}: the server answered {status}.")


def _receive(
    response: Response, url: str, part: Path, resumed: Receipt | None, progress: Progress
) -> Receipt:
    receipt = _prepare_part(response, url, part, resumed)
    done = part.stat().st_size
    try:
        with part.open("ab") as file:
            while chunk := response.raw.read1(CHUNK):  # read would wait for a whole chunk
                file.write(chunk)
                done += len(chunk)
                progress(done, receipt.bytes)
    except HTTPError as exc:
        raise _RetryableError(f"{_describe(url)} broke off after {done:,} bytes") from exc
    if done != (receipt.bytes or done):  # where the headers named several lengths
        raise _RetryableError(f"{_describe(url)} ended after {done:,} of {receipt.bytes:,} bytes")
    return replace(receipt, bytes=done)


def _prepare_part(response: Response, url: str, part: Path, resumed: Receipt | None) -> Receipt:
    """The receipt of *part*, which is cut to the bytes that precede the response's body."""
    headers = response.headers
    if response.status_code == 200:
        part.write_bytes(b"")  # before the receipt: the old bytes may belong to another file
        length = headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() else None
        receipt = Receipt(url, headers.get("ETag", ""), headers.get("Last-Modified", ""), size)
        receipts.write(part, receipt)
        return receipt
    if resumed is not None and headers.get("ETag", resumed.etag) == resumed.etag:
        start, end = part.stat().st_size, resumed.bytes or 0
        if headers.get("Content-Range") == f"bytes {start}-{end - 1}/{end}":
            return resumed
    part.unlink(missing_ok=True)
    raise _RetryableError(f"{_describe(url)}: the server sent another range than was requested")


def _wait(retries: Retry, error: _RetryableError, print: Print) -> Retry:
    """Sleep before the next attempt, and return the retries that are left."""
    try:
        left = retries.increment("GET", error=ProtocolError(str(error)))
    except MaxRetryError as exc:
        raise TransferError(f"{error}; run the same command again to resume.") from exc
    seconds = _retry_after(left, error.response) or left.get_backoff_time()
    if seconds > MAX_WAIT:
        raise TransferError(f"{error}; the server asks for a pause of {seconds:,.0f} seconds.")
    print(f"{error}; retrying in {seconds:.0f} s")
    time.sleep(seconds)
    return left


def _retry_after(retries: Retry, response: BaseHTTPResponse | None) -> float | None:
    try:
        return None if response is None else retries.get_retry_after(response)
    except InvalidHeader:  # neither seconds nor a date
        return None


def _describe(url: str) -> str:
    """A file's name and host.

    >>> _describe("https://example.org/trip-data/green_tripdata_2022-01.parquet")
    'green_tripdata_2022-01.parquet at example.org'
    """
    parts = urlsplit(url)
    return f"{parts.path.rpartition('/')[2]} at {parts.hostname}"
