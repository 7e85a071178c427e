"""New York's clocks over whole columns: the rules of `rides.new_york`, without a loop a ride.

Since 1884 the clocks there change on whole hours alone, so an hour's offset from UTC is looked up
once and holds for every moment in it.  Where one is earlier, they go one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .rides import NEW_YORK

Micros = NDArray[np.int64]
"""Microseconds since 1970: of an instant, or of what a clock shows taken for UTC."""

EPOCH = datetime(1970, 1, 1)
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WHOLE_HOURS = (datetime(1884, 1, 1) - EPOCH) // timedelta(hours=1)
MOST_HOURS = 1 << 20  # 120 years; rides that are further apart go one by one
YEARS = (
    int((datetime(2, 1, 1) - EPOCH) / timedelta(microseconds=1)),
    int((datetime(9999, 1, 1) - EPOCH) / timedelta(microseconds=1)),
)
"""From when on, and until when, a pick-up time has room to change the time zone."""


def instants(shown: Micros) -> Micros:
    """When New York's clocks showed what they showed.

    An hour that occurs twice means the first; one that does not exist is taken an hour later.
    """
    return shown - _offsets(shown, _before)


def clocks(instants: Micros) -> Micros:
    """What New York's clocks show."""
    return instants + _offsets(instants, _at)


def hours(shown: Micros) -> NDArray[np.int64]:
    """0 to 23."""
    return shown // HOUR % 24


def minutes(shown: Micros) -> NDArray[np.int64]:
    """Of the hour, 0 to 59."""
    return shown // MINUTE % 60


def weekdays(shown: Micros) -> NDArray[np.int64]:
    """Monday is 0."""
    return (shown // DAY + 3) % 7  # 1970 began on a Thursday


def _offsets(moments: Micros, offset: Callable[[int], int]) -> Micros:
    """Of each moment, in microseconds; *offset* says it of one."""
    if not len(moments):
        return moments
    hours = moments // HOUR
    first = int(hours.min())
    if first < WHOLE_HOURS or int(hours.max()) - first > MOST_HOURS:
        return np.array([offset(moment) for moment in moments.tolist()], dtype=np.int64)
    places = hours - first
    table = np.zeros(int(places.max()) + 1, dtype=np.int64)
    table[places] = 1  # an hour that is there
    there = np.flatnonzero(table)
    table[there] = [offset((first + hour) * HOUR) for hour in there.tolist()]
    return table[places]


@lru_cache(100_000)
def _before(shown: int) -> int:
    """The offset of a time that a clock shows; where it is in doubt, that before the change."""
    return _micros((EPOCH + timedelta(microseconds=shown)).replace(tzinfo=NEW_YORK, fold=0))


@lru_cache(100_000)
def _at(moment: int) -> int:
    """The offset at an instant."""
    instant = (EPOCH + timedelta(microseconds=moment)).replace(tzinfo=UTC)
    return _micros(instant.astimezone(NEW_YORK))


def _micros(local: datetime) -> int:
    offset = local.utcoffset()
    assert offset is not None, "New York has an offset at any time"
    return offset // timedelta(microseconds=1)
