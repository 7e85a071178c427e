"""A run: files of rides in, files of answers out, each input whole or not at all.

Chunks are scored side by side on all cores (a model has one thread) and written in their order.
When all files of an input have their names, a note of what was done is written, and that is what
makes it done: a run that was killed does again what has no note, to the same bytes, and a run whose
inputs all have theirs does nothing.  Another input, model or range makes a note that does not fit.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from threading import Event
from typing import NamedTuple

import pyarrow as pa

from ..datasets import files as places
from ..datasets import manifest, writer
from ..datasets.files import Input, Output
from ..datasets.formats import reader
from ..datasets.formats.reader import Chunk
from ..datasets.manifest import Done, Failed, Outcome
from ..datasets.writer import Partitions
from ..errors import FileError
from ..models.served import Models
from . import evaluation, scoring
from .evaluation import Tally


class Progress(NamedTuple):
    """How far a run is; called from several threads."""

    read: Callable[[Input, int, float], object]
    """The rows since it was last called, and the share of the file by now."""
    finished: Callable[[Input, Outcome, bool], object]
    """An input; whether it had been done before."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the inputs of a run share."""

    models: Models
    output: Output
    workers: Executor
    in_flight: int
    """Chunks of one input."""
    progress: Progress
    stop: Event = field(default_factory=Event)


class _Scored(NamedTuple):
    months: list[tuple[str, pa.RecordBatch]]
    rejected: list[pa.RecordBatch]
    tallies: dict[str, Tally]


class _Stopped(Exception):
    """Another input has met what ends the run."""


def score(
    inputs: Sequence[Input],
    models: Models,
    output: Output,
    *,
    workers: int,
    side_by_side: int,
    progress: Progress,
    force: bool = False,
) -> list[Outcome]:
    """What became of each input, in order; *side_by_side* of them are open at a time.

    Raises `OutputError` and `ModelError`, with which the run ends.
    """
    names = output.names()
    with ThreadPoolExecutor(workers) as pool, ThreadPoolExecutor(side_by_side) as readers:
        run = Run(models, output, pool, 4 * workers, progress)

        def one(source: Input) -> Outcome:
            done = None if force else manifest.fitting(source, names, run.output, run.models)
            outcome = done or _outcome(run, source, names)
            progress.finished(source, outcome, done is not None)
            return outcome

        futures = [readers.submit(one, source) for source in inputs]
        try:
            return [future.result() for future in _as_they_end(futures)]
        except BaseException:  # Ctrl-C, too: what still runs has to end
            run.stop.set()
            readers.shutdown(cancel_futures=True)
            raise


def _as_they_end(futures: Sequence[Future[Outcome]]) -> Sequence[Future[Outcome]]:
    """All of them, in order; but what ends the run is raised when it happens."""
    for future in as_completed(futures):
        future.result()
    return futures


def _outcome(run: Run, source: Input, names: Sequence[str]) -> Outcome:
    try:
        return _score(run, source, names)
    except FileError as exc:
        return Failed(source.location, str(exc))


def _score(run: Run, source: Input, names: Sequence[str]) -> Done:
    rides: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    months: dict[str, Tally] = {}
    with (
        places.local_copy(source) as path,
        writer.writing(run.output.scratch, source.name) as files,
    ):
        for found in _in_order(run, source, reader.chunks(path, name=source.location)):
            for month, batch in found.months:
                files.write(month, batch)
                rides[month] += len(batch)
                months[month] = evaluation.merged([months.get(month, {}), found.tallies[month]])
            for batch in found.rejected:
                files.reject(batch)
                reasons.update(batch["reason"].to_pylist())
        done = Done(
            input=source.location,
            made_from=manifest.made_from(run.models, source),
            rows=rides.total() + reasons.total(),
            scored=rides.total(),
            rejected=reasons.total(),
            reasons=dict(sorted(reasons.items())),
            months=dict(sorted(months.items())),
            rides=dict(sorted(rides.items())),
            files=sorted(part.name for part in files.finish()),
        )
        _publish(run, source, files, done, names)
    return done


def _publish(run: Run, source: Input, files: Partitions, done: Done, names: Sequence[str]) -> None:
    note = manifest.name(source)
    if note in names:
        run.output.remove(note)
    for part in files.parts:
        run.output.move(part.file, part.name)
    for name in manifest.made_of(source, names):
        if name not in done.files:
            run.output.remove(name)
    places.write(run.output, note, manifest.encode(done))


def _in_order(run: Run, source: Input, chunks: Iterator[Chunk]) -> Iterator[_Scored]:
    """What becomes of *chunks*, scored side by side."""
    waiting: deque[tuple[Chunk, Future[_Scored]]] = deque()
    try:
        for chunk in chunks:
            if run.stop.is_set():
                raise _Stopped
            waiting.append((chunk, run.workers.submit(_scored, run.models, chunk)))
            if len(waiting) == run.in_flight:
                yield _next(run, source, waiting)
        while waiting:
            yield _next(run, source, waiting)
    finally:
        for _, future in waiting:
            future.cancel()


def _next(run: Run, source: Input, waiting: deque[tuple[Chunk, Future[_Scored]]]) -> _Scored:
    chunk, future = waiting.popleft()
    try:
        scored = future.result()
    except pa.ArrowException:  # whose words may have a customer's
        raise FileError(f"{source.location} is damaged") from None
    run.progress.read(source, chunk.rows, chunk.read)
    return scored


def _scored(models: Models, chunk: Chunk) -> _Scored:
    parsed = chunk.parse()
    scored = scoring.score(models, parsed.rides)
    months = writer.by_month(scored.rides) if len(scored.rides) else []
    fields = [served.target.field for served in models]
    return _Scored(
        months,
        [parsed.rejected, scored.rejected],
        {month: evaluation.tally(rides, fields) for month, rides in months},
    )
