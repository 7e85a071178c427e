"""New York's local time: one rule, for a single moment and for whole columns.

A time without an offset is New York's.  An hour that occurs twice in autumn means the first; an
hour that does not exist in spring is taken an hour later.

Since 1884 New York's offset from UTC has changed on whole hours only.  So a column looks the
offset of each hour up once, with the rule for a single moment, and uses it for all moments in
that hour.
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
"""Microseconds since 1970: of an instant in UTC, or of the time that a clock shows."""

EPOCH = datetime(1970, 1, 1)
EPOCH_UTC = EPOCH.replace(tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WHOLE_HOURS = (datetime(1884, 1, 1) - EPOCH) // timedelta(hours=1)
FEW = 16  # moments: below this a loop is faster than arrays
MAX_HOURS = 1 << 20  # 120 years: the largest table of offsets; a wider range is done in a loop

FIRST_YEAR, LAST_YEAR = 2, 9998
FIRST_MICROS = (datetime(FIRST_YEAR, 1, 1) - EPOCH) // MICROSECOND
END_MICROS = (datetime(LAST_YEAR + 1, 1, 1) - EPOCH) // MICROSECOND


def has_room(moment: datetime) -> bool:
    """Whether *moment* can be moved to any time zone without leaving Python's calendar."""
    return FIRST_YEAR <= moment.year <= LAST_YEAR


def new_york(moment: datetime) -> datetime:
    """*moment* on New York's clocks; a moment without an offset is New York's already.

    >>> new_york(datetime(2021, 3, 1, 13, 15, tzinfo=UTC)).hour
    8
    >>> new_york(datetime(2021, 3, 14, 2, 30)).hour  # the clocks went from 2 to 3
    3
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=NEW_YORK, fold=0).astimezone(UTC)
    return moment.astimezone(NEW_YORK)


def instant(moment: datetime) -> int:
    """*moment* as microseconds since 1970 in UTC.

    >>> instant(datetime(1970, 1, 1, 19)) // HOUR
    24
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=NEW_YORK, fold=0)
    return (moment - EPOCH_UTC) // MICROSECOND


def instants(shown: Micros) -> Micros:
    """The instants at which New York's clocks showed the times *shown*, shape (n,)."""
    return shown - _offsets(shown, _offset_of_shown)


def clocks(instants: Micros) -> Micros:
    """The times that New York's clocks show at *instants*, shape (n,)."""
    return instants + _offsets(instants, _offset_at)


def hours(shown: Micros) -> NDArray[np.int64]:
    """The hour of each time, 0 to 23."""
    return shown // HOUR % 24


def minutes_of_day(shown: Micros) -> NDArray[np.int64]:
    """The minute of the day of each time, 0 to 1439."""
    return shown // MINUTE % (24 * 60)


def weekdays(shown: Micros) -> NDArray[np.int64]:
    """The day of the week of each time; Monday is 0."""
    return (shown // DAY + 3) % 7  # 1970 began on a Thursday


def _offsets(moments: Micros, offset: Callable[[int], int]) -> Micros:
    """*offset* of each moment, in microseconds, looked up once an hour where that is exact."""
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
    """New York's offset from UTC when its clocks show *shown*."""
    return shown - instant(EPOCH + timedelta(microseconds=shown))


@lru_cache(100_000)
def _offset_at(moment: int) -> int:
    """New York's offset from UTC at the instant *moment*."""
    local = new_york(EPOCH_UTC + timedelta(microseconds=moment))
    return (local.replace(tzinfo=None) - EPOCH) // MICROSECOND - moment
