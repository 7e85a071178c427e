"""Runs a scoring job: scores files of rides, each either completely or not at all.

An input is read in chunks of rows.  Because a model uses only one thread, several chunks are scored
at the same time, on all cores.  The chunks are written in the order of the input.  An input counts
as scored once its manifest is written, which happens after all its other output files are complete.
So if a job is killed, the next job scores the inputs without a manifest again, and writes the same
bytes.  A job does nothing if all inputs have manifests.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from threading import Event
from typing import NamedTuple

import pyarrow as pa

from ..datasets import files, writer
from ..datasets.files import Input, Output
from ..datasets.formats import reader
from ..datasets.formats.chunk import Chunk
from ..datasets.writer import PartitionedWriter
from ..errors import FileError
from ..models.served import Models
from . import evaluation, manifest, scoring
from .evaluation import ErrorSums
from .manifest import CompletedInput, FailedInput, InputResult


class ProgressCallbacks(NamedTuple):
    """The functions that a job calls to report its progress, from several threads."""

    read: Callable[[Input, int, float], object]
    """Called with an input, the number of its rows that were scored since the last call, and the
    share of its file that has been read, from 0 to 1."""
    finished: Callable[[Input, InputResult, bool], object]
    """Called with an input, its result, and whether an earlier job had scored it."""


SILENT = ProgressCallbacks(lambda *_: None, lambda *_: None)


@dataclass(frozen=True, slots=True)
class Job:
    """The objects and options that all inputs of a job share."""

    models: Models
    output: Output
    names: Sequence[str]
    """The names of the files that were in the output when the job started."""
    workers: Executor
    max_pending: int
    """The maximum number of chunks of one input that are being scored or wait to be written."""
    progress: ProgressCallbacks
    force: bool
    stop: Event = field(default_factory=Event)
    """Set if an error ends the job."""


class _ScoredChunk(NamedTuple):
    rides: list[tuple[str, pa.RecordBatch]]
    """Pairs of a month of pick-up and the chunk's scored rides of this month."""
    rejected: list[pa.RecordBatch]
    errors: dict[str, ErrorSums]
    """Month of pick-up -> sums of errors."""


class _Stopped(Exception):
    """Scoring of an input was stopped, because an error in another input ends the job."""


def score_files(
    inputs: Sequence[Input],
    models: Models,
    output: Output,
    *,
    workers: int,
    parallel: int,
    progress: ProgressCallbacks = SILENT,
    force: bool = False,
) -> list[InputResult]:
    """Score *inputs* and return their results in the same order.

    *workers* is the number of threads that score chunks, and *parallel* is the number of inputs
    that are read at the same time.  If *force* is True, inputs that an earlier job has scored are
    scored again.
    Raises `OutputError` if the output cannot be written, and `ModelError` if a model is at fault.
    """
    with ThreadPoolExecutor(workers) as pool, ThreadPoolExecutor(parallel) as readers:
        job = Job(models, output, output.names(), pool, 4 * workers, progress, force)
        futures = [readers.submit(_result, job, source) for source in inputs]
        try:
            for future in as_completed(futures):
                future.result()  # raises an error that ends the job as soon as it happens
        except BaseException:  # also Ctrl-C: the threads have to end
            job.stop.set()
            readers.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _result(job: Job, source: Input) -> InputResult:
    earlier = None if job.force else manifest.find(source, job.names, job.output, job.models)
    result = earlier or _score_readable_file(job, source)
    job.progress.finished(source, result, earlier is not None)
    return result


def _score_readable_file(job: Job, source: Input) -> InputResult:
    try:
        return _score_file(job, source)
    except FileError as exc:
        return FailedInput(source.location, str(exc))


def _score_file(job: Job, source: Input) -> CompletedInput:
    rides: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    errors: dict[str, ErrorSums] = {}
    with (
        files.local_copy(source) as path,
        writer.writing(job.output.scratch, source.name) as output,
    ):
        chunks = reader.chunks(path, name=source.location, skip_through=source.skip_through)
        for chunk in _scored_in_order(job, source, chunks):
            for month, batch in chunk.rides:
                output.write(month, batch)
                rides[month] += len(batch)
                errors[month] = evaluation.total([errors.get(month, {}), chunk.errors[month]])
            for batch in chunk.rejected:
                output.reject(batch)
                reasons.update(batch["reason"].to_pylist())
        completed = CompletedInput(
            input=source.location,
            made_from=manifest.made_from(job.models, source),
            rows=rides.total() + reasons.total(),
            scored=rides.total(),
            rejected=reasons.total(),
            reasons=dict(sorted(reasons.items())),
            months=dict(sorted(errors.items())),
            rides=dict(sorted(rides.items())),
            files=sorted(part.name for part in output.finish()),
        )
        _publish(job, source, output, completed)
    return completed


def _scored_in_order(job: Job, source: Input, chunks: Iterator[Chunk]) -> Iterator[_ScoredChunk]:
    """Score *chunks* in parallel and yield them in their order."""
    pending: deque[tuple[Chunk, Future[_ScoredChunk]]] = deque()
    try:
        for chunk in chunks:
            if job.stop.is_set():
                raise _Stopped
            pending.append((chunk, job.workers.submit(_score_chunk, job.models, chunk)))
            if len(pending) == job.max_pending:
                yield _next_scored(job, source, pending)
        while pending:
            yield _next_scored(job, source, pending)
    finally:
        for _, future in pending:
            future.cancel()


def _next_scored(
    job: Job, source: Input, pending: deque[tuple[Chunk, Future[_ScoredChunk]]]
) -> _ScoredChunk:
    chunk, future = pending.popleft()
    try:
        scored = future.result()
    except pa.ArrowException:  # the message may quote a customer's data
        raise FileError(f"{source.location} is damaged") from None
    job.progress.read(source, chunk.rows, chunk.read)
    return scored


def _score_chunk(models: Models, chunk: Chunk) -> _ScoredChunk:
    parsed = chunk.parse()
    scored = scoring.score(models, parsed.rides)
    months = writer.by_month(scored.rides) if len(scored.rides) else []
    fields = [served.target.field for served in models]
    errors = {month: evaluation.error_sums(rides, fields) for month, rides in months}
    return _ScoredChunk(months, [parsed.rejected, scored.rejected], errors)


def _publish(job: Job, source: Input, output: PartitionedWriter, completed: CompletedInput) -> None:
    """Replace the output files of *source* by the files of *output*.

    The old manifest is removed first, and the new manifest *completed* is written last.
    """
    folder, manifest_name = job.output.folder, manifest.file_name(source)
    if manifest_name in job.names:
        folder.remove(manifest_name)
    for part in output.parts:
        folder.move(part.file, part.name)
    for name in manifest.output_files(source, job.names):
        if name not in completed.files:
            folder.remove(name)
    job.output.write(manifest_name, manifest.encode(completed))
