"""Downloading months, from a server that stands in for the TLC's on loopback."""

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

from tests.support.archive_stand_in import Archive, Trouble, archive
from tests.support.training_factories import ride
from training import __main__ as command
from training import span
from training.data import dataset, download, http, receipts
from training.data.dataset import DataError
from training.data.download import DownloadError
from training.data.http import NotThereError, Server, TransferError

ROOT = Path(__file__).parents[2]
JANUARY, FEBRUARY = "green_tripdata_2022-01.parquet", "green_tripdata_2022-02.parquet"
AT_ONCE = http.PATIENCE.new(backoff_factor=0, backoff_jitter=0)


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
    """The command line: exit code, output, errors."""

    def bring(*arguments: str, last: str = "2022-01") -> tuple[int, str, str]:
        months = ("--from", "2022-01", "--to", last)
        place = ("--data", str(tmp_path), "--source", tlc.url)
        code = command.main(["download", *months, *place, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return bring


def server(patience: Retry = AT_ONCE) -> Server:
    return Server(requests.Session(), lambda text: None, patience)


def attempt(tlc: Archive, directory: Path, patience: Retry = AT_ONCE) -> None:
    """January, without the waiting."""
    (directory / receipts.SHELF).mkdir(exist_ok=True)
    file = directory / JANUARY
    asked = server(patience)
    with asked.session:
        download.month(asked, f"{tlc.url}/{JANUARY}", file, download.found(file), lambda *_: None)


def process(tlc: Archive, directory: Path) -> subprocess.Popen[str]:
    """The same command line, in a process of its own that can be stopped."""
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


def test_months_are_there_as_they_were_published(bring: Run, tmp_path: Path) -> None:
    code, out, err = bring(last="2022-02")

    assert code == 0
    assert {name: (tmp_path / name).read_bytes() for name in CONTENT} == CONTENT
    assert dataset.months(tmp_path) == ["2022-01", "2022-02"]
    assert json.loads(out)["files"] == dict.fromkeys(CONTENT, "downloaded")
    assert f"{JANUARY}: downloaded, {len(WHOLE):,} bytes" in err.splitlines()


def test_nothing_else_is_left(bring: Run, tmp_path: Path) -> None:
    bring()

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [
        JANUARY,
        f"{JANUARY}.json",
    ]


def test_the_server_is_told_who_asks(bring: Run, tlc: Archive) -> None:
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


def test_what_is_there_is_not_sent_again(bring: Run, tlc: Archive) -> None:
    bring()

    code, out, _ = bring()

    assert code == 0
    assert json.loads(out)["files"] == {JANUARY: "unchanged"}
    assert [(asked.status, asked.sent) for asked in tlc.asked] == [(200, len(WHOLE)), (304, 0)]


def test_without_an_etag_the_time_says_whether_it_is_sent_again(bring: Run, tlc: Archive) -> None:
    tlc.etag = ""

    bring()
    code, _, _ = bring()

    assert code == 0
    assert [asked.status for asked in tlc.asked] == [200, 304]


def test_a_month_that_was_published_anew_takes_the_place_of_the_old(
    bring: Run, tlc: Archive, tmp_path: Path
) -> None:
    bring()
    tlc.files[JANUARY] = CONTENT[FEBRUARY]

    code, out, _ = bring()

    assert code == 0
    assert json.loads(out)["files"] == {JANUARY: "downloaded"}
    assert (tmp_path / JANUARY).read_bytes() == CONTENT[FEBRUARY]


def test_a_month_from_another_source_is_not_taken_for_this_ones(
    bring: Run, tlc: Archive, tmp_path: Path
) -> None:
    with archive({JANUARY: CONTENT[FEBRUARY]}) as other:
        tlc.etag = other.etag = '"1"'
        bring()
        bring("--source", other.url)

    assert (tmp_path / JANUARY).read_bytes() == CONTENT[FEBRUARY]


def test_a_part_from_another_source_is_not_gone_on_with(tlc: Archive, tmp_path: Path) -> None:
    with archive({JANUARY: WHOLE}) as other:
        tlc.etag = other.etag = '"1"'
        tlc.files[JANUARY] = bytes(len(WHOLE))
        tlc.troubles = [Trouble(dies_after=HALF)]
        with pytest.raises(TransferError):
            attempt(tlc, tmp_path, Retry(total=0))

        attempt(other, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE


@pytest.mark.parametrize("before", [[], ["download it first"]])
def test_a_file_that_the_command_did_not_leave_so_stays_as_it_is(
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
    assert err.splitlines()[0].endswith("stays as it is: --replace downloads it anew.")
    assert (tmp_path / JANUARY).read_bytes() == changed
    assert [asked.name for asked in tlc.asked] == [FEBRUARY]

    assert bring("--replace")[0] == 0
    assert (tmp_path / JANUARY).read_bytes() == WHOLE


def test_a_month_that_is_not_there_is_said_and_the_others_are_had(
    bring: Run, tlc: Archive, tmp_path: Path
) -> None:
    del tlc.files[JANUARY]

    code, out, err = bring(last="2022-02")

    assert code == 1
    assert err.splitlines()[0] == f"There is no {JANUARY} at 127.0.0.1 (403)."
    assert json.loads(out)["files"] == {JANUARY: "failed", FEBRUARY: "downloaded"}
    assert dataset.months(tmp_path) == ["2022-02"]


def test_a_server_that_dies_is_asked_for_the_rest(bring: Run, tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF)]

    code, _, err = bring()

    again = tlc.asked[1]
    assert code == 0
    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert again.headers["Range"] == f"bytes={HALF}-"
    assert re.fullmatch('"[0-9a-f]{32}"', again.headers["If-Range"])
    assert (again.status, again.sent) == (206, len(WHOLE) - HALF)
    assert f"breaks off after {HALF:,} bytes; trying again in 0 s" in err


def test_the_rest_is_asked_for_by_the_next_run(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF)]
    with pytest.raises(TransferError, match=r"bytes; the same command goes on from here\.$"):
        attempt(tlc, tmp_path, Retry(total=0))

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert [asked.status for asked in tlc.asked] == [200, 206]


def test_a_server_that_ignores_ranges_sends_all_of_it(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF), Trouble(ignores_range=True)]

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert [asked.status for asked in tlc.asked] == [200, 200]


def test_a_file_that_changes_meanwhile_is_not_mixed_with_what_it_was(
    tlc: Archive, tmp_path: Path
) -> None:
    tlc.troubles = [Trouble(dies_after=HALF)]
    with pytest.raises(TransferError):
        attempt(tlc, tmp_path, Retry(total=0))
    tlc.files[JANUARY] = changed = a_month(1001)

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == changed


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_what_has_no_name_of_its_own_is_begun_anew(tlc: Archive, tmp_path: Path, etag: str) -> None:
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
def test_a_part_that_was_not_asked_for_is_not_taken(
    tlc: Archive, tmp_path: Path, headers: dict[str, str]
) -> None:
    tlc.troubles = [Trouble(dies_after=HALF), Trouble(headers=headers)]

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert [asked.status for asked in tlc.asked] == [200, 206, 200]


def test_a_part_that_is_shorter_than_it_says_is_gone_on_with(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF), Trouble(headers={"Content-Length": "5"})]

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert tlc.asked[2].headers["Range"] == f"bytes={HALF + 5}-"


