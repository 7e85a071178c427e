"""The parts of Lambda's context that a function on a stream uses."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ..scoring import TimeLeft

UNBOUNDED_SECONDS = 900.0  # if the caller passes no context: Lambda's own maximum


class Context(Protocol):
    """Lambda's context."""

    @property
    def aws_request_id(self) -> str: ...

    @property
    def function_version(self) -> str: ...

    def get_remaining_time_in_millis(self) -> int: ...


class Invocation(NamedTuple):
    """The invocation of the function that processed a batch; unknown texts are empty."""

    request_id: str = ""
    function_version: str = ""
    cold_start: bool = False
    """Whether it was the first invocation of its function instance."""
    replay: bool = False
    """Whether an operator sent the records again, and not the stream."""


def identify(context: Context | None, *, cold_start: bool, replay: bool = False) -> Invocation:
    """Return the invocation with the id in *context*; the other arguments become its fields."""
    if context is None:
        return Invocation(cold_start=cold_start, replay=replay)
    return Invocation(context.aws_request_id, context.function_version, cold_start, replay)


def time_left(context: Context | None) -> TimeLeft:
    """Return a function that returns the seconds left until Lambda stops the invocation."""
    if context is None:
        return lambda: UNBOUNDED_SECONDS
    return lambda: context.get_remaining_time_in_millis() / 1000
