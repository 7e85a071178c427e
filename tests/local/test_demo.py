"""The demo, run as a command."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from event_source_mapping.faults import KINDS
from local.demo.__main__ import _empty_directory, main

ROOT = Path(__file__).parents[2]


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.demo", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_demo_accounts_for_every_ride(tmp_path: Path) -> None:
    done = demo("--rides", "300", "--output", str(tmp_path))

    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary.keys() == {
        "rides_sent", "bad_records_sent", "rides_predicted", "rejected", "lost", "duplicates",
        "rides_per_second", "latency_ms", "rmse_minutes", "rmse_minutes_streamed",
        "model_flavour", "source",
    }  # fmt: skip
    assert summary["rides_predicted"] == summary["rides_sent"] == 300
    assert summary["rejected"] == summary["bad_records_sent"] > 0
    assert (summary["lost"], summary["model_flavour"]) == (0, "onnx")
    assert summary["source"] == "simulated"
    assert "<svg" in (tmp_path / "report.html").read_text()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert sum(line["published"][0] for line in lines) >= 300


@pytest.mark.slow
def test_a_demo_with_faults_loses_nothing(tmp_path: Path) -> None:
    done = demo("--rides", "3000", "--faults", "--output", str(tmp_path))

    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["failures"].keys() == KINDS.keys()
    assert (summary["lost"], summary["rides_predicted"]) == (0, 3000)
    assert summary["rejected"] == summary["bad_records_sent"]
    assert summary["duplicates"] > 0


def test_the_command_exits_with_the_code_of_its_main_function(tmp_path: Path) -> None:
    done = demo("--data", "no such directory", "--output", str(tmp_path / "out"))

    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("--rides", "0"), ("--rides", "many"), ("--unknown",)])
def test_wrong_arguments_print_one_line(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main([*arguments, "--output", str(tmp_path / "out")])

    assert exit.value.code == 2
    assert capsys.readouterr().err.strip().count("\n") == 0


def fault(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""  # nothing was started
    return captured.err


def test_a_file_is_refused_as_a_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    sentence = f"demo: {file} is a file, not a directory.\n"

    assert fault(capsys, "--data", str(file)) == sentence
    assert fault(capsys, "--output", str(file)) == sentence
    assert fault(capsys, "--output", str(file / "below")) == sentence


@pytest.mark.parametrize("bad", ["2021-01", "2021-02"])
def test_an_unreadable_month_is_reported_before_training(
    bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for month in ("2021-01", "2021-02"):
        month_of_one_ride(tmp_path, month)
    (tmp_path / f"green_tripdata_{bad}.parquet").write_bytes(b"not Parquet")

    assert f"{bad}.parquet cannot be read" in fault(
        capsys, "--data", str(tmp_path), "--output", str(tmp_path / "out")
    )


def test_a_month_with_too_few_rides_is_reported_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for month in ("2021-01", "2021-02"):
        month_of_one_ride(tmp_path, month)

    assert "the month has only 1 valid ride." in fault(capsys, "--data", str(tmp_path))


def month_of_one_ride(directory: Path, month: str) -> None:
    year, number = map(int, month.split("-"))
    table = {
        "lpep_pickup_datetime": [datetime(year, number, 2, 8, 0)],
        "lpep_dropoff_datetime": [datetime(year, number, 2, 8, 10)],
        "PULocationID": [130],
        "DOLocationID": [205],
        "trip_distance": [3.66],
    }
    pl.DataFrame(table).write_parquet(directory / f"green_tripdata_{month}.parquet")


def test_files_of_an_earlier_run_are_deleted_from_the_output_directory(tmp_path: Path) -> None:
    for name in ("summary.json", "report.html", "metrics.jsonl", "notes.txt"):
        (tmp_path / name).write_text("of an earlier run")

    _empty_directory(tmp_path)

    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == {"metrics.jsonl": "", "notes.txt": "of an earlier run"}
