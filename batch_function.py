"""AWS Lambda entry point of batch scoring on a schedule: scores one window of the archive.

The settings are read and the models are loaded once, when Lambda starts the function.  The window
depends on the scheduled time in the event, so a retry or a late run scores the same window.  Each
object of the archive is scored either completely or not at all, and gets a manifest when it is
scored (see `batch.job`).  A run scores only the objects without a manifest: those that arrived
late, or that an earlier run did not finish.  The last file to be written is the marker
``_SUCCESS``.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from model_service.batch import job, schedule
from model_service.batch.manifest import CompletedInput, FailedInput
from model_service.datasets import files
from model_service.datasets.files import Input, Output
from model_service.emf import Destination
from model_service.errors import EventError, FileError
from model_service.models import served
from model_service.settings import BatchSettings, ScheduleSettings

MARKER = "_SUCCESS"
PARALLEL = 2  # objects to score at the same time


class ScheduledEvent(Struct, frozen=True):
    """The event that the schedule sends; an operator can send it, too, to score a window again."""

    scheduled_time: Annotated[datetime, Meta(tz=True)]
    force: bool = False


class WindowReport(Struct, frozen=True):
    """The result of a window: the function's response, and the content of the marker file."""

    window: str
    objects: int
    rows: int
    scored: int
    rejected: int
    output: str


settings = ScheduleSettings.from_env(os.environ)
logging.getLogger().setLevel(settings.log_level)
for library in ("boto3", "botocore", "urllib3"):  # at DEBUG they log what is sent
    logging.getLogger(library).setLevel(logging.INFO)
destination = Destination(settings.powertools_metrics_namespace, settings.powertools_service_name)
models = served.load(BatchSettings.from_env(os.environ))


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Score the last window that ended at or before the event's scheduled time.

    Raises `EventError` if *event* is malformed.  Raises `FileError` if an object cannot be read,
    and `OutputError` if the output cannot be written, so that Lambda runs the function again.
    """
    started = time.monotonic()
    scheduled = _decode(event)
    window = schedule.last_window(scheduled.scheduled_time, settings.batch_window)
    location = f"{settings.output_location.rstrip('/')}/{window.path}"
    inputs = files.matching(f"{settings.archive_location.rstrip('/')}/{window.pattern}")
    with files.output(location) as output:
        output.folder.remove(MARKER)  # until all objects are scored again
        completed = _score(inputs, output, force=scheduled.force)
        report = WindowReport(
            window=window.path,
            objects=len(completed),
            rows=sum(one.rows for one in completed),
            scored=sum(one.scored for one in completed),
            rejected=sum(one.rejected for one in completed),
            output=location,
        )
        output.write(MARKER, msgspec.json.encode(report) + b"\n")
    now = datetime.now(UTC)
    print(
        schedule.log_line(
            done_at=now,
            scored=report.scored,
            rejected=sum((Counter(one.reasons) for one in completed), Counter[str]()),
            seconds=time.monotonic() - started,
            delay_seconds=(now - scheduled.scheduled_time).total_seconds(),
            destination=destination,
        )
    )
    response: dict[str, Any] = msgspec.to_builtins(report)
    return response


def _decode(event: dict[str, Any]) -> ScheduledEvent:
    try:
        return msgspec.convert(event, ScheduledEvent)
    except msgspec.ValidationError as exc:
        raise EventError(f"not an event of the schedule: {exc}") from None


def _score(inputs: Sequence[Input], output: Output, *, force: bool) -> list[CompletedInput]:
    results = job.score_files(
        inputs,
        models,
        output,
        workers=os.process_cpu_count() or 1,
        parallel=PARALLEL,
        force=force,
    )
    if failed := [one for one in results if isinstance(one, FailedInput)]:
        raise FileError(
            f"{len(failed)} of {len(inputs)} objects cannot be read: {failed[0].reason}"
        )
    return [one for one in results if isinstance(one, CompletedInput)]
