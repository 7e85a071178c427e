"""The virtual clock of a run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

START = 1_654_161_514.0
"""The virtual time at which every run begins, in seconds since 1970: 2022-06-02T09:18:34Z."""


@dataclass(slots=True)
class Clock:
    """The virtual time in seconds since 1970; mutable, because everything in a run reads it."""

    now: float = START

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)
