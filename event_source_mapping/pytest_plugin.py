"""The pytest fixture `kinesis_mapping`.

Register it in your conftest.py: ``pytest_plugins = ["event_source_mapping.pytest_plugin"]``.
"""

from __future__ import annotations

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
from .virtual import VirtualMapping

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
        timeout: int | None = None,
        duration: float = 0.0,
        **settings: Any,
    ) -> VirtualMapping:
        """Map *handler* to a new stream in memory, or to *stream*.

        The settings come from the function with the logical id *function* in *template*.  The
        template's parameters have their defaults or the values in *parameters*.  *settings* are
        AWS's settings with names in snake case, and replace those of the template.
        `event_source_mapping.faults` describes *faults*.  *timeout* is the function's timeout in
        seconds.  *duration* is the time in seconds that each invocation takes on the virtual clock.

        Raises `MappingError` for settings that AWS refuses or that are not simulated.
        """
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
        self._create(stream, name)
        names = identity(STREAM, name)
        invoke = in_process(handler, names, default if timeout is None else timeout)
        plan = planned([faults] if isinstance(faults, str) else faults)
        return VirtualMapping(
            faulty(invoke, plan), settings_from(settings), names, stream=stream, duration=duration
        )

    def _create(self, stream: MemoryStream, function: str) -> None:
        """Raise `CreateError`, as AWS does, if *function* is already mapped to *stream*."""
        if any(other is stream and name == function for other, name in self._mapped):
            raise CreateError(
                "ResourceConflictException",
                409,
                f"the function {function} is mapped to this stream already; use another function",
            )
        self._mapped.append((stream, function))


@pytest.fixture
def kinesis_mapping() -> KinesisMapping:
    """Map a handler to a Kinesis stream in memory, with the settings of an event source mapping."""
    return KinesisMapping()
