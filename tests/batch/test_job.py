"""A run leaves each input whole or not at all, and the same bytes however often it was begun."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pytest

from model_service.batch import report as reports
from model_service.batch.manifest import Done, Failed
from model_service.datasets import files as places
from model_service.datasets import writer
from model_service.datasets.files import Input
from model_service.errors import FileError, ModelError, OutputError

from ..support.batch_factories import ROW, TLC_ROW, files, models, rejected, run, scored, write


def rows(number: int, month: int = 3, **changes: Any) -> list[dict[str, Any]]:
    return [
        TLC_ROW
        | {
            "lpep_pickup_datetime": datetime(2021, month, 1 + n % 28, 8, 15),
            "lpep_dropoff_datetime": datetime(2021, month, 1 + n % 28, 8, 30),
            "trip_distance": n / 100,
        }
        | changes
        for n in range(number)
    ]


@pytest.fixture
def months(tmp_path: Path) -> Path:
    """Two months of the TLC's, with a stray ride and a bad one."""
    directory = tmp_path / "rides"
    directory.mkdir()
    stray = TLC_ROW | {"lpep_pickup_datetime": datetime(2008, 12, 31, 23)}
    bad = TLC_ROW | {"trip_distance": -1.0}
    write(directory / "green_tripdata_2021-03.parquet", *rows(50), stray, bad)
    write(directory / "green_tripdata_2021-04.parquet", *rows(30, 4))
    return directory


def test_there_is_a_partition_a_month_of_pick_up(tmp_path: Path, months: Path) -> None:
    run(tmp_path / "out", months)

    found = ds.dataset(tmp_path / "out" / "rides", partitioning="hive").to_table()
    assert Counter(found["month"].to_pylist()) == {"2021-03": 50, "2008-12": 1, "2021-04": 30}


def test_every_row_is_scored_or_rejected_with_a_reason(tmp_path: Path, months: Path) -> None:
    outcomes = run(tmp_path / "out", months)

    report = reports.report(outcomes, models(), {})
    assert (report.rows, report.scored, report.rejected) == (82, 81, 1)
    assert len(scored(tmp_path / "out")) == 81
    [row] = rejected(tmp_path / "out")
    assert row["reason"] == "Expected `float` >= 0.0 - at `$.ride.trip_distance`"
    assert report.reasons == {row["reason"]: 1}


def test_a_run_that_is_done_does_nothing(tmp_path: Path, months: Path) -> None:
    outcomes = run(tmp_path / "out", months)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}

    again = run(tmp_path / "out", months, models=models(cannot=lambda rides: True))

    assert again == outcomes
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


def test_by_force_it_does_it_again_byte_for_byte(tmp_path: Path, months: Path) -> None:
    run(tmp_path / "out", months)
    before, inodes = files(tmp_path / "out"), [p.stat().st_ino for p in note_paths(tmp_path)]

    run(tmp_path / "out", months, force=True)

    assert files(tmp_path / "out") == before
    assert [p.stat().st_ino for p in note_paths(tmp_path)] != inodes


