"""The pytest fixture `kinesis_mapping`.

Register it in your conftest.py: ``pytest_plugins = ["event_source_mapping.pytest_plugin"]``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from . import template as templates
from .errors import CreateError, MappingError
from .faults import faulty, planned
from .functions import Handler, in_process
from .identity import identity
from .memory import MemoryStream
from .settings import settings_from
from .virtual import VirtualMapping, not_negative

STREAM = "stream"
TIMEOUT_SECONDS = 60


class KinesisMapping:
    """Creates mappings in a test.  It is a class because it keeps a list of these mappings."""

    def __init__(self) -> None:
        self._mapped: list[tuple[MemoryStream, str]] = []

    def __call__(
        self,
        handler: Handler,
        *,
        template: str | Path | Mapping[str, Any] | None = None,
        function: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        event: str | None = None,
        faults: str | Sequence[str] = (),
        stream: MemoryStream | None = None,
        shards: int = 1,
        timeout: float | None = None,
        duration: float = 0.0,
        **settings: Any,
    ) -> VirtualMapping:
        """Map *handler* to a new stream in memory, or to *stream*.

        The settings come from the function with the logical id *function* in *template*.  The
        template's parameters have their defaults or the values in *parameters*.  *settings* are
        AWS's settings with names in snake case, and replace those of the template.
        `event_source_mapping.faults` describes *faults*.  *timeout* is the function's timeout in
        seconds.  *duration* is the time in seconds that each invocation takes on the virtual clock.

        Raises `MappingError` for settings that AWS refuses or that are not simulated, and for
        other arguments of the wrong kind.
        """
        if not callable(handler):
            raise MappingError("The handler must be a function, not its name: import it first.")
        if stream is not None and not isinstance(stream, MemoryStream):
            raise MappingError("stream= must be the stream of another mapping: mapping.stream.")
        if template is None:
            _refuse(function=function, parameters=parameters, event=event)
        name = function or str(getattr(handler, "__name__", "function"))
        default = TIMEOUT_SECONDS
        if template is not None:
            if function is None:
                raise MappingError("Give function=, the logical id of the function in template=.")
            source = template if isinstance(template, Mapping) else templates.load(template)
            found = templates.mapping_of(
                source, function, parameters=parameters, given=settings, event=event
            )
            settings, default = dict(found.keywords), found.timeout
        stream = MemoryStream(shards) if stream is None else stream
        names = identity(STREAM, name)
        timeout = default if timeout is None else not_negative("timeout", timeout)
        duration = not_negative("duration", duration)
        if isinstance(faults, str) or not isinstance(faults, Sequence):
            faults = [faults]
        plan = planned(faults)
        invoke = faulty(in_process(handler, names, timeout), plan)
        checked = settings_from(settings, others=OTHERS)
        self._create(stream, name)
        return VirtualMapping(invoke, checked, names, stream=stream, duration=duration)

    def _create(self, stream: MemoryStream, function: str) -> None:
        """Raise `CreateError`, as AWS does, if *function* is already mapped to *stream*."""
        if any(other is stream and name == function for other, name in self._mapped):
            raise CreateError(
                "ResourceConflictException",
                409,
                f"the function {function} is mapped to this stream already; use another function",
            )
        self._mapped.append((stream, function))


def _refuse(**arguments: object) -> None:
    """Raise `MappingError` if one of *arguments*, which need a template, is given without it."""
    for name, value in arguments.items():
        if value is not None:
            raise MappingError(f"{name}= needs template=: add the template, or leave {name}= out.")


OTHERS = tuple(
    name
    for name, parameter in inspect.signature(KinesisMapping.__call__).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)
"""The keywords of a `KinesisMapping` that are no settings."""


@pytest.fixture
def kinesis_mapping() -> KinesisMapping:
    """Map a handler to a Kinesis stream in memory, with the settings of an event source mapping."""
    return KinesisMapping()
