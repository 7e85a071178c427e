"""A Spark cluster on this machine: a master and two workers with their executors."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local.aws.server import embedded
from model_service.batch import spark
from model_service.batch.spark import SparkTask, TaskAborted, TaskAnswer, TaskCompleted
from model_service.datasets import files as datasets_files
from model_service.settings import BatchSettings

from ..support import models

ROOT = Path(__file__).parents[2]
SECONDS = 300  # for a run, on a machine that does other things too
EXECUTOR = "CoarseGrainedExecutorBackend"

needs_java = pytest.mark.skipif(
    not shutil.which("java"), reason="Spark needs Java: see CONTRIBUTING"
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX model: five minutes per mile, and two more."""
    return models.write_onnx(tmp_path_factory.mktemp("line"))


def months(folder: Path, *, number: int, rides: int) -> Path:
    """Write *number* files like the TLC's with *rides* rides each, of which 1 in 50 is too long."""
    folder.mkdir()
    for n in range(number):
        random = np.random.default_rng(n)
        start = np.datetime64(datetime(2022, 1, 1) + timedelta(days=31 * n), "us")
        pickup = start + random.integers(0, 20 * 86_400, rides).astype("timedelta64[s]")
        table = {
            "VendorID": random.integers(1, 3, rides),
            "lpep_pickup_datetime": pickup,
            "lpep_dropoff_datetime": pickup + np.timedelta64(20, "m"),
            "PULocationID": random.integers(1, 266, rides),
            "DOLocationID": random.integers(1, 266, rides),
            "trip_distance": np.where(np.arange(rides) % 50, random.uniform(0, 20, rides), 5000.0),
            "total_amount": random.uniform(5, 50, rides),
            "tip_amount": random.uniform(0, 5, rides),
        }
        pq.write_table(pa.table(table), folder / f"month-{n:02}.parquet")
    return folder


def command(rides: Path, output: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "model_service.batch", "score"]
    return [*program, str(rides), "--output", str(output), *more]


def environ(line: Path, master: str = "local-cluster[2,1,1024]") -> dict[str, str]:
    return {
        **os.environ,
        "MODEL_LOCATION": str(line),
        "PYSPARK_SUBMIT_ARGS": f"--master {master} pyspark-shell",
        "PYTHONPATH": str(ROOT),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def files(output: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(output)): path for path in output.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(found.items())}


def on_one_machine(rides: Path, output: Path, line: Path) -> int:
    run = subprocess.run(command(rides, output), cwd=ROOT, env=environ(line), capture_output=True)
    return run.returncode


