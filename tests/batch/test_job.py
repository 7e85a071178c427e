"""A job scores each input completely or not at all, and writes the same bytes every time."""

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

from model_service.batch.manifest import CompletedInput, FailedInput
from model_service.batch.report import job_report, summary
from model_service.datasets import files as datasets_files
from model_service.datasets import writer
from model_service.datasets.files import Input
from model_service.errors import FileError, ModelError, OutputError
from model_service.models import served
from model_service.models.served import Models
from model_service.settings import BatchSettings

from ..support import models as onnx_models
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
    """Two TLC months, with a ride of another month and an invalid one."""
    directory = tmp_path / "rides"
    directory.mkdir()
    stray = TLC_ROW | {"lpep_pickup_datetime": datetime(2008, 12, 31, 23)}
    bad = TLC_ROW | {"trip_distance": -1.0}
    write(directory / "green_tripdata_2021-03.parquet", *rows(50), stray, bad)
    write(directory / "green_tripdata_2021-04.parquet", *rows(30, 4))
    return directory


def test_output_has_a_partition_per_month_of_pick_up(tmp_path: Path, months: Path) -> None:
    run(tmp_path / "out", months)

    found = ds.dataset(tmp_path / "out" / "rides", partitioning="hive").to_table()
    assert Counter(found["month"].to_pylist()) == {"2021-03": 50, "2008-12": 1, "2021-04": 30}


def test_every_row_is_scored_or_rejected_with_a_reason(tmp_path: Path, months: Path) -> None:
    results = run(tmp_path / "out", months)

    report = job_report(results, models(), {})
    assert (report.rows, report.scored, report.rejected) == (82, 81, 1)
    assert len(scored(tmp_path / "out")) == 81
    [row] = rejected(tmp_path / "out")
    assert row["reason"] == "Expected `float` >= 0.0 - at `$.ride.trip_distance`"
    assert report.reasons == {row["reason"]: 1}


def test_job_over_scored_inputs_does_nothing(tmp_path: Path, months: Path) -> None:
    results = run(tmp_path / "out", months)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}

    again = run(tmp_path / "out", months, models=models(cannot=lambda rides: True))

    assert again == results
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


def test_force_scores_inputs_again_to_the_same_bytes(tmp_path: Path, months: Path) -> None:
    run(tmp_path / "out", months)
    before, inodes = files(tmp_path / "out"), [p.stat().st_ino for p in manifest_paths(tmp_path)]

    run(tmp_path / "out", months, force=True)

    assert files(tmp_path / "out") == before
    assert [p.stat().st_ino for p in manifest_paths(tmp_path)] != inodes


