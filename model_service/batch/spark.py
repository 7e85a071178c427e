"""Runs a scoring job on Spark: each task scores one input, on a machine that Spark chooses.

A task calls `job.score_files` for its input and returns the result.  So the output has the same
bytes as a job on one machine, even if Spark runs a task again because its executor died.  Each
worker process loads the models once, and runs one task after another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, assert_never

import msgspec
import pyarrow as pa
from msgspec import Struct

from ..datasets import files
from ..datasets.files import Input
from ..errors import ModelError, OutputError, SettingsError
from ..models import served
from ..models.served import Models
from ..settings import BatchSettings
from ..storage import SCHEME
from . import job
from .manifest import CompletedInput, FailedInput, InputResult

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[2]
"""The directory that contains the package `model_service`."""


class SparkTask(Struct, frozen=True):
    """The data that the driver sends to a task."""

    input: Input
    names: list[str]
    """The names of the files in the output that earlier jobs made from the input."""


class TaskCompleted(Struct, frozen=True, tag=True):
    """The answer of a task that has scored its input."""

    result: CompletedInput


class TaskFailed(Struct, frozen=True, tag=True):
    """The answer of a task that could not read its input."""

    result: FailedInput


class TaskAborted(Struct, frozen=True, tag=True):
    """The answer of a task that failed with an error that ends the job."""

    error: Literal["model", "output"]
    message: str


TaskAnswer = TaskCompleted | TaskFailed | TaskAborted


def score_files_on_spark(
    inputs: Sequence[Input], settings: BatchSettings, location: str, *, force: bool = False
) -> list[InputResult]:
    """Score *inputs*, write the output to *location*, and return the results in the same order.

    If *force* is True, inputs that an earlier job has scored are scored again.
    Raises `OutputError` if the output cannot be written, `ModelError` if a model is at fault, and
    `SettingsError` if Spark cannot start.
    """
    location, settings = _absolute(location), _with_absolute_paths(settings)
    with session() as spark, files.output(location) as output:
        names = output.names()
        tasks = [SparkTask(one, [name for name in names if one.name in name]) for one in inputs]
        rows = [(number, msgspec.json.encode(task)) for number, task in enumerate(tasks)]
        frame = spark.createDataFrame(
            spark.sparkContext.parallelize(rows, len(rows)), "number long, json binary"
        )
        work = partial(_run_tasks, settings=settings, location=location, force=force)
        answers = frame.mapInArrow(work, frame.schema).collect()
    found = {row.number: msgspec.json.decode(row.json, type=TaskAnswer) for row in answers}
    return [_input_result(found[number]) for number in range(len(tasks))]


def _absolute(location: str) -> str:
    """Return *location* as an absolute path: an executor may have another working directory."""
    return location if location.startswith(SCHEME) else os.path.abspath(location)


def _with_absolute_paths(settings: BatchSettings) -> BatchSettings:
    cost = settings.cost_model_location
    return replace(
        settings,
        model_location=_absolute(settings.model_location),
        cost_model_location=_absolute(cost) if cost else "",
    )


@contextmanager
def session() -> Iterator[SparkSession]:
    """Yield the Spark session of ``spark-submit``, or a session on this machine if there is none.

    The session is stopped when the block ends.

    Raises `SettingsError` if Spark or Java is not installed.
    """
    try:
        from pyspark import SparkConf
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError as exc:
        raise SettingsError("Spark is not installed: install the package pyspark") from exc
    try:
        conf = SparkConf()
        if conf.get("spark.master", "local").startswith("local"):
            _on_loopback(conf)
        made = SparkSession.builder.config(conf=conf).appName("ride-predictions").getOrCreate()
    except PySparkRuntimeError as exc:
        raise SettingsError("Spark cannot start: install Java 17") from exc
    try:
        yield made
    finally:
        made.stop()


def _on_loopback(conf: SparkConf) -> None:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # Spark reads no other setting for this
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    conf.setIfMissing("spark.driver.host", "127.0.0.1")
    conf.setIfMissing("spark.driver.bindAddress", "127.0.0.1")
    conf.setIfMissing("spark.ui.enabled", "false")
    conf.setIfMissing("spark.ui.showConsoleProgress", "true")
    conf.setIfMissing("spark.executorEnv.PYTHONPATH", str(ROOT))


def _run_tasks(
    batches: Iterator[pa.RecordBatch], *, settings: BatchSettings, location: str, force: bool
) -> Iterator[pa.RecordBatch]:
    """Run the tasks in *batches* and yield their answers; the workers of Spark call this."""
    for batch in batches:
        tasks = [msgspec.json.decode(json, type=SparkTask) for json in batch["json"].to_pylist()]
        answers = [_run_task(task, settings, location, force=force) for task in tasks]
        yield pa.RecordBatch.from_arrays(
            [batch["number"], pa.array([msgspec.json.encode(one) for one in answers], pa.binary())],
            ["number", "json"],
        )


def _run_task(
    task: SparkTask, settings: BatchSettings, location: str, *, force: bool
) -> TaskAnswer:
    try:
        with files.task_output(location) as output:
            [result] = job.score_files(
                [task.input],
                _models(settings),
                replace(output, known=task.names),  # or each task would list the folder
                workers=_task_cpus(),
                parallel=1,
                force=force,
            )
    except ModelError as exc:
        return TaskAborted("model", str(exc))
    except OutputError as exc:
        return TaskAborted("output", str(exc))
    return TaskFailed(result) if isinstance(result, FailedInput) else TaskCompleted(result)


def _task_cpus() -> int:
    """Return the number of cores for one task: ``spark.task.cpus``, which is 1 by default."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return 1 if context is None else context.cpus()


@cache
def _models(settings: BatchSettings) -> Models:
    return served.load(settings)


def _input_result(answer: TaskAnswer) -> InputResult:
    match answer:
        case TaskCompleted(result=result) | TaskFailed(result=result):
            return result
        case TaskAborted(error="model", message=message):
            raise ModelError(message)
        case TaskAborted(message=message):
            raise OutputError(message)
        case _:
            assert_never(answer)
