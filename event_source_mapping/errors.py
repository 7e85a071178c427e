"""The exceptions of the package; each message says what is wrong and what to do."""

from __future__ import annotations


class MappingError(Exception):
    """A mapping cannot be created or run with these settings, or from this stream."""


class CreateError(MappingError):
    """AWS would refuse to create the mapping; *code* and *status* are those of its response."""

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(f"{code} ({status}): {message}")
        self.code = code
        self.status = status
