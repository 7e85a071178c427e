"""New York's clocks over whole columns: the rules of `rides.new_york`, without a loop a ride.

Since 1884 the clocks there change on whole hours alone, so an hour's offset from UTC is looked up
once and holds for every moment in it.  What is earlier goes one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from .rides import NEW_YORK

Micros = NDArray[np.int64]
"""Microseconds since 1970: of an instant, or of what a clock shows taken for UTC."""

EPOCH = datetime(1970, 1, 1)
SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
WHOLE_HOURS = int((datetime(1884, 1, 1) - EPOCH) / timedelta(microseconds=1))
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


def weekdays(shown: Micros) -> NDArray[np.int64]:
    """Monday is 0."""
    return (shown // DAY + 3) % 7  # 1970 began on a Thursday


def _offsets(moments: Micros, offset: Callable[[datetime], timedelta]) -> Micros:
    """Of each moment, in microseconds; *offset* says it of one."""
    units = np.where(moments < WHOLE_HOURS, moments, moments // HOUR * HOUR)
    different, place = np.unique(units, return_inverse=True)
    found = [
        offset(EPOCH + timedelta(microseconds=moment)) // timedelta(microseconds=1)
        for moment in different.tolist()
    ]
    return np.array(found, dtype=np.int64)[place]


def _before(shown: datetime) -> timedelta:
    """The offset of a time that a clock shows; where it is in doubt, that before the change."""
    return _known(shown.replace(tzinfo=NEW_YORK, fold=0).utcoffset())


def _at(moment: datetime) -> timedelta:
    return _known(moment.replace(tzinfo=UTC).astimezone(NEW_YORK).utcoffset())


def _known(offset: timedelta | None) -> timedelta:
    assert offset is not None, "New York has an offset at any time"
    return offset
