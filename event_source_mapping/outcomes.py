"""Turns the result of an invocation into an event of the core and a text for people."""

from __future__ import annotations

from dataclasses import dataclass

from .decisions import Invoke
from .events import Answered, Ended, Failed, Throttled
from .functions import NotInvoked, Raised, Result
from .responses import processed
from .settings import Settings

SUCCEEDED, PARTLY, FAILED, THROTTLED = "succeeded", "partly succeeded", "failed", "throttled"
INVALID = "the response is invalid, or names a record that is not in the batch"
NO_PROGRESS = "the response reports the first record of the batch"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an invocation, as an event of the core and as texts."""

    event: Ended
    word: str
    """``succeeded``, ``partly succeeded``, ``failed`` or ``throttled``."""
    error: str | None
    """Why the invocation failed or was throttled; None if it succeeded."""


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
        return Outcome(event, FAILED, INVALID)
    if done == 0:
        return Outcome(event, FAILED, NO_PROGRESS)
    return Outcome(event, SUCCEEDED if done == len(call.records) else PARTLY, None)