def note_paths(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out" / "done").iterdir())


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("side_by_side", [1, 2])
def test_the_bytes_do_not_depend_on_how_many_work(
    tmp_path: Path, months: Path, workers: int, side_by_side: int
) -> None:
    run(tmp_path / "one", months)

    run(tmp_path / "two", months, workers=workers, side_by_side=side_by_side)

    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_another_model_scores_anew_and_leaves_nothing_of_the_old(
    tmp_path: Path, months: Path
) -> None:
    run(tmp_path / "out", months)
    other = models()
    other.duration.model.version = "Other"  # type: ignore[misc]

    run(tmp_path / "out", months, models=other)

    assert {row["ride_duration_version"] for row in scored(tmp_path / "out")} == {"Other"}
    assert len(scored(tmp_path / "out")) == 81


def test_an_input_that_has_changed_is_scored_anew(tmp_path: Path, months: Path) -> None:
    run(tmp_path / "out", months)
    write(months / "green_tripdata_2021-03.parquet", *rows(5, 5))

    run(tmp_path / "out", months)

    assert len(scored(tmp_path / "out")) == 35
    assert rejected(tmp_path / "out") == []


def test_what_a_killed_run_left_is_not_in_the_way(tmp_path: Path, months: Path) -> None:
    run(tmp_path / "out", months)
    expected = files(tmp_path / "out")
    note_paths(tmp_path)[0].unlink()
    scratch = tmp_path / "out" / places.TEMPORARY
    scratch.mkdir()
    (scratch / "half.parquet").write_bytes(b"PAR1")

    run(tmp_path / "out", months)

    assert files(tmp_path / "out") == expected


def test_of_two_runs_at_once_one_is_told(tmp_path: Path, months: Path) -> None:
    with (
        places.output(str(tmp_path / "out")),
        pytest.raises(OutputError, match="another run is writing to"),
    ):
        run(tmp_path / "out", months)


def test_a_broken_input_does_not_stop_its_neighbours(tmp_path: Path, months: Path) -> None:
    (months / "green_tripdata_2021-02.parquet").write_bytes(b"PAR1")

    first, *others = run(tmp_path / "out", months)

    assert isinstance(first, Failed)
    assert first.why.endswith("green_tripdata_2021-02.parquet is damaged, or ends too early")
    assert all(isinstance(one, Done) for one in others)
    assert not any("2021-02" in name for name in files(tmp_path / "out"))


def test_an_input_that_breaks_half_way_leaves_nothing(tmp_path: Path) -> None:
    good = (json.dumps({"ride": ride(), "ride_id": n}) for n in range(20_000))
    path = tmp_path / "rides.jsonl"
    path.write_text("\n".join(good) + "\n" + " " * (16 * 1024 * 1024 + 1))

    [outcome] = run(tmp_path / "out", path)

    assert isinstance(outcome, Failed)
    assert files(tmp_path / "out") == {}


def ride() -> dict[str, Any]:
    return {name: ROW[name] for name in ("PULocationID", "DOLocationID", "trip_distance")}


def test_a_model_that_breaks_ends_the_run_without_a_trace(tmp_path: Path, months: Path) -> None:
    broken = models(cannot=lambda rides: np.ones(len(rides.pickup), dtype=bool))

    with pytest.raises(ModelError):
        run(tmp_path / "out", months, models=broken)

    assert files(tmp_path / "out") == {}


def test_rides_without_a_time_have_a_partition_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "rides.jsonl"
    path.write_text(json.dumps({"ride": ride(), "ride_id": 1}))

    run(tmp_path / "out", path)

    assert (tmp_path / "out" / "rides" / f"month={writer.UNKNOWN}").is_dir()


def test_rides_of_more_months_than_files_may_be_open_are_all_there(tmp_path: Path) -> None:
    many = [
        TLC_ROW | {"lpep_pickup_datetime": datetime(year, month, 1), "trip_distance": n / 10}
        for n in range(2)
        for year in range(1990, 2000)
        for month in range(1, 13)
    ]
    write(tmp_path / "rides.parquet", *many)

    run(tmp_path / "out", tmp_path / "rides.parquet")

    assert len(scored(tmp_path / "out")) == 240
    assert len({row["ride_id"] for row in scored(tmp_path / "out")}) == 240


def test_a_row_group_holds_a_fixed_number_of_rows(tmp_path: Path, monkeypatch: Any) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(writer, "ROW_GROUP", 20)
    path = write(tmp_path / "rides.parquet", *rows(50))

    run(tmp_path / "out", path)

    [written] = (tmp_path / "out" / "rides").rglob("*.parquet")
    metadata = pq.ParquetFile(written).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [20, 20, 10]


def test_errors_are_reported_by_month(tmp_path: Path, months: Path) -> None:
    outcomes = run(tmp_path / "out", months)

    report = reports.report(outcomes, models(), {})

    errors = report.months["2021-04"].errors["ride_duration"]
    expected = [2 + 5 * n / 100 - 15 for n in range(30)]
    assert errors.compared == 30
    assert errors.mae == pytest.approx(np.abs(expected).mean())
    assert errors.rmse == pytest.approx(np.sqrt(np.square(expected).mean()))
    assert errors.bias == pytest.approx(np.mean(expected))
    assert errors.inside_interval is None


def test_hidden_files_of_a_directory_are_no_inputs(tmp_path: Path, months: Path) -> None:
    (months / "_SUCCESS").write_bytes(b"")
    (months / ".hidden").write_bytes(b"")

    assert len(places.inputs([str(months)])) == 2
    assert len(places.inputs([str(months / "*.parquet"), str(months)])) == 2


@pytest.mark.parametrize("name", [b"rides\xff", b"ri\ndes"])
def test_a_name_that_cannot_be_written_is_said(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"")

    with pytest.raises(FileError, match=r"a name that cannot be written: '.*/ri"):
        places.inputs([str(tmp_path)])


def test_a_pattern_that_names_nothing_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for pattern in ("*.parquet", "pipe"):
        with pytest.raises(FileError, match="there is no file"):
            places.inputs([str(tmp_path / pattern)])


def test_a_name_takes_64_bits_of_where_an_input_lies() -> None:
    names = [Input(f"s3://rides/{n}/rides.parquet", 1, "").name for n in (1, 2)]

    assert names == ["rides-12a0552ab4bc1942", "rides-084cde084f27c238"]


@pytest.mark.parametrize("name", ["long" * 60, "é" * 120, "Fahrten nach Süden", "-"])
def test_an_input_may_have_any_name_that_a_disk_takes(tmp_path: Path, name: str) -> None:
    write(tmp_path / f"{name}.parquet", *rows(3))

    run(tmp_path / "out", tmp_path / f"{name}.parquet")

    assert len(scored(tmp_path / "out")) == 3


def test_two_inputs_of_one_name_have_files_of_their_own(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "rides.parquet", *rows(3))

    run(tmp_path / "out", tmp_path / "one", tmp_path / "two")

    assert len(scored(tmp_path / "out")) == 6
