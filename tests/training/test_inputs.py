"""Months of all kinds and formats, and broken months, from the files to the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.training_factories import MONTH, QUICK, ride, write_yellow_month
from training import __main__ as command
from training.data import dataset, simulation, tlc
from training.data.dataset import DataError, Target

ROOT = Path(__file__).parents[2]
GENERATIONS = ["2022-12", "2023-01", "2023-02", "2024-12", "2025-01"]
PICKUP, DROPOFF = "lpep_pickup_datetime", "lpep_dropoff_datetime"
ZONES = ["PULocationID", "DOLocationID"]

Change = Callable[[pl.DataFrame], pl.DataFrame]
Break = Callable[[Path], object]


@pytest.fixture(scope="module")
def generations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a month in each of the TLC's formats, for green and yellow taxis."""
    directory = tmp_path_factory.mktemp("months")
    simulation.write(directory, GENERATIONS, 120, seed=0)
    for month in GENERATIONS:
        write_yellow_month(directory, month)
    return directory


@pytest.mark.parametrize("month", GENERATIONS)
@pytest.mark.parametrize("target", ["duration", "cost"])
def test_yellow_months_of_all_generations_are_read_like_green_ones(
    generations: Path, month: str, target: Target
) -> None:
    green, yellow = (
        dataset.read_with_counts(generations, month, target, kind) for kind in tlc.TAXIS
    )

    assert repr(yellow) == repr(green)
    assert np.array_equal(yellow[0].target, green[0].target)
    assert len(green[0]) > 100


def test_columns_change_in_the_same_months_as_the_tlcs(generations: Path) -> None:
    columns = {
        month: pl.read_parquet_schema(generations / f"yellow_tripdata_{month}.parquet")
        for month in GENERATIONS
    }

    assert [columns[month]["PULocationID"] for month in GENERATIONS] == [
        *([pl.Int64()] * 2),
        *([pl.Int32()] * 3),
    ]
    assert ["airport_fee" in columns[month] for month in GENERATIONS] == [
        *([True] * 2),
        *([False] * 3),
    ]
    assert [month for month in GENERATIONS if "cbd_congestion_fee" in columns[month]] == ["2025-01"]


def test_each_kind_has_its_own_months(tmp_path: Path) -> None:
    simulation.write(tmp_path, ["2023-01", "2023-02"], 10, seed=0)
    write_yellow_month(tmp_path, "2023-02")

    assert dataset.months(tmp_path) == ["2023-01", "2023-02"]
    assert dataset.months(tmp_path, "yellow") == ["2023-02"]
    with pytest.raises(DataError, match=r"no month 2023-01 in .*: it has 2023-02\.$"):
        dataset.read(tmp_path, "2023-01", "duration", "yellow")


def test_a_model_is_trained_on_yellow_months_of_two_generations(
    generations: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    new_database: Callable[[Path], str],
) -> None:
    new_database(tmp_path / "new" / "mlflow.db")
    (tmp_path / "quick.json").write_text(json.dumps({"parameters": QUICK}))

    code, out, _ = train(
        generations, tmp_path, capsys, "--kind", "yellow", "--no-card",
        "--parameters", str(tmp_path / "quick.json"), months=GENERATIONS[1:4],
    )  # fmt: skip

    run = logged(tmp_path, json.loads(out)["run_id"])
    assert code == 0
    assert run.data.params["kind"] == "yellow"
    assert run.data.params["train"] == "2023-01,2023-02"
    assert {one.dataset.name for one in run.inputs.dataset_inputs} == {
        f"yellow_tripdata_{month}.parquet" for month in GENERATIONS[1:4]
    }


def test_yellow_rides_cannot_be_simulated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert command.main(["train", "--kind", "yellow"]) == 2
    assert capsys.readouterr().err == (
        "Only green rides can be simulated: name the --data of yellow ones.\n"
    )
    assert list(tmp_path.iterdir()) == []


def rewritten(change: Change) -> Break:
    return lambda path: change(pl.read_parquet(path)).write_parquet(path)


def lasting(times: float) -> Break:
    """Multiply the durations by *times*, as if seconds were minutes or minutes were seconds."""
    longer = (pl.col(DROPOFF) - pl.col(PICKUP)).dt.total_microseconds() * times
    return rewritten(
        lambda table: table.with_columns(
            (pl.col(PICKUP) + pl.duration(microseconds=longer.cast(pl.Int64))).alias(DROPOFF)
        )
    )


