"""The load on the service, and the choices in its design."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WINDOWS = (0, 1, 2, 5, 10, 20, 30, 60, 120, 300)
"""Seconds: the values of the template's parameter ``BatchWindowSeconds``."""


class Mode(StrEnum):
    """The capacity mode of both streams."""

    PROVISIONED = "provisioned"
    ON_DEMAND = "on-demand"
    ADVANTAGE = "on-demand-advantage"


class Archive(StrEnum):
    """The streams whose records are archived on S3."""

    NEITHER = "neither"
    RIDES = "rides"
    PREDICTIONS = "predictions"
    BOTH = "both"

    @property
    def rides(self) -> bool:
        return self in (Archive.RIDES, Archive.BOTH)

    @property
    def predictions(self) -> bool:
        return self in (Archive.PREDICTIONS, Archive.BOTH)


@dataclass(frozen=True, slots=True)
class Workload:
    """The load."""

    rides_per_second: float
    """The mean over a month."""
    record_bytes: int = 200
    """The size of a ride's record on the stream."""
    models: int = 1
    """The number of models; each scores all rides and publishes its own predictions."""
    peak: float = 4.0
    """The highest load divided by the mean; provisioned streams must have shards for it."""

    @property
    def highest(self) -> float:
        """Rides a second at the peak."""
        return self.rides_per_second * self.peak


@dataclass(frozen=True, slots=True)
class Design:
    """The choices.  The defaults are the template's."""

    mode: Mode = Mode.ON_DEMAND
    batch_size: int = 1000
    window_seconds: float = 1
    parallelization: int = 1
    memory_mb: int = 1769
    archive: Archive = Archive.BOTH
    firehose: bool = False
    """Whether Firehose writes the archive, as in an earlier design, and not a function."""
