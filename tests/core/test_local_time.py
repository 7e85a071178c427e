from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_service import local_time, rides

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
    expected = [rides.new_york(one).astimezone(UTC).replace(tzinfo=None) for one in shown]

    assert local_time.instants(micros(shown)).tolist() == micros(expected).tolist()


@settings(deadline=None)
@given(MOMENTS)
@example([datetime(1945, 8, 14, 23), datetime(1883, 11, 18, 16, 59, 59)])
def test_an_instant_shows_on_new_york_s_clocks_as_rides_say(instants: list[datetime]) -> None:
    local = [rides.new_york(one.replace(tzinfo=UTC)) for one in instants]

    shown = local_time.clocks(micros(instants))

    assert shown.tolist() == micros([one.replace(tzinfo=None) for one in local]).tolist()
    assert local_time.hours(shown).tolist() == [one.hour for one in local]
    assert local_time.minutes(shown).tolist() == [one.minute for one in local]
    assert local_time.weekdays(shown).tolist() == [one.weekday() for one in local]


def test_a_time_with_an_offset_is_that_instant_whatever_the_offset() -> None:
    moment = datetime(2021, 3, 1, 8, 15, tzinfo=timezone(timedelta(hours=9)))

    assert rides.new_york(moment).hour == local_time.hours(
        local_time.clocks(micros([moment.astimezone(UTC).replace(tzinfo=None)]))
    )
