"""The function: the real `stream.process` in virtual time, which may be killed at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from model_service import stream
from model_service.errors import ModelError
from model_service.kinesis.calls import IN_FLIGHT
from model_service.kinesis.publisher import KinesisPublisher
from model_service.kinesis.rejects import S3Rejects
from model_service.scoring import Model, Target

from . import models
from .clock import Clock
from .faults import Faults
from .ledger import CRASHED, Batch, Ledger, Violation
from .options import Options
from .services import Bucket, Later, OutputStream
from .workload import FIELD, MODEL_NAME

TARGET = Target(MODEL_NAME, FIELD)
CHECK_SECONDS = 0.0001
MAX_STEP = 60  # a kill comes at one of this many steps, unless the function returns before

FAILED = object()
"""The response of an invocation that raised an exception, timed out or was killed."""


class Killed(BaseException):
    """Ends the function's process; not an `Exception`, so no code of the service catches it."""


class Broken(Exception):
    """The exception that a model raises while it is broken."""


class Outcome(NamedTuple):
    """How an invocation ended."""

    response: Any
    """The function's response, or `FAILED`."""
    what: str
    """A few words about the end, for the trace."""


@dataclass(slots=True)
class Invocation:
    """One invocation of the function; mutable, because it counts its steps."""

    options: Options
    clock: Clock
    faults: Faults
    ledger: Ledger
    batch: Batch
    pauses: Random
    later: Later
    deadline: float
    killed_at: int
    """The number of the step at which the function is killed; negative for never."""
    steps: int = 0
    reading: bool = True
    """Whether the function still reads its records: it has not used the model, Kinesis or S3."""

    def run(self) -> Outcome:
        """Run the function; the clock then shows the time of its end."""
        try:
            return self._run()
        except Killed as exc:
            self.clock.now = min(self.clock.now, self.deadline)
            return Outcome(FAILED, str(exc))
        except ModelError:
            return Outcome(FAILED, "the model is at fault")
        except Exception as exc:
            raise Violation(CRASHED, f"the function raises {type(exc).__name__}: {exc}") from exc

    def _run(self) -> Outcome:
        services = (self.clock, self.faults, self.ledger, self.batch, self.step, self.later)
        report = stream.process(
            {"Records": [record.envelope for record in self.batch.records]},
            model=self._model(),
            target=TARGET,
            publish=KinesisPublisher(
                OutputStream(*services),  # type: ignore[arg-type]
                "ride_predictions",
                call_all=self.call_all,
                sleep=self.sleep,
                uniform=self.pauses.uniform,
            ),
            keep=S3Rejects(
                Bucket(*services),  # type: ignore[arg-type]
                "s3://rejects/prefix",
                MODEL_NAME,
                call_all=self.call_all,
                now=self.clock.moment,
            ),
            time_left=self.time_left,
            now=self.clock.moment,
            timer=lambda: self.clock.now,
        )
        response = stream.response(report, with_predictions=self.options.onnx)
        self.ledger.report(self.batch, report, response)
        self.step()
        self.in_time()
        what = (
            f"published {len(report.published)}, rejected {len(report.rejected)},"
            f" to retry {len(report.to_retry)} {dict(report.retry_reasons) or ''}"
        )
        return Outcome(response, what.rstrip())

    def _model(self) -> Model:
        options, number = self.options, self.batch.version
        if options.onnx:
            return models.OnnxModel(number, options.ride_seconds, self.score)
        return models.StubModel(number, options.ride_seconds, options.intervals, self.score)

    def step(self) -> None:
        """Count a step of the function, which may be killed at this step."""
        self.reading = False
        self._count()

    def _count(self) -> None:
        if self.steps == self.killed_at:
            raise Killed("killed")
        self.steps += 1

    def in_time(self) -> None:
        """Raise `Killed` if the invocation has reached its timeout."""
        if self.clock.now >= self.deadline:
            raise Killed("timed out")

    def time_left(self) -> float:
        """Return the seconds that are left, in whole milliseconds as in Lambda's context.

        The function calls this once for each record that it reads, so the time for reading a record
        passes here.
        """
        self.clock.advance(self.options.read_seconds if self.reading else CHECK_SECONDS)
        self.in_time()
        self._count()
        return int(1000 * (self.deadline - self.clock.now)) / 1000

    def score(self, seconds: float) -> None:
        """Let the *seconds* pass in which the model scores; raise `Broken` if it is broken."""
        self.clock.advance(seconds)
        self.in_time()
        self.step()
        if self.faults.is_out("model"):
            raise Broken

    def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.in_time()
        self.step()

    def call_all[T](self, calls: Sequence[Callable[[], T]], seconds: float) -> list[T | None]:
        """Make *calls* at the same virtual time, and wait at most *seconds* for them.

        This is a `model_service.kinesis.calls.CallAll` function: the result of a late call is None.
        """
        begun = self.clock.now
        limit = begun + max(0.0, seconds)
        free = [begun] * IN_FLIGHT
        results: list[T | None] = []
        for call in calls:
            slot = free.index(min(free))
            if free[slot] > begun and free[slot] >= limit:
                results.append(None)  # it waits for its turn at the deadline, and is not made
                continue
            self.clock.now = free[slot]
            result = call()
            free[slot] = self.clock.now
            results.append(result if self.clock.now <= limit else None)
        self.clock.now = min(max(free), limit)
        return results
