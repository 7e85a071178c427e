"""Downloads one file over HTTP; resumes an interrupted download, and skips an unchanged file.

Received bytes are written to a part file.  The URL and the ETag of the download are written to a
record (see `download_records`).  A download is resumed only if the server confirms by ETag and
``If-Range`` that the file is unchanged; otherwise it starts again.  A failed request is retried
after a pause.  The pauses increase, unless the server's ``Retry-After`` gives their length.
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

from . import download_records
from .download_records import DownloadRecord

RETRIED = (429, 500, 502, 503, 504)
NOT_FOUND = (403, 404, 410)  # S3 sends 403 for a missing key
RETRIES = Retry(total=5, backoff_factor=1, backoff_jitter=1, status_forcelist=RETRIED)
MAX_WAIT = 300  # seconds; if Retry-After is longer, the command ends
TIMEOUT = (10, 60)  # seconds to connect, and to wait for the next byte
CHUNK = 1 << 18
HEADERS = {
    "User-Agent": "ride-predictions (python -m training download)",
    "Accept-Encoding": "identity",  # so that the received bytes are those of the file
}

Print = Callable[[str], None]
Progress = Callable[[int, int | None], None]
"""A function that is called with the number of bytes received so far and the size of the file (None
if the size is unknown)."""


class TransferError(ServiceError):
    """The server is unreachable or keeps failing, so that other files would fail, too."""


class NotFoundError(ServiceError):
    """The server does not have the requested file."""


class _RetryableError(Exception):
    """A request failed, but may succeed later; *response* may have a ``Retry-After``."""

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
    server: Server, url: str, part: Path, progress: Progress, *, unless: DownloadRecord | None
) -> DownloadRecord | None:
    """Download *url* to the file *part* and return the record of the download.

    *unless* is the record of an earlier download.  If the server's file has not changed since then,
    nothing is downloaded, and None is returned.  *progress* is called while bytes arrive.  Raises
    `TransferError` or `NotFoundError` if the download fails, and `OSError` if *part* cannot be
    written.
    """
    retries = server.retries
    while True:
        try:
            return _attempt(server, url, part, progress, unless)
        except _RetryableError as exc:
            retries = _wait(retries, exc, server.print)


def _attempt(
    server: Server, url: str, part: Path, progress: Progress, unless: DownloadRecord | None
) -> DownloadRecord | None:
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


def _resumable(part: Path, url: str) -> DownloadRecord | None:
    """Return the record of *part* if its download can be resumed, or None."""
    record = download_records.read(part)
    if record is None or record.url != url or not record.etag or record.etag.startswith("W/"):
        return None
    incomplete = part.is_file() and 0 < part.stat().st_size < (record.bytes or 0)
    return record if incomplete else None


def _unless_unchanged(record: DownloadRecord | None, url: str) -> Mapping[str, str]:
    if record is None or record.url != url:
        return {}
    if record.etag:
        return {"If-None-Match": record.etag}
    return {"If-Modified-Since": record.modified} if record.modified else {}


def _range(resumed: DownloadRecord | None, part: Path) -> Mapping[str, str]:
    if resumed is None:
        return {}
    return {"Range": f"bytes={part.stat().st_size}-", "If-Range": resumed.etag}


def _check_status(server: Server, response: Response, url: str, part: Path) -> None:
    """Raise an error if the status of *response* says that it does not contain the file."""
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
    response: Response, url: str, part: Path, resumed: DownloadRecord | None, progress: Progress
) -> DownloadRecord:
    record = _prepare_part(response, url, part, resumed)
    done = part.stat().st_size
    try:
        with part.open("ab") as file:
            while chunk := response.raw.read1(CHUNK):  # read waits for a whole chunk
                file.write(chunk)
                done += len(chunk)
                progress(done, record.bytes)
    except HTTPError as exc:
        raise _RetryableError(f"{_describe(url)} broke off after {done:,} bytes") from exc
    if done != (record.bytes or done):  # e.g. several Content-Length headers
        raise _RetryableError(f"{_describe(url)} ended after {done:,} of {record.bytes:,} bytes")
    return replace(record, bytes=done)


def _prepare_part(
    response: Response, url: str, part: Path, resumed: DownloadRecord | None
) -> DownloadRecord:
    """Prepare *part* so that the body of *response* can be appended to it; return its new record.

    If the response contains the whole file, *part* is emptied.  If it contains the requested range,
    *part* is left as it is.
    """
    headers = response.headers
    if response.status_code == 200:
        part.write_bytes(b"")  # before the record: the old bytes may belong to another file
        length = headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() else None
        record = DownloadRecord(
            url, headers.get("ETag", ""), headers.get("Last-Modified", ""), size
        )
        download_records.write(part, record)
        return record
    if resumed is not None and headers.get("ETag", resumed.etag) == resumed.etag:
        start, end = part.stat().st_size, resumed.bytes or 0
        if headers.get("Content-Range") == f"bytes {start}-{end - 1}/{end}":
            return resumed
    part.unlink(missing_ok=True)
    raise _RetryableError(f"{_describe(url)}: the server sent another range than was requested")


def _wait(retries: Retry, error: _RetryableError, print: Print) -> Retry:
    """Sleep before the next attempt, and return the retries that remain after *error*."""
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
    """Return the name of the file at *url*, and its host.

    >>> _describe("https://example.org/trip-data/green_tripdata_2022-01.parquet")
    'green_tripdata_2022-01.parquet at example.org'
    """
    parts = urlsplit(url)
    return f"{parts.path.rpartition('/')[2]} at {parts.hostname}"
