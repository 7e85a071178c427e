"""Converts between UTC and New York's local time, by the same rule for one time and for arrays.

A time without an offset from UTC is New York's local time.  In autumn, one hour occurs twice: a
time in this hour means the first occurrence.  In spring, one hour is skipped: a time in this hour
means the time one hour later.

Since 1884, New York's offset from UTC has changed on whole hours only.  So for an array, the offset
is computed once for each hour in which it has times, and used for all times in that hour.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

NEW_YORK = ZoneInfo("America/New_York")

Micros = NDArray[np.int64]
"""Microseconds since 1970-01-01 00:00, shape (n,): of instants in UTC, or of local times."""

EPOCH = datetime(1970, 1, 1)
EPOCH_UTC = EPOCH.replace(tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WHOLE_HOURS = (datetime(1884, 1, 1) - EPOCH) // timedelta(hours=1)
FEW = 16  # for fewer times, a loop is faster than array operations
MAX_HOURS = 1 << 20  # 120 years, the largest table of offsets; a loop handles wider ranges

FIRST_YEAR, LAST_YEAR = 2, 9998
FIRST_MICROS = (datetime(FIRST_YEAR, 1, 1) - EPOCH) // MICROSECOND
END_MICROS = (datetime(LAST_YEAR + 1, 1, 1) - EPOCH) // MICROSECOND


def has_room(moment: datetime) -> bool:
    """Return whether *moment* can be converted to any time zone.

    At the ends of Python's calendar, the result of a conversion may be outside the calendar.
    """
    return FIRST_YEAR <= moment.year <= LAST_YEAR


def new_york(moment: datetime) -> datetime:
    """Return *moment* in New York's local time, with the offset from UTC.

    >>> new_york(datetime(2021, 3, 1, 13, 15, tzinfo=UTC)).hour
    8
    >>> new_york(datetime(2021, 3, 14, 2, 30)).hour  # the clocks went from 2 to 3
    3
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=NEW_YORK, fold=0).astimezone(UTC)
    return moment.astimezone(NEW_YORK)


def instant(moment: datetime) -> int:
    """Return *moment* as microseconds since 1970 in UTC; without an offset, it is New York time.

    >>> instant(datetime(1970, 1, 1, 19)) // HOUR
    24
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=NEW_YORK, fold=0)
    return (moment - EPOCH_UTC) // MICROSECOND


def instants(shown: Micros) -> Micros:
    """Convert *shown*, New York local times, to times in UTC, shape (n,).

    If an hour occurs twice or never, the rule at the top of this module applies.
    """
    return shown - _offsets(shown, _offset_of_shown)


def clocks(instants: Micros) -> Micros:
    """Convert *instants*, times in UTC, to New York local times, shape (n,)."""
    return instants + _offsets(instants, _offset_at)


def hours(shown: Micros) -> NDArray[np.int64]:
    """Return the hour, 0 to 23, of each local time in *shown*, shape (n,)."""
    return shown // HOUR % 24


def minutes_of_day(shown: Micros) -> NDArray[np.int64]:
    """Return the minute of the day, 0 to 1439, of each local time in *shown*, shape (n,)."""
    return shown // MINUTE % (24 * 60)


def weekdays(shown: Micros) -> NDArray[np.int64]:
    """Return the weekday, 0 (Monday) to 6, of each local time in *shown*, shape (n,)."""
    return (shown // DAY + 3) % 7  # 1970 began on a Thursday


def _offsets(moments: Micros, offset: Callable[[int], int]) -> Micros:
    """Return New York's offset from UTC at each of *moments*, in microseconds, shape (n,).

    *offset* returns the offset at one moment.  It is called once for each hour that has moments.
    But if there are fewer than `FEW` moments, if some are before 1884, or if they span more than
    `MAX_HOURS`, it is called for each moment.
    """
    if len(moments) < FEW:
        return np.array([offset(moment) for moment in moments.tolist()], dtype=np.int64)
    hours = moments // HOUR
    first = int(hours.min())
    if first < WHOLE_HOURS or int(hours.max()) - first > MAX_HOURS:
        return np.array([offset(moment) for moment in moments.tolist()], dtype=np.int64)
    places = hours - first
    table = np.zeros(int(places.max()) + 1, dtype=np.int64)
    table[places] = 1  # marks the hours that occur
    occurring = np.flatnonzero(table)
    table[occurring] = [offset((first + hour) * HOUR) for hour in occurring.tolist()]
    return table[places]


@lru_cache(100_000)
def _offset_of_shown(shown: int) -> int:
    """Return New York's offset from UTC at the local time *shown*, in microseconds."""
    return shown - instant(EPOCH + timedelta(microseconds=shown))


@lru_cache(100_000)
def _offset_at(moment: int) -> int:
    """Return New York's offset from UTC at the instant *moment*, in microseconds."""
    local = new_york(EPOCH_UTC + timedelta(microseconds=moment))
    return (local.replace(tzinfo=None) - EPOCH) // MICROSECOND - moment
