"""AWS Lambda entry point of the batch on a schedule: scores one window of the archive.

Wires once at init.  The window follows from the scheduled time in the event, so a retry or a late
run scores the same.  Each object of the archive is scored whole or not at all, and has a note then
(see `runs`): a run does what has none, be it that an earlier one was cut off, or that the object
came late.  The success marker is the last thing written.
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

from model_service import buckets
from model_service.batch import job, schedule
from model_service.batch.schedule import Window
from model_service.datasets import files
from model_service.datasets.files import Input, Output
from model_service.datasets.manifest import Done, Failed
from model_service.errors import EventError, FileError
from model_service.models import served
from model_service.settings import BatchSettings, ScheduleSettings

MARKER = "_SUCCESS"
SIDE_BY_SIDE = 2  # objects at a time
SILENT = job.Progress(lambda *_: None, lambda *_: None)


class Event(Struct, frozen=True):
    """What the schedule sends, or whoever runs a window again."""

    scheduled_time: Annotated[datetime, Meta(tz=True)]
    force: bool = False


class Report(Struct, frozen=True):
    """What a window came to: the answer, and the success marker."""

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
models = served.load(BatchSettings.from_env(os.environ))


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Score the window before the event's scheduled time.

    Raises `EventError`, and, so that Lambda tries again, `FileError` and `OutputError`.
    """
    started = time.monotonic()
    asked = _asked(event)
    window = schedule.before(asked.scheduled_time, settings.batch_window)
    location = f"{settings.output_location.rstrip('/')}/{window.path}"
    with files.output(location) as output:
        output.remove(MARKER)  # what it says is not so until all is done again
        done = _score(_objects(window), output, force=asked.force)
        report = Report(
            window=window.path,
            objects=len(done),
            rows=sum(one.rows for one in done),
            scored=sum(one.scored for one in done),
            rejected=sum(one.rejected for one in done),
            output=location,
        )
        _mark(report, output)
    now = datetime.now(UTC)
    print(
        schedule.log_line(
            done_at=now,
            scored=report.scored,
            rejected=sum((Counter(one.reasons) for one in done), Counter[str]()),
            seconds=time.monotonic() - started,
            delay_seconds=(now - asked.scheduled_time).total_seconds(),
        )
    )
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found


def _asked(event: dict[str, Any]) -> Event:
    try:
        return msgspec.convert(event, Event)
    except msgspec.ValidationError as exc:
        raise EventError(f"the event is not of the schedule: {exc}") from None


def _objects(window: Window) -> list[Input]:
    """Those of the archive; none where nobody rode."""
    pattern = f"{settings.archive_location.rstrip('/')}/{window.pattern}"
    return sorted((Input(*one) for one in buckets.find(pattern)), key=lambda one: one.location)


def _score(inputs: Sequence[Input], output: Output, *, force: bool) -> list[Done]:
    outcomes = job.score(
        inputs,
        models,
        output,
        workers=os.process_cpu_count() or 1,
        side_by_side=SIDE_BY_SIDE,
        progress=SILENT,
        force=force,
    )
    if failed := [one for one in outcomes if isinstance(one, Failed)]:
        raise FileError(f"{len(failed)} of {len(inputs)} objects cannot be read: {failed[0].why}")
    return [one for one in outcomes if isinstance(one, Done)]


def _mark(report: Report, output: Output) -> None:
    file = output.scratch / MARKER
    file.write_bytes(msgspec.json.encode(report) + b"\n")
    output.move(file, MARKER)
