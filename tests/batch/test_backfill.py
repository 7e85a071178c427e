"""A backfill scores each month or reports it as missing, and shows months in a table and a plot."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from model_service.batch import report
from model_service.batch.backfill import MonthResult
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


def test_backfill_scores_months_with_files_and_names_the_others(
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
    assert again.err.count("scored by an earlier job") == 2
    assert files(tmp_path / "out") == before  # the plot too


@pytest.mark.parametrize(
    ("first", "last", "pattern", "message"),
    [
        ("2021-13", "2021-12", "{month}", "a month must be in the form YYYY-MM"),
        ("2021-2", "2021-12", "{month}", "a month must be in the form YYYY-MM"),
        ("2021-03", "2021-01", "{month}", "2021-03 is after 2021-01"),
        ("2021-01", "2021-03", "month", "must contain {month}"),
    ],
)
def test_malformed_months_are_refused(
    command: Command, golden_location: str, first: str, last: str, pattern: str, message: str
) -> None:
    arguments = ("--from", first, "--to", last, "--input", pattern, "--output", "out")

    done = command("backfill", *arguments, MODEL_LOCATION=golden_location)

    assert (done.code, message in done.err) == (2, True)


def test_file_that_matches_two_months_is_refused(
    command: Command, tmp_path: Path, golden_location: str
) -> None:
    write(tmp_path / "from-2021-01-to-2021-02.parquet", *rows(3, 1))
    arguments = ["backfill", "--from", "2021-01", "--to", "2021-02", "--output", "o"]
    arguments += ["--input", str(tmp_path / "*{month}*.parquet")]

    done = command(*arguments, MODEL_LOCATION=golden_location)

    assert done.code == 2
    assert "a file matches both 2021-01 and 2021-02" in done.err


def month(name: str, mae: float | None) -> MonthResult:
    errors = {} if mae is None else {"ride_duration": Errors(10, mae, mae, 0.0, 0.9)}
    return MonthResult(name, 10, 10, 0, errors, failed=mae is None)


def test_plot_is_an_svg_with_every_month_and_always_the_same() -> None:
    found = [month("2021-01", 3.0), month("2021-02", None), month("2021-03", 4.0)]

    plot = report.plot_errors(found, ["ride_duration"])

    text = "".join(ET.fromstring(plot).itertext())
    assert [name for name in ("2021-01", "2021-02", "2021-03") if name in text] == [
        "2021-01",
        "2021-02",
        "2021-03",
    ]
    assert plot == report.plot_errors(found, ["ride_duration"])
    assert plot != report.plot_errors(found[:1], ["ride_duration"])


def test_table_shows_the_share_within_the_interval(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report.print_months([month("2021-01", 3.0)], ["ride_duration"])

    assert capsys.readouterr().out.split()[-6:] == ["10", "10", "0", "3.00", "+0.00", "90%"]


def test_table_is_complete_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    report.print_months(
        [month("2021-01", 3.0), month("2021-02", None)], ["ride_duration", "ride_cost"]
    )

    shown = capsys.readouterr().out
    assert "…" not in shown
    assert [line.split()[0] for line in shown.splitlines()[-2:]] == ["2021-01", "2021-02"]
    assert shown.splitlines()[-1].split()[1] == "failed"
