"""Downloading months from a local server that behaves like the TLC's."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3 import Retry

from model_service.errors import SettingsError
from tests.support.archive_stand_in import Archive, Trouble, archive
from tests.support.training_factories import ride
from training import __main__ as command
from training.commands.arguments import expand_months
from training.data import dataset, download, download_records, http
from training.data.download import DownloadError
from training.data.http import NotFoundError, Server, TransferError

ROOT = Path(__file__).parents[2]
JANUARY, FEBRUARY = "green_tripdata_2022-01.parquet", "green_tripdata_2022-02.parquet"
AT_ONCE = http.RETRIES.new(backoff_factor=0, backoff_jitter=0)


def a_month(rides: int) -> bytes:
    file = io.BytesIO()
    table = pl.DataFrame([ride(trip_distance=number / 7) for number in range(rides)])
    table.write_parquet(file, compression="uncompressed")
    return file.getvalue()


CONTENT = {JANUARY: a_month(1000), FEBRUARY: a_month(20)}
WHOLE = CONTENT[JANUARY]
HALF = len(WHOLE) // 2

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tlc(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with archive(dict(CONTENT)) as server:
        yield server


@pytest.fixture
def bring(tlc: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; return its exit code, output and errors."""

    def bring(*arguments: str, last: str = "2022-01") -> tuple[int, str, str]:
        months = ("--from", "2022-01", "--to", last)
        place = ("--data", str(tmp_path), "--source", tlc.url)
        code = command.main(["download", *months, *place, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return bring


def server(retries: Retry = AT_ONCE) -> Server:
    return Server(requests.Session(), lambda text: None, retries)


def attempt(tlc: Archive, directory: Path, retries: Retry = AT_ONCE) -> None:
    """Download January, without pauses between retries."""
    (directory / download_records.FOLDER).mkdir(exist_ok=True)
    file = directory / JANUARY
    source = server(retries)
    with source.session:
        current = download.current_record(file)
        download.download(source, f"{tlc.url}/{JANUARY}", file, current, lambda *_: None)


def process(tlc: Archive, directory: Path) -> subprocess.Popen[str]:
    """Start the same command in a separate process, which can be stopped."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "training", "download", "--from", "2022-01", "--to", "2022-01"),
            *("--data", str(directory), "--source", tlc.url),
        ],
        cwd=ROOT,
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_months_are_downloaded_as_published(bring: Run, tmp_path: Path) -> None:
    code, out, err = bring(last="2022-02")

    assert code == 0
    assert {name: (tmp_path / name).read_bytes() for name in CONTENT} == CONTENT
    assert dataset.months(tmp_path) == ["2022-01", "2022-02"]
    assert json.loads(out)["files"] == dict.fromkeys(CONTENT, "downloaded")
    assert f"{JANUARY}: downloaded, {len(WHOLE):,} bytes" in err.splitlines()


def test_a_download_leaves_only_the_month_and_its_record(bring: Run, tmp_path: Path) -> None:
    bring()

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [
        JANUARY,
        f"{JANUARY}.json",
    ]


def test_requests_name_the_client(bring: Run, tlc: Archive) -> None:
    bring()

    [asked] = tlc.asked
    assert asked.headers["User-Agent"].startswith("ride-predictions")
    assert asked.headers["Accept-Encoding"] == "identity"


def test_yellow_months_have_their_own_names(bring: Run, tlc: Archive, tmp_path: Path) -> None:
    tlc.files["yellow_tripdata_2022-01.parquet"] = WHOLE

    code, _, _ = bring("--kind", "yellow")

    assert code == 0
    assert (tmp_path / "yellow_tripdata_2022-01.parquet").read_bytes() == WHOLE


def test_the_source_can_be_set(
    bring: Run, tlc: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLC_SOURCE", f"{tlc.url}/")
    months = ["--from", "2022-02", "--to", "2022-02"]

    assert command.main(["download", *months, "--data", str(tmp_path)]) == 0
    assert [asked.name for asked in tlc.asked] == [FEBRUARY]


def test_an_unchanged_month_is_not_sent_again(bring: Run, tlc: Archive) -> None:
    bring()

    code, out, _ = bring()

    assert code == 0
    assert json.loads(out)["files"] == {JANUARY: "unchanged"}
    assert [(asked.status, asked.sent) for asked in tlc.asked] == [(200, len(WHOLE)), (304, 0)]


def test_without_an_etag_an_unmodified_month_is_not_sent_again(bring: Run, tlc: Archive) -> None:
    tlc.etag = ""

    bring()
    code, _, _ = bring()

    assert code == 0
    assert [asked.status for asked in tlc.asked] == [200, 304]


def test_a_month_that_was_published_again_replaces_the_old_file(
    bring: Run, tlc: Archive, tmp_path: Path
) -> None:
    bring()
    tlc.files[JANUARY] = CONTENT[FEBRUARY]

    code, out, _ = bring()

    assert code == 0
    assert json.loads(out)["files"] == {JANUARY: "downloaded"}
    assert (tmp_path / JANUARY).read_bytes() == CONTENT[FEBRUARY]


def test_a_month_of_another_source_is_downloaded_despite_an_equal_etag(
    bring: Run, tlc: Archive, tmp_path: Path
) -> None:
    with archive({JANUARY: CONTENT[FEBRUARY]}) as other:
        tlc.etag = other.etag = '"1"'
        bring()
        bring("--source", other.url)

    assert (tmp_path / JANUARY).read_bytes() == CONTENT[FEBRUARY]


def test_a_part_from_another_source_is_not_resumed(tlc: Archive, tmp_path: Path) -> None:
    with archive({JANUARY: WHOLE}) as other:
        tlc.etag = other.etag = '"1"'
        tlc.files[JANUARY] = bytes(len(WHOLE))
        tlc.troubles = [Trouble(dies_after=HALF)]
        with pytest.raises(TransferError):
            attempt(tlc, tmp_path, Retry(total=0))

        attempt(other, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE


@pytest.mark.parametrize("before", [[], ["download it first"]])
def test_a_file_that_the_command_did_not_write_is_not_overwritten(
    bring: Run, tlc: Archive, tmp_path: Path, before: list[str]
) -> None:
    if before:
        bring()
    changed = bytearray(WHOLE)
    changed[HALF] ^= 1
    (tmp_path / JANUARY).write_bytes(changed)
    tlc.asked.clear()

    code, _, err = bring(last="2022-02")

    assert code == 1
    assert err.splitlines()[0].endswith("Use --replace to download it again.")
    assert (tmp_path / JANUARY).read_bytes() == changed
    assert [asked.name for asked in tlc.asked] == [FEBRUARY]

    assert bring("--replace")[0] == 0
    assert (tmp_path / JANUARY).read_bytes() == WHOLE


def test_a_missing_month_is_reported_and_the_others_are_downloaded(
    bring: Run, tlc: Archive, tmp_path: Path
) -> None:
    del tlc.files[JANUARY]

    code, out, err = bring(last="2022-02")

    assert code == 1
    assert err.splitlines()[0] == f"There is no {JANUARY} at 127.0.0.1 (403)."
    assert json.loads(out)["files"] == {JANUARY: "failed", FEBRUARY: "downloaded"}
    assert dataset.months(tmp_path) == ["2022-02"]


def test_a_broken_connection_is_resumed(bring: Run, tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF)]

    code, _, err = bring()

    again = tlc.asked[1]
    assert code == 0
    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert again.headers["Range"] == f"bytes={HALF}-"
    assert re.fullmatch('"[0-9a-f]{32}"', again.headers["If-Range"])
    assert (again.status, again.sent) == (206, len(WHOLE) - HALF)
    assert f"broke off after {HALF:,} bytes; retrying in 0 s" in err


def test_the_next_run_resumes_a_download(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF)]
    with pytest.raises(TransferError, match=r"bytes; run the same command again to resume\.$"):
        attempt(tlc, tmp_path, Retry(total=0))

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert [asked.status for asked in tlc.asked] == [200, 206]


def test_a_server_without_ranges_sends_the_whole_file_again(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF), Trouble(ignores_range=True)]

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert [asked.status for asked in tlc.asked] == [200, 200]


def test_parts_of_two_versions_of_a_file_are_not_mixed(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF)]
    with pytest.raises(TransferError):
        attempt(tlc, tmp_path, Retry(total=0))
    tlc.files[JANUARY] = changed = a_month(1001)

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == changed


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_a_file_without_a_strong_etag_is_downloaded_again(
    tlc: Archive, tmp_path: Path, etag: str
) -> None:
    tlc.troubles = [Trouble(dies_after=HALF, headers={"ETag": etag})]

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert "Range" not in tlc.asked[1].headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": f"bytes 5-{len(WHOLE) - 1}/{len(WHOLE)}"},
        {"Content-Range": ""},
        {"ETag": '"another"'},
    ],
)
def test_a_range_that_was_not_requested_is_not_used(
    tlc: Archive, tmp_path: Path, headers: dict[str, str]
) -> None:
    tlc.troubles = [Trouble(dies_after=HALF), Trouble(headers=headers)]

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert [asked.status for asked in tlc.asked] == [200, 206, 200]


def test_a_response_that_ends_too_early_is_resumed(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF), Trouble(headers={"Content-Length": "5"})]

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert tlc.asked[2].headers["Range"] == f"bytes={HALF + 5}-"


def test_a_range_that_the_server_refuses_starts_the_download_again(
    tlc: Archive, tmp_path: Path
) -> None:
    tlc.troubles = [Trouble(dies_after=HALF), Trouble(status=416)]

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert "Range" not in tlc.asked[2].headers


def test_a_body_shorter_than_its_content_length_is_not_used(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(headers={"Content-Length": str(len(WHOLE) + 1)})] * 9

    with pytest.raises(TransferError, match=rf"broke off after {len(WHOLE):,} bytes"):
        attempt(tlc, tmp_path, Retry(total=0))
    with pytest.raises(TransferError):
        attempt(tlc, tmp_path)

    assert not (tmp_path / JANUARY).exists()


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(headers={"Content-Length": str(HALF)}),  # the file is longer
        Trouble(headers={"Content-Length": ""}, dies_after=HALF),  # the length is unknown
        Trouble(headers={"Content-Length": ""}, dies_after=0),
    ],
)
def test_a_truncated_file_is_not_kept(
    bring: Run, tlc: Archive, tmp_path: Path, trouble: Trouble
) -> None:
    tlc.troubles = [trouble]

    code, _, err = bring(last="2022-02")

    assert code == 1
    assert err.splitlines()[0] == f"{JANUARY} as downloaded is not a Parquet file; it was deleted."
    assert dataset.months(tmp_path) == ["2022-02"]
    assert not download_records.part_path(tmp_path / JANUARY).exists()


@pytest.mark.parametrize("page", [b"<html>Sign in</html>", b"", b"PAR1PAR1", b"PAR1" * 9])
def test_a_file_that_is_not_parquet_is_deleted(
    bring: Run, tlc: Archive, tmp_path: Path, page: bytes
) -> None:
    bring()
    tlc.files[JANUARY] = page

    code, _, err = bring()

    assert code == 1
    assert "is not a Parquet file" in err
    assert (tmp_path / JANUARY).read_bytes() == WHOLE


def test_retries_wait_as_long_as_retry_after_asks(bring: Run, tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(status=503, headers={"Retry-After": "1"})]
    begun = time.monotonic()

    code, _, err = bring()

    assert code == 0
    assert time.monotonic() - begun >= 1
    assert "the server answered 503; retrying in 1 s" in err


def test_a_very_long_retry_after_ends_the_command(bring: Run, tlc: Archive) -> None:
    tlc.troubles = [Trouble(status=429, headers={"Retry-After": "7200"})]

    code, _, err = bring()

    assert code == 2
    assert err.splitlines() == [
        f"{JANUARY} at 127.0.0.1: the server answered 429; "
        "the server asks for a pause of 7,200 seconds."
    ]
    assert len(tlc.asked) == 1


def test_a_malformed_retry_after_is_ignored(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(status=503, headers={"Retry-After": "soon"})]

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE


def test_retries_are_limited(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(status=500)] * 9

    with pytest.raises(TransferError, match="the server answered 500; run the same command again"):
        attempt(tlc, tmp_path)

    assert len(tlc.asked) == 6


def test_a_server_that_does_not_answer_is_retried() -> None:
    said: list[str] = []
    asked = Server(requests.Session(), said.append, AT_ONCE.new(backoff_factor=0.01))

    with pytest.raises(TransferError, match=r"No response from 127\.0\.0\.1"), asked.session:
        http.fetch(asked, "http://127.0.0.1:9/x", Path("x"), lambda *_: None, unless=None)

    assert len(said) == 5


def test_a_client_error_is_not_retried(bring: Run, tlc: Archive) -> None:
    tlc.troubles = [Trouble(status=400)]

    code, _, err = bring(last="2022-02")

    assert code == 2
    assert err.splitlines() == [f"{JANUARY} at 127.0.0.1: the server answered 400."]
    assert len(tlc.asked) == 1


def test_a_full_disk_is_reported(bring: Run, tmp_path: Path) -> None:
    (tmp_path / download_records.FOLDER).mkdir()
    download_records.part_path(tmp_path / JANUARY).symlink_to("/dev/full")

    code, _, err = bring()

    assert code == 2
    assert err.splitlines() == [f"{tmp_path / JANUARY} cannot be written: No space left on device."]
    assert dataset.months(tmp_path) == []


def test_a_directory_that_cannot_be_created_is_reported(bring: Run, tmp_path: Path) -> None:
    (tmp_path / download_records.FOLDER).touch()

    code, _, err = bring()

    assert (code, err) == (2, f"{tmp_path / download_records.FOLDER}: File exists.\n")


def test_a_killed_download_can_be_resumed(bring: Run, tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF, hangs=True)]
    with process(tlc, tmp_path) as killed:
        assert tlc.hanging.wait(30)
        wait_for(lambda: size(download_records.part_path(tmp_path / JANUARY)))
        killed.send_signal(signal.SIGKILL)
    some = size(download_records.part_path(tmp_path / JANUARY))

    code, _, _ = bring()

    assert code == 0
    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert tlc.asked[1].headers["Range"] == f"bytes={some}-"


def test_an_interrupted_download_says_how_to_resume(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF, hangs=True)]
    with process(tlc, tmp_path) as stopped:
        assert tlc.hanging.wait(30)
        stopped.send_signal(signal.SIGINT)
        _, err = stopped.communicate(timeout=30)

    assert (stopped.returncode, err) == (
        130,
        "Interrupted; run the same command again to resume.\n",
    )


def test_two_downloads_to_one_directory_are_refused(
    bring: Run, tlc: Archive, tmp_path: Path
) -> None:
    tlc.troubles = [Trouble(dies_after=HALF, hangs=True)]
    with process(tlc, tmp_path) as first:
        assert tlc.hanging.wait(30)
        code, _, err = bring()
        first.kill()

    assert (code, err) == (2, f"Another download to {tmp_path} is running.\n")


def test_a_download_that_was_killed_before_the_last_step_is_completed(
    bring: Run, tlc: Archive, tmp_path: Path
) -> None:
    bring()
    (tmp_path / JANUARY).rename(download_records.part_path(tmp_path / JANUARY))
    (tmp_path / JANUARY).write_bytes(b"the month before it was published anew")

    code, out, _ = bring()

    assert code == 0
    assert json.loads(out)["files"] == {JANUARY: "unchanged"}
    assert (tmp_path / JANUARY).read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "2021-12"), "2022-01 is after 2021-12"),
        (("--to", "2022-13"), "a month must be in the form YYYY-MM"),
    ],
)
def test_malformed_months_are_refused(
    bring: Run, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = bring(*arguments)

    assert (code, err.splitlines()) == (2, [said])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["s3://bucket/prefix", "http://a b", "https://", "http://a:x"])
def test_a_malformed_address_is_refused(
    address: str, bring: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        bring("--source", address)

    assert "an address that begins with https:// or http://" in capsys.readouterr().err


troubles = st.builds(
    Trouble,
    status=st.sampled_from([0, 0, 0, 200, 206, 304, 416, 429, 500]),
    headers=st.dictionaries(
        st.sampled_from(["ETag", "Content-Length", "Content-Range"]),
        st.sampled_from(["", '"a"', "5", str(len(WHOLE) + 5), f"bytes 5-9/{len(WHOLE)}"]),
        max_size=2,
    ),
    dies_after=st.none() | st.integers(0, len(WHOLE)),
    ignores_range=st.booleans(),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(troubles, max_size=4), min_size=1, max_size=3))
def test_whatever_fails_a_month_is_either_complete_or_absent(
    runs: list[list[Trouble]],
) -> None:
    with archive(dict(CONTENT)) as tlc, TemporaryDirectory() as directory:
        file = Path(directory) / JANUARY
        for tlc.troubles in runs:
            try:
                attempt(tlc, Path(directory), AT_ONCE.new(total=2))
            except (DownloadError, TransferError, NotFoundError, download.MonthError):
                assert not file.exists() or file.read_bytes() == WHOLE
            else:
                assert file.read_bytes() == WHOLE


def test_months_can_be_given_as_a_range() -> None:
    assert expand_months(["2022-03..2022-05", "2022-01", "2022-04"]) == (
        *("2022-01", "2022-03", "2022-04", "2022-05"),
    )
    with pytest.raises(SettingsError, match="must be in the form YYYY-MM"):
        expand_months(["2022-01.."])


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def wait_for(true: Callable[[], Any]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)