def manifest_paths(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out" / "done").iterdir())


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("parallel", [1, 2])
def test_output_does_not_depend_on_the_number_of_threads(
    tmp_path: Path, months: Path, workers: int, parallel: int
) -> None:
    run(tmp_path / "one", months)

    run(tmp_path / "two", months, workers=workers, parallel=parallel)

    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_another_model_replaces_the_whole_output(tmp_path: Path, months: Path) -> None:
    run(tmp_path / "out", months)
    other = models()
    other.duration.model.version = "Other"  # type: ignore[misc]

    run(tmp_path / "out", months, models=other)

    assert {row["ride_duration_version"] for row in scored(tmp_path / "out")} == {"Other"}
    assert len(scored(tmp_path / "out")) == 81


def test_model_replaced_in_place_makes_the_output_out_of_date(tmp_path: Path, months: Path) -> None:
    location = str(tmp_path / "model")
    graphs = (onnx_models.LINE, onnx_models.LINE.replace("5.0", "6.0"))
    first, second = (loaded(location, graph) for graph in graphs)  # of the same run
    run(tmp_path / "out", months, models=first)

    run(tmp_path / "out", months, models=second)

    assert first.duration.model.version == second.duration.model.version
    for row in scored(tmp_path / "out"):
        assert row["ride_duration"] == pytest.approx(2 + 6 * row["trip_distance"], abs=1e-4)


def loaded(location: str, graph: str) -> Models:
    """The model of *graph*, after it was written to *location*."""
    onnx_models.write_onnx(Path(location), graph)
    environ = {"MODEL_LOCATION": location}
    return served.load(BatchSettings.from_env(environ))


def test_changed_input_is_scored_again(tmp_path: Path, months: Path) -> None:
    run(tmp_path / "out", months)
    write(months / "green_tripdata_2021-03.parquet", *rows(5, 5))

    run(tmp_path / "out", months)

    assert len(scored(tmp_path / "out")) == 35
    assert rejected(tmp_path / "out") == []


def test_job_removes_what_a_killed_job_left(tmp_path: Path, months: Path) -> None:
    run(tmp_path / "out", months)
    expected = files(tmp_path / "out")
    manifest_paths(tmp_path)[0].unlink()
    scratch = tmp_path / "out" / datasets_files.TEMPORARY
    scratch.mkdir()
    (scratch / "half.parquet").write_bytes(b"PAR1")

    run(tmp_path / "out", months)

    assert files(tmp_path / "out") == expected


def test_second_job_on_the_same_output_is_refused(tmp_path: Path, months: Path) -> None:
    with (
        datasets_files.output(str(tmp_path / "out")),
        pytest.raises(OutputError, match="another job is writing to"),
    ):
        run(tmp_path / "out", months)


def test_damaged_input_does_not_stop_the_others(tmp_path: Path, months: Path) -> None:
    (months / "green_tripdata_2021-02.parquet").write_bytes(b"PAR1")

    first, *others = run(tmp_path / "out", months)

    assert isinstance(first, FailedInput)
    assert first.reason.endswith("green_tripdata_2021-02.parquet is damaged or ends too early")
    assert all(isinstance(one, CompletedInput) for one in others)
    assert not any("2021-02" in name for name in files(tmp_path / "out"))


def test_input_that_fails_half_way_leaves_no_output(tmp_path: Path) -> None:
    good = (json.dumps({"ride": ride(), "ride_id": n}) for n in range(20_000))
    path = tmp_path / "rides.jsonl"
    path.write_text("\n".join(good) + "\n" + " " * (16 * 1024 * 1024 + 1))

    [result] = run(tmp_path / "out", path)

    assert isinstance(result, FailedInput)
    assert files(tmp_path / "out") == {}


def ride() -> dict[str, Any]:
    return {name: ROW[name] for name in ("PULocationID", "DOLocationID", "trip_distance")}


def test_model_error_ends_the_job_and_leaves_no_output(tmp_path: Path, months: Path) -> None:
    broken = models(cannot=lambda rides: np.ones(len(rides.pickup), dtype=bool))

    with pytest.raises(ModelError):
        run(tmp_path / "out", months, models=broken)

    assert files(tmp_path / "out") == {}


def test_rides_without_a_time_have_their_own_partition(tmp_path: Path) -> None:
    path = tmp_path / "rides.jsonl"
    path.write_text(json.dumps({"ride": ride(), "ride_id": 1}))

    run(tmp_path / "out", path)

    assert (tmp_path / "out" / "rides" / f"month={writer.UNKNOWN}").is_dir()


def test_rides_without_a_time_are_counted_in_the_report(tmp_path: Path, months: Path) -> None:
    path = tmp_path / "rides.jsonl"
    path.write_text("\n".join(json.dumps({"ride": ride(), "ride_id": n}) for n in range(3)))

    report = job_report(run(tmp_path / "out", months, path), models(), {})

    assert (report.scored, report.without_time) == (84, 3)
    assert "\n  3 of the scored rides have no pick-up time\n" in summary(report)


def test_rides_of_more_months_than_open_files_are_all_written(tmp_path: Path) -> None:
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


def test_row_groups_have_a_fixed_number_of_rows(tmp_path: Path, monkeypatch: Any) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(writer, "ROW_GROUP", 20)
    path = write(tmp_path / "rides.parquet", *rows(50))

    run(tmp_path / "out", path)

    [written] = (tmp_path / "out" / "rides").rglob("*.parquet")
    metadata = pq.ParquetFile(written).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [20, 20, 10]


def test_report_has_errors_by_month(tmp_path: Path, months: Path) -> None:
    results = run(tmp_path / "out", months)

    report = job_report(results, models(), {})

    errors = report.months["2021-04"].errors["ride_duration"]
    expected = [2 + 5 * n / 100 - 15 for n in range(30)]
    assert errors.compared == 30
    assert errors.mae == pytest.approx(np.abs(expected).mean())
    assert errors.rmse == pytest.approx(np.sqrt(np.square(expected).mean()))
    assert errors.bias == pytest.approx(np.mean(expected))
    assert errors.inside_interval is None


def test_hidden_files_in_a_directory_are_ignored(tmp_path: Path, months: Path) -> None:
    (months / "_SUCCESS").write_bytes(b"")
    (months / ".hidden").write_bytes(b"")

    assert len(datasets_files.inputs([str(months)])) == 2
    assert len(datasets_files.inputs([str(months / "*.parquet"), str(months)])) == 2


@pytest.mark.parametrize("name", [b"rides\xff", b"ri\ndes"])
def test_file_name_that_cannot_be_printed_is_refused(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"")

    with pytest.raises(FileError, match=r"a file name cannot be printed: '.*/ri"):
        datasets_files.inputs([str(tmp_path)])


def test_links_to_folders_and_files_are_followed(tmp_path: Path, months: Path) -> None:
    other = tmp_path / "linked"
    other.mkdir()
    (other / "2021").symlink_to(months)
    (other / "again").symlink_to(other)  # a circle
    (other / "_hidden").symlink_to(months)

    assert len(datasets_files.inputs([str(other)])) == 2

    (other / "gone.parquet").symlink_to(tmp_path / "nothing")
    *_, gone = sorted(run(tmp_path / "out", other), key=lambda one: type(one).__name__)
    assert isinstance(gone, FailedInput)
    assert gone.reason == f"cannot read {tmp_path / 'nothing'}: No such file or directory"
    assert len(scored(tmp_path / "out")) == 81


@pytest.mark.parametrize("log", ["_delta_log/0.json", ".hoodie/x", "metadata/v1.metadata.json"])
@pytest.mark.parametrize("pattern", ["", "table", "table/*.parquet", "table/2021/rides.parquet"])
def test_table_with_a_log_is_refused(tmp_path: Path, log: str, pattern: str) -> None:
    folder = tmp_path / "table"
    for name in (log, "rides.parquet", "2021/rides.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")

    with pytest.raises(FileError, match=r"table is a Delta, Iceberg or Hudi table, and its log"):
        datasets_files.inputs([str(tmp_path / pattern)])


def test_pattern_without_a_match_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for pattern in ("*.parquet", "pipe"):
        with pytest.raises(FileError, match="there is no file"):
            datasets_files.inputs([str(tmp_path / pattern)])


def test_input_name_has_64_bits_of_a_hash_of_its_location() -> None:
    names = [Input(f"s3://rides/{n}/rides.parquet", 1, "").name for n in (1, 2)]

    assert names == ["rides-12a0552ab4bc1942", "rides-084cde084f27c238"]


@pytest.mark.parametrize("name", ["long" * 60, "é" * 120, "Fahrten nach Süden", "-"])
def test_input_may_have_any_file_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / f"{name}.parquet", *rows(3))

    run(tmp_path / "out", tmp_path / f"{name}.parquet")

    assert len(scored(tmp_path / "out")) == 3


def test_inputs_with_the_same_name_have_separate_output_files(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "rides.parquet", *rows(3))

    run(tmp_path / "out", tmp_path / "one", tmp_path / "two")

    assert len(scored(tmp_path / "out")) == 6
