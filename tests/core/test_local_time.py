from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_service import local_time

NEAR = st.lists(st.datetimes(datetime(1960, 1, 1), datetime(2070, 1, 1)))
MOMENTS = NEAR | st.lists(
    st.datetimes(datetime(2, 1, 2), datetime(9998, 12, 30))
    | st.datetimes(datetime(1883, 11, 17), datetime(1884, 1, 3))
    | st.datetimes(datetime(2021, 3, 13), datetime(2021, 3, 15))
    | st.datetimes(datetime(2021, 11, 6), datetime(2021, 11, 8)),
)


def micros(moments: list[datetime]) -> local_time.Micros:
    since = [moment - local_time.EPOCH for moment in moments]
    return np.array([one // timedelta(microseconds=1) for one in since], dtype=np.int64)


@settings(deadline=None)
@given(MOMENTS)
@example([])
@example([datetime(1945, 8, 14, 19), datetime(1918, 3, 31, 2, 59), datetime(2500, 7, 1)])
def test_a_time_without_an_offset_is_the_instant_that_rides_take_it_for(
    shown: list[datetime],
) -> None:
    expected = [local_time.new_york(one).astimezone(UTC).replace(tzinfo=None) for one in shown]

    assert local_time.instants(micros(shown)).tolist() == micros(expected).tolist()


@settings(deadline=None)
@given(MOMENTS)
@example([datetime(1945, 8, 14, 23), datetime(1883, 11, 18, 16, 59, 59)])
def test_an_instant_shows_on_new_york_s_clocks_as_rides_say(instants: list[datetime]) -> None:
    local = [local_time.new_york(one.replace(tzinfo=UTC)) for one in instants]

    shown = local_time.clocks(micros(instants))

    assert shown.tolist() == micros([one.replace(tzinfo=None) for one in local]).tolist()
    assert local_time.hours(shown).tolist() == [one.hour for one in local]
    assert local_time.minutes_of_day(shown).tolist() == [60 * m.hour + m.minute for m in local]
    assert local_time.weekdays(shown).tolist() == [one.weekday() for one in local]


def test_a_time_with_an_offset_is_that_instant_whatever_the_offset() -> None:
    moment = datetime(2021, 3, 1, 8, 15, tzinfo=timezone(timedelta(hours=9)))

    assert local_time.new_york(moment).hour == local_time.hours(
        local_time.clocks(micros([moment.astimezone(UTC).replace(tzinfo=None)]))
    )


@pytest.mark.parametrize(
    ("moment", "hour", "weekday"),
    [
        ("2021-03-01T08:15:00", 8, 0),
        ("2021-03-01T08:15:00Z", 3, 0),
        ("2021-03-01T01:15:00+00:00", 20, 6),
        ("2021-03-14T02:30:00", 3, 6),  # a time that New York skipped
        ("2021-11-07T01:30:00", 1, 6),  # a time that New York had twice
    ],
)
def test_hours_are_new_yorks(moment: str, hour: int, weekday: int) -> None:
    local = local_time.new_york(datetime.fromisoformat(moment))

    assert (local.hour, local.weekday()) == (hour, weekday)


def test_an_hour_that_occurs_twice_means_the_first() -> None:
    summer_time = timedelta(hours=-4)

    assert local_time.new_york(datetime(2021, 11, 7, 1, 30)).utcoffset() == summer_time


@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))
def test_new_yorks_time_is_new_yorks_time_again(moment: datetime) -> None:
    local = local_time.new_york(moment)

    assert local.tzinfo is local_time.NEW_YORK
    assert local_time.new_york(local) == local
