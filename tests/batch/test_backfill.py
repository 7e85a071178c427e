"""Months by their names: each is scored, or said to be missing; a table and a picture show them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from model_service.batch import backfill
from model_service.batch.backfill import Month
from model_service.batch.evaluation import Errors

from ..support.batch_factories import files, scored, write
from .test_cli import Command, command
from .test_job import rows

__all__ = ["command"]


@pytest.fixture
def months(tmp_path: Path) -> str:
    """January and March of 2021; February is missing."""
    for number in (1, 3):
        write(tmp_path / f"green_tripdata_2021-{number:02d}.parquet", *rows(30, number))
    return str(tmp_path / "green_tripdata_{month}.parquet")


def test_a_backfill_scores_what_is_there_and_names_what_is_not(
    command: Command, tmp_path: Path, months: str, golden_location: str
) -> None:
    arguments = ["backfill", "--from", "2021-01", "--to", "2021-03", "--input", months]
    arguments += ["--output", str(tmp_path / "out")]

    done = command(*arguments, MODEL_LOCATION=golden_location)

    assert done.code == 1
    assert f"there is no file {months.replace('{month}', '2021-02')}\n" in done.err
    assert len(scored(tmp_path / "out")) == 60
    table = [line.split() for line in done.out.splitlines() if line.strip().startswith("2021-")]
    assert [row[0] for row in table] == ["2021-01", "2021-02", "2021-03"]
    assert table[0][1:4] == ["30", "30", "0"]
    assert table[1][1] == "failed"
    before = files(tmp_path / "out")

    again = command(*arguments, MODEL_LOCATION=golden_location)

    assert again.out == done.out
    assert again.err.count("done before") == 2
    assert files(tmp_path / "out") == before  # the picture, too


@pytest.mark.parametrize(
    ("first", "last", "pattern", "words"),
    [
        ("2021-13", "2021-12", "{month}", "a month must be in the form YYYY-MM"),
        ("2021-2", "2021-12", "{month}", "a month must be in the form YYYY-MM"),
        ("2021-03", "2021-01", "{month}", "2021-03 is after 2021-01"),
        ("2021-01", "2021-03", "month", "has no {month} in it"),
    ],
)
def test_months_that_are_none_are_refused(
    command: Command, golden_location: str, first: str, last: str, pattern: str, words: str
) -> None:
    arguments = ("--from", first, "--to", last, "--input", pattern, "--output", "out")

    done = command("backfill", *arguments, MODEL_LOCATION=golden_location)

    assert (done.code, words in done.err) == (2, True)


def test_a_file_of_two_months_is_refused(
    command: Command, tmp_path: Path, golden_location: str
) -> None:
    write(tmp_path / "from-2021-01-to-2021-02.parquet", *rows(3, 1))
    arguments = ["backfill", "--from", "2021-01", "--to", "2021-02", "--output", "o"]
    arguments += ["--input", str(tmp_path / "*{month}*.parquet")]

    done = command(*arguments, MODEL_LOCATION=golden_location)

    assert done.code == 2
    assert "a file is named for 2021-01 and for 2021-02" in done.err


def month(name: str, mae: float | None) -> Month:
    errors = {} if mae is None else {"ride_duration": Errors(10, mae, mae, 0.0, 0.9)}
    return Month(name, 10, 10, 0, errors, failed=mae is None)


def test_the_picture_is_an_svg_with_every_month_and_the_same_each_time() -> None:
    found = [month("2021-01", 3.0), month("2021-02", None), month("2021-03", 4.0)]

    picture = backfill.picture(found, ["ride_duration"])

    text = "".join(ET.fromstring(picture).itertext())
    assert [name for name in ("2021-01", "2021-02", "2021-03") if name in text] == [
        "2021-01",
        "2021-02",
        "2021-03",
    ]
    assert picture == backfill.picture(found, ["ride_duration"])
    assert picture != backfill.picture(found[:1], ["ride_duration"])


def test_the_table_shows_the_share_within_the_interval(
    capsys: pytest.CaptureFixture[str],
) -> None:
    backfill.show([month("2021-01", 3.0)], ["ride_duration"])

    assert capsys.readouterr().out.split()[-6:] == ["10", "10", "0", "3.00", "+0.00", "90%"]


def test_the_table_has_all_its_words_however_narrow_a_terminal_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    backfill.show([month("2021-01", 3.0), month("2021-02", None)], ["ride_duration", "ride_cost"])

    shown = capsys.readouterr().out
    assert "…" not in shown
    assert [line.split()[0] for line in shown.splitlines()[-2:]] == ["2021-01", "2021-02"]
    assert shown.splitlines()[-1].split()[1] == "failed"
