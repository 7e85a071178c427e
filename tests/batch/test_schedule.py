from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_service.batch import schedule

MOMENTS = st.datetimes(
    datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC), allow_imaginary=False
)


@pytest.mark.parametrize(
    ("length", "path", "pattern"),
    [
        ("hour", "2024/02/29/23", "2024/02/29/23/*"),
        ("day", "2024/02/29", "2024/02/29/*/*"),
        ("month", "2024/02", "2024/02/*/*/*"),
    ],
)
def test_a_window_is_the_last_that_was_over(length: str, path: str, pattern: str) -> None:
    window = schedule.before(datetime(2024, 3, 1, 0, 20, tzinfo=UTC), length)

    assert (window.path, window.pattern) == (path, pattern)


@pytest.mark.parametrize("length", schedule.LENGTHS)
@given(moment=MOMENTS)
def test_it_is_over_and_the_next_one_is_not(moment: datetime, length: str) -> None:
    window = schedule.before(moment, length)

    one_later = schedule.before(moment + timedelta(days=32), length)
    assert window.start < moment
    assert schedule.before(moment, length) == window  # a retry scores the same
    assert one_later.start > window.start


@pytest.mark.parametrize("length", schedule.LENGTHS)
def test_every_hour_lies_in_exactly_one_window(length: str) -> None:
    hours = [datetime(2023, 12, 31, 20, tzinfo=UTC) + timedelta(hours=n) for n in range(24 * 62)]

    paths = [schedule.before(hour, length).path for hour in hours]

    assert paths == sorted(paths)
    assert len(set(paths)) == {"hour": 24 * 62, "day": 63, "month": 4}[length]


def test_the_scheduler_may_say_its_time_in_another_zone() -> None:
    moment = datetime(2026, 3, 1, 1, 20, tzinfo=timezone(timedelta(hours=2)))

    assert schedule.before(moment, "day").path == "2026/02/27"


def test_a_run_on_a_schedule_counts_rides_and_says_why_some_are_rejected() -> None:
    line = json.loads(
        schedule.log_line(
            done_at=datetime(2026, 11, 25, tzinfo=UTC),
            scored=7,
            rejected={"a": 1, "b": 2},
            seconds=1.5,
            delay_seconds=1210.0,
        )
    )

    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["door", "service"]]
    assert (line["door"], line["service"]) == ("batch", "ride-predictions")
    counts = ("batch_runs", "batch_rows", "batch_scored", "batch_rejected")
    assert [line[name] for name in counts] == [[1], [10], [7], [3]]
    assert (line["batch_seconds"], line["batch_delay_seconds"]) == ([1.5], [1210.0])
    assert line["reasons"] == {"a": 1, "b": 2}