def cut_off(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


BROKEN: dict[str, tuple[Break, str]] = {
    "a renamed column": (
        rewritten(lambda table: table.rename({"trip_distance": "distance"})),
        "{file} is not in the TLC's format: there is no column trip_distance.",
    ),
    "a yellow month under a green name": (
        lambda path: write_yellow_month(path.parent, path.stem[-7:]).replace(path),
        f"{{file}} is not in the TLC's format: there is no column {PICKUP}; "
        f"there is no column {DROPOFF}.",
    ),
    "a duration instead of times": (
        rewritten(lambda table: table.drop(DROPOFF).with_columns(duration=900)),
        f"{{file}} is not in the TLC's format: there is no column {DROPOFF}.",
    ),
    "times in seconds since 1970": (
        rewritten(lambda table: table.with_columns(pl.col(PICKUP, DROPOFF).dt.epoch("s"))),
        f"{{file}} is not in the TLC's format: {PICKUP} is Int64, not a time without a time zone; "
        f"{DROPOFF} is Int64, not a time without a time zone.",
    ),
    "times with a zone": (
        rewritten(lambda table: table.with_columns(pl.col(PICKUP).dt.replace_time_zone("UTC"))),
        f"{{file}} is not in the TLC's format: {PICKUP} is Datetime(time_unit='us', "
        "time_zone='UTC'), not a time without a time zone.",
    ),
    "durations that were minutes": (lasting(60), "{file} is not in the TLC's format: only "),
    "durations in seconds": (lasting(1 / 60), "{file} is not in the TLC's format: only "),
    "zones as text": (
        rewritten(lambda table: table.with_columns(pl.col(ZONES).cast(pl.String))),
        "{file} is not in the TLC's format: PULocationID is text, not an integer; "
        "DOLocationID is text, not an integer.",
    ),
    "distances as text": (
        rewritten(lambda table: table.with_columns(pl.col("trip_distance").cast(pl.String))),
        "{file} is not in the TLC's format: trip_distance is text, not a number.",
    ),
    "no zones": (
        rewritten(lambda table: table.with_columns(pl.lit(None, pl.Int64).alias("PULocationID"))),
        "{file} has no valid ride of 1 to 60 minutes: 0 of 300 rows (",
    ),
    "no rows": (
        rewritten(pl.DataFrame.clear),
        "{file} has no valid ride of 1 to 60 minutes: 0 of 0 rows.",
    ),
    "an empty file": (lambda path: path.write_bytes(b""), "{path} cannot be read as Parquet."),
    "text": (lambda path: path.write_text("VendorID,\n"), "{path} cannot be read as Parquet."),
    "half a file": (cut_off, "{path} cannot be read as Parquet."),
    "a directory": (a_directory, "{path} cannot be read as Parquet."),
    "nothing": (Path.unlink, "There is no month {month} in {directory}: it has {other}."),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(("month", "other"), [("2021-01", "2021-02"), ("2021-02", "2021-01")])
def test_a_broken_month_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str, month: str, other: str
) -> None:
    directory = tmp_path / "rides"
    path = a_broken_month(directory, month, broken)
    before = sorted(tmp_path.rglob("*"))

    code, out, err = train(directory, tmp_path, capsys, months=["2021-01", "2021-02"])

    *steps, sentence = err.splitlines()
    place = {"file": path.name, "path": path, "directory": directory}
    assert (code, out) == (2, "")
    assert sentence.startswith(BROKEN[broken][1].format(**place, month=month, other=other))
    assert sentence.endswith(".")
    assert all(step.startswith("reading 2021-") for step in steps)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_broken_month_leaves_no_traceback(tmp_path: Path) -> None:
    directory = tmp_path / "rides"
    a_broken_month(directory, "2021-02", "durations that were minutes")

    done = subprocess.run(
        [sys.executable, "-m", "training", *arguments(directory, tmp_path, ["2021-01", "2021-02"])],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[:-1] == ["reading 2021-01", "reading 2021-02"]
    assert "(over 60 minutes: " in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [directory]


@settings(max_examples=50, deadline=None)
@given(
    unit=st.sampled_from([pl.Datetime("ms"), pl.Datetime("us"), pl.Datetime("ns")]),
    times=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=20),
)
def test_only_times_outside_the_calendar_are_missing(
    tmp_path_factory: pytest.TempPathFactory, unit: pl.Datetime, times: list[int]
) -> None:
    directory = tmp_path_factory.mktemp("month")
    good = pl.DataFrame([ride()] * len(times)).cast({PICKUP: unit})
    damaged = good.with_columns(pl.Series(times, dtype=pl.Int64).cast(unit).alias(PICKUP))
    table = pl.concat([damaged, good, good])
    table.write_parquet(directory / f"green_tripdata_{MONTH}.parquet")

    _, tally = dataset.read_with_counts(directory, MONTH, "duration")

    assert tally.read == len(times) * 3
    assert tally.used >= len(times) * 2


def a_broken_month(directory: Path, month: str, broken: str) -> Path:
    """Write a good month and a broken one to *directory*; return the path of the broken one."""
    simulation.write(directory, ["2021-01", "2021-02"], 300, seed=0)
    path = directory / f"green_tripdata_{month}.parquet"
    BROKEN[broken][0](path)
    return path


def arguments(directory: Path, place: Path, months: list[str]) -> list[str]:
    """Return the arguments of a training command that writes all its output to *place*."""
    return [
        *("train", "--data", str(directory), "--train", *months[:-1], "--test", months[-1]),
        *("--tracking-uri", f"sqlite:///{place / 'new' / 'mlflow.db'}"),
        *("--artifacts", str(place / "artifacts"), "--output", str(place / "model")),
        *("--json", str(place / "summary" / "summary.json")),
    ]


def train(
    directory: Path,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    *more: str,
    months: list[str] = GENERATIONS[:4],
) -> tuple[int, str, str]:
    """Run the command; return its exit code, output and errors."""
    code = command.main([*arguments(directory, place, months), *more])
    return code, *capsys.readouterr()


def logged(place: Path, run_id: str) -> Any:
    import mlflow

    return mlflow.MlflowClient(f"sqlite:///{place / 'new' / 'mlflow.db'}").get_run(run_id)
