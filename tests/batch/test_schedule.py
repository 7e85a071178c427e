from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_service.batch import schedule
from model_service.emf import Destination

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
def test_last_window_has_the_path_and_glob_of_the_archive(
    length: str, path: str, pattern: str
) -> None:
    window = schedule.last_window(datetime(2024, 3, 1, 0, 20, tzinfo=UTC), length)

    assert (window.path, window.pattern) == (path, pattern)


@pytest.mark.parametrize("length", schedule.LENGTHS)
@given(moment=MOMENTS)
def test_last_window_started_before_the_moment_and_grows_with_it(
    moment: datetime, length: str
) -> None:
    window = schedule.last_window(moment, length)

    one_later = schedule.last_window(moment + timedelta(days=32), length)
    assert window.start < moment
    assert schedule.last_window(moment, length) == window  # a retry scores the same
    assert one_later.start > window.start


@pytest.mark.parametrize("length", schedule.LENGTHS)
def test_every_hour_is_in_exactly_one_window(length: str) -> None:
    hours = [datetime(2023, 12, 31, 20, tzinfo=UTC) + timedelta(hours=n) for n in range(24 * 62)]

    paths = [schedule.last_window(hour, length).path for hour in hours]

    assert paths == sorted(paths)
    assert len(set(paths)) == {"hour": 24 * 62, "day": 63, "month": 4}[length]


def test_scheduled_time_may_have_any_offset() -> None:
    moment = datetime(2026, 3, 1, 1, 20, tzinfo=timezone(timedelta(hours=2)))

    assert schedule.last_window(moment, "day").path == "2026/02/27"


def test_log_line_has_the_counts_and_the_reasons_of_a_run() -> None:
    line = json.loads(
        schedule.log_line(
            done_at=datetime(2026, 11, 25, tzinfo=UTC),
            scored=7,
            rejected={"a": 1, "b": 2},
            seconds=1.5,
            delay_seconds=1210.0,
            destination=Destination("Staging", "rides"),
        )
    )

    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Staging", [["door", "service"]])
    assert (line["door"], line["service"]) == ("batch", "rides")
    counts = ("batch_runs", "batch_rows", "batch_scored", "batch_rejected")
    assert [line[name] for name in counts] == [[1], [10], [7], [3]]
    assert (line["batch_seconds"], line["batch_delay_seconds"]) == ([1.5], [1210.0])
    assert line["rejections"] == [{"reason": "b", "rides": 2}, {"reason": "a", "rides": 1}]
