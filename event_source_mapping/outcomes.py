"""Turns the result of an invocation into an event of the core and a text for people."""

from __future__ import annotations

from dataclasses import dataclass

from .decisions import Invoke
from .events import Answered, Ended, Failed, Throttled
from .functions import NotInvoked, Raised, Result
from .responses import problem, processed, reports
from .settings import PARTIAL_RESPONSES, Settings
from .timeline import Note, Remark

SUCCEEDED, PARTLY, FAILED, THROTTLED = "succeeded", "partly succeeded", "failed", "throttled"
NO_PROGRESS = "the response reports the first record of the batch"
IGNORED = (
    "batchItemFailures in the response is ignored: to use it, set"
    f' function_response_types=["{PARTIAL_RESPONSES}"]'
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an invocation, as an event of the core and as texts."""

    event: Ended
    word: str
    """``succeeded``, ``partly succeeded``, ``failed`` or ``throttled``."""
    error: str | None
    """Why the invocation failed or was throttled; None if it succeeded."""
    remark: str | None = None
    """A text about a response that was ignored; None if it was not."""


def outcome_of(call: Invoke, result: Result, settings: Settings) -> Outcome:
    """Return the outcome of the invocation *call*, which had the result *result*."""
    where = call.shard_id, call.lane, call.request
    if isinstance(result, NotInvoked):
        return Outcome(Throttled(*where), THROTTLED, result.reason)
    if isinstance(result, Raised):
        return Outcome(Failed(*where), FAILED, result.error)
    event = Answered(*where, result.response)
    done: int | None = len(call.records)
    if settings.reports_failures:
        done = processed(call.records, result.response)
    if done is None:
        return Outcome(event, FAILED, problem(call.records, result.response))
    if done == 0:
        return Outcome(event, FAILED, NO_PROGRESS)
    ignored = reports(result.response) and not settings.reports_failures
    word = SUCCEEDED if done == len(call.records) else PARTLY
    return Outcome(event, word, None, IGNORED if ignored else None)


def notes(call: Invoke, outcome: Outcome) -> tuple[Note | Remark, ...]:
    """Return the notes for the timeline about the *outcome* of the invocation *call*."""
    if outcome.word == FAILED:
        return (Note(call.shard_id, call.records, str(outcome.error)),)
    if outcome.remark is not None:
        return (Remark(call.shard_id, call.records, outcome.remark),)
    return ()
