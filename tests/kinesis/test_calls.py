from __future__ import annotations

import threading
from functools import partial

import pytest

from model_service.kinesis.calls import IN_FLIGHT, call_in_threads


def test_results_are_in_the_order_of_the_calls() -> None:
    first_may_return = threading.Event()

    def first() -> int:
        assert first_may_return.wait(10)
        return 1

    def second() -> int:
        first_may_return.set()
        return 2

    assert call_in_threads([first, second], 10) == [1, 2]


def test_a_late_call_has_no_result_and_may_still_end() -> None:
    release, ended = threading.Event(), threading.Event()

    def stuck() -> None:
        release.wait(10)
        ended.set()

    assert call_in_threads([stuck, lambda: 2], 0.2) == [None, 2]
    release.set()
    assert ended.wait(10)


def test_a_call_that_waits_for_its_turn_at_the_deadline_is_not_made() -> None:
    release = threading.Event()
    made: list[int] = []

    def stuck(n: int) -> None:
        made.append(n)
        release.wait(10)

    assert call_in_threads([partial(stuck, n) for n in range(IN_FLIGHT + 1)], 0.2) == [None] * 5
    release.set()
    assert sorted(made) == [0, 1, 2, 3]


def test_without_time_no_result_is_waited_for() -> None:
    release = threading.Event()

    assert call_in_threads([partial(release.wait, 10)], -1) == [None]
    release.set()


def test_an_exception_of_a_call_is_raised() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call_in_threads([fail], 10)
