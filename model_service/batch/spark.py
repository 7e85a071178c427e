"""The same run on Spark: a task scores one input, on whichever machine it lands.

It does what `runs` does for that input on one machine.  So the files are the same, byte for byte,
and a task that is run again, because its executor died, makes them again.  What comes back is what
became of each input.  Models are loaded once a worker process, which serves one task after another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
from msgspec import Struct

from ..buckets import SCHEME
from ..datasets import files
from ..datasets.files import TEMPORARY, Directory, Input, Output
from ..datasets.manifest import Done, Failed, Outcome
from ..errors import ModelError, OutputError, SettingsError
from ..models import served
from ..models.served import Models
from ..settings import BatchSettings
from . import job

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

SILENT = job.Progress(lambda *_: None, lambda *_: None)  # Spark shows how far it is
PACKAGE = Path(__file__).parents[2]


class Task(Struct, frozen=True):
    """What a task is told."""

    input: Input
    names: list[str]
    """Files of the output that were made of it before."""


class Told(Struct, frozen=True):
    """What a task tells; one of them."""

    done: Done | None = None
    failed: Failed | None = None
    model_error: str | None = None
    output_error: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """An output directory whose names are known: no task has to list all of it."""

    output: Output
    known: list[str]

    @property
    def scratch(self) -> Path:
        return self.output.scratch

    def names(self) -> list[str]:
        return self.known

    def read(self, name: str) -> bytes:
        return self.output.read(name)

    def move(self, file: Path, name: str) -> None:
        self.output.move(file, name)

    def remove(self, name: str) -> None:
        self.output.remove(name)


@contextmanager
def session() -> Iterator[SparkSession]:
    """The session of ``spark-submit``, or one of this machine, on loopback; stopped at the end.

    Raises `SettingsError`.
    """
    try:
        from pyspark import SparkConf
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError as exc:
        raise SettingsError("Spark is not installed: it comes with the package pyspark") from exc
    try:
        conf = SparkConf()
        if conf.get("spark.master", "local").startswith("local"):
            _on_loopback(conf)
        made = SparkSession.builder.config(conf=conf).appName("ride-predictions").getOrCreate()
    except PySparkRuntimeError as exc:
        raise SettingsError("Spark does not start: is there a Java 17?") from exc
    try:
        yield made
    finally:
        made.stop()


def _on_loopback(conf: SparkConf) -> None:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # Spark asks nothing else
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    conf.setIfMissing("spark.driver.host", "127.0.0.1")
    conf.setIfMissing("spark.driver.bindAddress", "127.0.0.1")
    conf.setIfMissing("spark.ui.enabled", "false")
    conf.setIfMissing("spark.ui.showConsoleProgress", "true")
    conf.setIfMissing("spark.executorEnv.PYTHONPATH", str(PACKAGE))


def score(
    inputs: Sequence[Input], settings: BatchSettings, location: str, *, force: bool = False
) -> list[Outcome]:
    """What became of each input, in order; the answers lie in *location*, as `runs.score`'s do.

    Raises `OutputError` and `ModelError`, with which the run ends, and `SettingsError`.
    """
    location, settings = _anywhere(location), _found_anywhere(settings)
    with session() as spark, files.output(location) as output:  # which nobody else writes to
        names = output.names()
        tasks = [Task(one, [name for name in names if one.name in name]) for one in inputs]
        rows = [(number, msgspec.json.encode(task)) for number, task in enumerate(tasks)]
        frame = spark.createDataFrame(
            spark.sparkContext.parallelize(rows, len(rows)), "number long, json binary"
        )
        work = partial(_work, settings=settings, location=location, force=force)
        found = frame.mapInArrow(work, frame.schema).collect()
    told = {row.number: msgspec.json.decode(row.json, type=Told) for row in found}
    return [_outcome(told[number]) for number in range(len(tasks))]


def _anywhere(location: str) -> str:
    """An executor may have another working directory."""
    return location if location.startswith(SCHEME) else os.path.abspath(location)


def _found_anywhere(settings: BatchSettings) -> BatchSettings:
    cost = settings.cost_model_location
    return replace(
        settings,
        model_location=_anywhere(settings.model_location),
        cost_model_location=_anywhere(cost) if cost else "",
    )


def _work(
    batches: Iterator[pa.RecordBatch], *, settings: BatchSettings, location: str, force: bool
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        tasks = [msgspec.json.decode(json, type=Task) for json in batch["json"].to_pylist()]
        told = [_done(task, settings, location, force) for task in tasks]
        yield pa.RecordBatch.from_arrays(
            [batch["number"], pa.array([msgspec.json.encode(one) for one in told], pa.binary())],
            ["number", "json"],
        )


def _done(task: Task, settings: BatchSettings, location: str, force: bool) -> Told:
    try:
        with _beside_others(location) as output:
            [outcome] = job.score(
                [task.input],
                _models(settings),
                Known(output, task.names),
                workers=_processors(),
                side_by_side=1,
                progress=SILENT,
                force=force,
            )
    except ModelError as exc:
        return Told(model_error=str(exc))
    except OutputError as exc:
        return Told(output_error=str(exc))
    return Told(done=outcome) if isinstance(outcome, Done) else Told(failed=outcome)


def _processors() -> int:
    """Those of a task; one unless ``spark.task.cpus`` says more."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return 1 if context is None else context.cpus()


@cache
def _models(settings: BatchSettings) -> Models:
    return served.load(settings)


@contextmanager
def _beside_others(location: str) -> Iterator[Output]:
    """The output directory, for one task of the run that holds it."""
    if location.startswith(SCHEME):
        with files.output(location) as output:
            yield output
        return
    directory = Path(location).absolute()  # as `places.output` has it
    with files.output_errors(location):
        scratch = TemporaryDirectory(dir=directory / TEMPORARY)
    with scratch:
        yield Directory(directory, Path(scratch.name))


def _outcome(told: Told) -> Outcome:
    if told.model_error is not None:
        raise ModelError(told.model_error)
    if told.output_error is not None:
        raise OutputError(told.output_error)
    found = told.done or told.failed
    assert found, "one of them"
    return found