def test_a_part_that_the_server_does_not_know_is_begun_anew(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF), Trouble(status=416)]

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert "Range" not in tlc.asked[2].headers


def test_a_body_that_is_shorter_than_was_said_is_not_taken(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(headers={"Content-Length": str(len(WHOLE) + 1)})] * 9

    with pytest.raises(TransferError, match=rf"breaks off after {len(WHOLE):,} bytes"):
        attempt(tlc, tmp_path, Retry(total=0))
    with pytest.raises(TransferError):
        attempt(tlc, tmp_path)

    assert not (tmp_path / JANUARY).exists()


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(headers={"Content-Length": str(HALF)}),  # the file is longer
        Trouble(headers={"Content-Length": ""}, dies_after=HALF),  # nobody knows how long
        Trouble(headers={"Content-Length": ""}, dies_after=0),
    ],
)
def test_a_truncated_file_is_not_kept(
    bring: Run, tlc: Archive, tmp_path: Path, trouble: Trouble
) -> None:
    tlc.troubles = [trouble]

    code, _, err = bring(last="2022-02")

    assert code == 1
    assert err.splitlines()[0] == f"What came as {JANUARY} is no Parquet file; it was not kept."
    assert dataset.months(tmp_path) == ["2022-02"]
    assert not receipts.part(tmp_path / JANUARY).exists()


@pytest.mark.parametrize("page", [b"<html>Sign in</html>", b"", b"PAR1PAR1", b"PAR1" * 9])
def test_what_is_no_parquet_is_not_kept(
    bring: Run, tlc: Archive, tmp_path: Path, page: bytes
) -> None:
    bring()
    tlc.files[JANUARY] = page

    code, _, err = bring()

    assert code == 1
    assert "is no Parquet file" in err
    assert (tmp_path / JANUARY).read_bytes() == WHOLE


def test_a_server_in_trouble_gets_the_time_that_it_asks_for(
    bring: Run, tlc: Archive, tmp_path: Path
) -> None:
    tlc.troubles = [Trouble(status=503, headers={"Retry-After": "1"})]
    begun = time.monotonic()

    code, _, err = bring()

    assert code == 0
    assert time.monotonic() - begun >= 1
    assert "is answered with 503; trying again in 1 s" in err


def test_a_server_that_asks_for_very_long_is_left_alone(bring: Run, tlc: Archive) -> None:
    tlc.troubles = [Trouble(status=429, headers={"Retry-After": "7200"})]

    code, _, err = bring()

    assert code == 2
    assert err.splitlines() == [
        f"{JANUARY} at 127.0.0.1 is answered with 429; it asks for 7,200 seconds of patience."
    ]
    assert len(tlc.asked) == 1


def test_a_wait_that_is_no_time_is_not_waited_for(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(status=503, headers={"Retry-After": "soon"})]

    attempt(tlc, tmp_path)

    assert (tmp_path / JANUARY).read_bytes() == WHOLE


