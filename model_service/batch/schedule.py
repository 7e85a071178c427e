"""Finds the window (the hour, day or month) of the archive that a scheduled run scores.

The archive has a folder for each hour of arrival, in UTC.  A run scores the last window that ended
at or before its scheduled time.  The time at which the run really starts does not matter, so a
retry or a late run scores the same window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .. import emf
from ..emf import Destination, Metric

LENGTHS = ("hour", "day", "month")


@dataclass(frozen=True, slots=True)
class Window:
    """An hour, a day or a month in UTC."""

    start: datetime
    length: str
    """The unit of the window: one of `LENGTHS`."""

    @property
    def path(self) -> str:
        """Return the folder of the window in the archive of a stream and in the output."""
        return self.start.strftime(
            {"hour": "%Y/%m/%d/%H", "day": "%Y/%m/%d", "month": "%Y/%m"}[self.length]
        )

    @property
    def pattern(self) -> str:
        """Return a glob that matches the window's objects in the archive of a stream."""
        hours = {"hour": "", "day": "*/", "month": "*/*/"}[self.length]
        return f"{self.path}/{hours}*"


def last_window(moment: datetime, length: str) -> Window:
    """Return the last window of *length* (one of `LENGTHS`) that ended at or before *moment*.

    >>> last_window(datetime(2026, 3, 1, 0, 20, tzinfo=UTC), "month").path
    '2026/02'
    >>> last_window(datetime(2026, 3, 1, 0, 20, tzinfo=UTC), "hour").pattern
    '2026/02/28/23/*'
    """
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if length == "hour":
        return Window(hour - timedelta(hours=1), length)
    midnight = hour.replace(hour=0)
    if length == "day":
        return Window(midnight - timedelta(days=1), length)
    return Window((midnight.replace(day=1) - timedelta(days=1)).replace(day=1), length)


def log_line(
    *,
    done_at: datetime,
    scored: int,
    rejected: Mapping[str, int],
    seconds: float,
    delay_seconds: float,
    destination: Destination,
) -> str:
    """Return the log line of a scheduled run, with its metrics.

    *done_at* is the time of its end, and *scored* its number of scored rides.  *rejected* has the
    number of rejected rides by reason.  *seconds* is the duration of the run, and *delay_seconds*
    is the time from its scheduled start to its end.
    """
    rejections = sum(rejected.values())
    return emf.line(
        done_at,
        {"door": "batch"},
        destination=destination,
        metrics={
            "batch_runs": emf.count(1),
            "batch_rows": emf.count(scored + rejections),
            "batch_scored": emf.count(scored),
            "batch_rejected": emf.count(rejections),
            "batch_seconds": Metric("Seconds", [seconds]),
            "batch_delay_seconds": Metric("Seconds", [delay_seconds]),
        },
        fields={"rejections": emf.rejections(rejected)},
    )
