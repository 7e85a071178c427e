"""Converts between UTC and New York's local time, by the same rule for one time and for arrays.

A time without an offset from UTC is New York's local time.  In autumn, one hour occurs twice: a
time in this hour means the first occurrence.  In spring, one hour is skipped: a time in this hour
means the time one hour later.

Since 1884, New York's offset from UTC has changed on whole hours only.  So for an array, the offset
is computed once for each hour that occurs, and used for all times in that hour.
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
    """Return whether *moment* can be converted to any time zone within Python's calendar."""
    return FIRST_YEAR <= moment.year <= LAST_YEAR


def new_york(moment: datetime) -> datetime:
    """Return *moment* in New York's local time, with its offset.

    >>> new_york(datetime(2021, 3, 1, 13, 15, tzinfo=UTC)).hour
    8
    >>> new_york(datetime(2021, 3, 14, 2, 30)).hour  # the clocks went from 2 to 3
    3
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=NEW_YORK, fold=0).astimezone(UTC)
    return moment.astimezone(NEW_YORK)


def instant(moment: datetime) -> int:
    """Return *moment* as microseconds since 1970 in UTC.

    >>> instant(datetime(1970, 1, 1, 19)) // HOUR
    24
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=NEW_YORK, fold=0)
    return (moment - EPOCH_UTC) // MICROSECOND


def instants(shown: Micros) -> Micros:
    """Return the instants in UTC of New York's local times *shown*, shape (n,)."""
    return shown - _offsets(shown, _offset_of_shown)


def clocks(instants: Micros) -> Micros:
    """Return New York's local times at *instants* in UTC, shape (n,)."""
    return instants + _offsets(instants, _offset_at)


def hours(shown: Micros) -> NDArray[np.int64]:
    """Return the hour of each local time, 0 to 23, shape (n,)."""
    return shown // HOUR % 24


def minutes_of_day(shown: Micros) -> NDArray[np.int64]:
    """Return the minute of the day of each local time, 0 to 1439, shape (n,)."""
    return shown // MINUTE % (24 * 60)


def weekdays(shown: Micros) -> NDArray[np.int64]:
    """Return the weekday of each local time, Monday is 0, shape (n,)."""
    return (shown // DAY + 3) % 7  # 1970 began on a Thursday


def _offsets(moments: Micros, offset: Callable[[int], int]) -> Micros:
    """Return the *offset* of each moment, in microseconds, shape (n,).

    *offset* is called once for each hour that occurs; once for each moment if some moments are
    before 1884, if there are fewer than `FEW`, or if they span more than `MAX_HOURS`.
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