def test_patience_ends(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(status=500)] * 9

    with pytest.raises(TransferError, match="is answered with 500; the same command goes on"):
        attempt(tlc, tmp_path)

    assert len(tlc.asked) == 6


def test_waits_get_longer() -> None:
    said: list[str] = []
    patience = AT_ONCE.new(backoff_factor=0.01)
    asked = Server(requests.Session(), said.append, patience)

    with pytest.raises(TransferError, match=r"No answer from 127\.0\.0\.1"), asked.session:
        http.bring(asked, "http://127.0.0.1:9/x", Path("x"), lambda *_: None, unless=None)

    assert len(said) == 5


def test_what_is_refused_is_not_asked_for_twice(bring: Run, tlc: Archive) -> None:
    tlc.troubles = [Trouble(status=400)]

    code, _, err = bring(last="2022-02")

    assert code == 2
    assert err.splitlines() == [f"{JANUARY} at 127.0.0.1 is answered with 400."]
    assert len(tlc.asked) == 1


def test_a_full_disk_is_said(bring: Run, tmp_path: Path) -> None:
    (tmp_path / receipts.SHELF).mkdir()
    receipts.part(tmp_path / JANUARY).symlink_to("/dev/full")

    code, _, err = bring()

    assert code == 2
    assert err.splitlines() == [f"{tmp_path / JANUARY} cannot be written: No space left on device."]
    assert dataset.months(tmp_path) == []


def test_a_directory_that_cannot_be_made_is_said(bring: Run, tmp_path: Path) -> None:
    (tmp_path / receipts.SHELF).touch()

    code, _, err = bring()

    assert (code, err) == (2, f"{tmp_path / receipts.SHELF}: File exists.\n")


def test_who_is_killed_leaves_what_the_next_goes_on_from(
    bring: Run, tlc: Archive, tmp_path: Path
) -> None:
    tlc.troubles = [Trouble(dies_after=HALF, hangs=True)]
    with process(tlc, tmp_path) as killed:
        assert tlc.hanging.wait(30)
        wait_for(lambda: size(receipts.part(tmp_path / JANUARY)))
        killed.send_signal(signal.SIGKILL)
    some = size(receipts.part(tmp_path / JANUARY))

    code, _, _ = bring()

    assert code == 0
    assert (tmp_path / JANUARY).read_bytes() == WHOLE
    assert tlc.asked[1].headers["Range"] == f"bytes={some}-"


def test_who_stops_it_is_told_how_to_go_on(tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF, hangs=True)]
    with process(tlc, tmp_path) as stopped:
        assert tlc.hanging.wait(30)
        stopped.send_signal(signal.SIGINT)
        _, err = stopped.communicate(timeout=30)

    assert (stopped.returncode, err) == (130, "Stopped; the same command goes on from here.\n")


def test_two_do_not_download_to_one_directory(bring: Run, tlc: Archive, tmp_path: Path) -> None:
    tlc.troubles = [Trouble(dies_after=HALF, hangs=True)]
    with process(tlc, tmp_path) as first:
        assert tlc.hanging.wait(30)
        code, _, err = bring()
        first.kill()

    assert (code, err) == (2, f"Another download to {tmp_path} is under way.\n")


def test_who_is_killed_before_the_last_step_is_not_taken_for_somebody_else(
    bring: Run, tlc: Archive, tmp_path: Path
) -> None:
    bring()
    (tmp_path / JANUARY).rename(receipts.part(tmp_path / JANUARY))
    (tmp_path / JANUARY).write_bytes(b"the month before it was published anew")

    code, out, _ = bring()

    assert code == 0
    assert json.loads(out)["files"] == {JANUARY: "unchanged"}
    assert (tmp_path / JANUARY).read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "2021-12"), "There is no month from 2022-01 to 2021-12."),
        (("--to", "2022-13"), "'2022-13' is no month: write YYYY-MM."),
    ],
)
def test_months_that_are_none_are_said(
    bring: Run, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = bring(*arguments)

    assert (code, err.splitlines()) == (2, [said])
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_none_is_said(bring: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bring("--source", "s3://bucket/prefix")

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
def test_whatever_the_troubles_a_month_is_as_published_or_not_there(
    runs: list[list[Trouble]],
) -> None:
    with archive(dict(CONTENT)) as tlc, TemporaryDirectory() as directory:
        file = Path(directory) / JANUARY
        for tlc.troubles in runs:
            try:
                attempt(tlc, Path(directory), AT_ONCE.new(total=2))
            except (DownloadError, TransferError, NotThereError, download.MonthError):
                assert not file.exists() or file.read_bytes() == WHOLE
            else:
                assert file.read_bytes() == WHOLE


def test_months_can_be_named_by_the_first_and_the_last() -> None:
    assert span.named(["2022-03..2022-05", "2022-01", "2022-04"]) == [
        *("2022-01", "2022-03", "2022-04", "2022-05")
    ]
    with pytest.raises(DataError, match="is no month"):
        span.named(["2022-01.."])


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def wait_for(true: Callable[[], Any]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)