def executors(of: int) -> list[int]:
    """The executor processes that are descendants of the process *of*."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,ppid=,args="], check=True, capture_output=True, text=True
    ).stdout
    parents, found = {}, []
    for process in listed.splitlines():
        pid, parent, arguments = process.split(None, 2)
        parents[int(pid)] = int(parent)
        if EXECUTOR in arguments:
            found.append(int(pid))
    return [pid for pid in found if of in ancestors(pid, parents)]


def ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid := parents.get(pid, 0):
        yield pid


# --- a cluster --------------------------------------------------------------------------------


@pytest.mark.slow
@needs_java
def test_spark_writes_the_same_files_and_exits_with_the_same_code_as_one_machine(
    tmp_path: Path, line: Path
) -> None:
    rides = months(tmp_path / "rides", number=4, rides=2_000)
    (rides / "damaged.parquet").write_bytes(b"PAR1 and no more")
    code = on_one_machine(rides, tmp_path / "one", line)

    run = subprocess.run(
        command(Path("rides"), Path("many"), "--engine", "spark"),
        cwd=tmp_path,  # which is not that of an executor
        env=environ(line.relative_to(tmp_path, walk_up=True)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )

    assert run.returncode == code == 1
    assert "damaged.parquet is damaged or ends too early" in run.stderr
    assert files(tmp_path / "many") == files(tmp_path / "one")
    assert len(files(tmp_path / "one")) >= 3 * 4  # rides, rejected, a note


@pytest.mark.slow
@needs_java
def test_spark_writes_the_same_files_if_a_task_has_two_cores(tmp_path: Path, line: Path) -> None:
    rides = months(tmp_path / "rides", number=1, rides=100_000)
    on_one_machine(rides, tmp_path / "one", line)

    run = subprocess.run(
        command(rides, tmp_path / "many", "--engine", "spark"),
        cwd=ROOT,
        env=environ(line, "local[2] --conf spark.task.cpus=2"),
        timeout=SECONDS,
    )

    assert run.returncode == 0
    assert files(tmp_path / "many") == files(tmp_path / "one")


@pytest.mark.slow
@needs_java
def test_killed_executor_does_not_change_the_files(tmp_path: Path, line: Path) -> None:
    rides = months(tmp_path / "rides", number=30, rides=20_000)
    assert on_one_machine(rides, tmp_path / "one", line) == 0
    output = tmp_path / "many"

    with subprocess.Popen(
        command(rides, output, "--engine", "spark"), cwd=ROOT, env=environ(line)
    ) as run:
        try:
            deadline = time.monotonic() + SECONDS
            while run.poll() is None and not any(output.glob("done/*")):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            first, *_ = executors(run.pid)
            os.kill(first, signal.SIGKILL)
            done_then = len(list(output.glob("done/*")))
            code = run.wait(SECONDS)
        finally:
            run.kill()

    assert 0 < done_then < 30, "it was killed on the way"
    assert code == 0
    assert files(output) == files(tmp_path / "one")


# --- a task -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_worker_loads_the_models_once_for_all_its_tasks(tmp_path: Path, line: Path) -> None:
    rides = months(tmp_path / "rides", number=3, rides=100)
    (tmp_path / "out/_temporary").mkdir(parents=True)
    spark._models.cache_clear()

    answers = list(work(rides, tmp_path / "out", BatchSettings(model_location=str(line))))

    scored = [one.result.scored for one in answers if isinstance(one, TaskCompleted)]
    assert scored == [98, 98, 98]
    assert spark._models.cache_info().misses == 1


def test_task_returns_a_model_error(tmp_path: Path) -> None:
    rides = months(tmp_path / "rides", number=1, rides=100)
    (tmp_path / "out/_temporary").mkdir(parents=True)

    [answer] = work(rides, tmp_path / "out", BatchSettings(model_location=str(tmp_path / "none")))

    assert isinstance(answer, TaskAborted)
    assert (answer.error, "cannot read" in answer.message) == ("model", True)


def test_task_returns_an_output_error(tmp_path: Path, line: Path) -> None:
    rides = months(tmp_path / "rides", number=1, rides=100)

    [answer] = work(rides, tmp_path / "gone", BatchSettings(model_location=str(line)))

    assert isinstance(answer, TaskAborted)
    assert answer.error == "output"


def test_files_that_a_killed_task_left_are_ignored_and_removed(tmp_path: Path) -> None:
    left = tmp_path / "_temporary/tmp1"
    left.mkdir(parents=True)
    (left / "rides~half.parquet").write_bytes(b"half")

    with datasets_files.output(str(tmp_path)) as output:
        assert output.names() == []

    assert not left.exists()


@pytest.mark.slow
def test_task_reads_from_s3_and_writes_to_s3(
    tmp_path: Path, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [month] = months(tmp_path / "rides", number=1, rides=100).iterdir()
    with embedded() as aws:
        for name, value in aws.environ.items():
            monkeypatch.setenv(name, value)
        s3 = aws.s3()
        s3.create_bucket(Bucket="rides")
        s3.upload_file(str(month), "rides", "tlc/month.parquet")

        settings = BatchSettings(model_location=str(line))
        [answer] = work("s3://rides/tlc/*", "s3://rides/out", settings)

        assert isinstance(answer, TaskCompleted)
        written = [entry["Key"] for entry in s3.list_objects_v2(Bucket="rides")["Contents"]]
    assert {f"out/{name}" for name in answer.result.files} < set(written)


def work(rides: Path | str, output: Path | str, settings: BatchSettings) -> Iterator[TaskAnswer]:
    """The answers of tasks, one per batch, as a Spark worker runs them."""
    tasks = [SparkTask(one, []) for one in datasets_files.inputs([str(rides)])]
    batches = (
        pa.RecordBatch.from_pydict({"number": [n], "json": [msgspec.json.encode(task)]})
        for n, task in enumerate(tasks)
    )
    run = partial(spark._run_tasks, settings=settings, location=str(output), force=False)
    for answer in run(batches):
        for json in answer["json"].to_pylist():
            yield msgspec.json.decode(json, type=TaskAnswer)
