"""Makes several calls to AWS at the same time, and waits for them until a deadline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Protocol

IN_FLIGHT = 4  # concurrent calls: each waits for the network, not for the processor


class CallAll(Protocol):
    """A function that makes all *calls* and waits at most *seconds* for them.

    It returns their results in order, with None for each call that is late.  A late call may not
    have begun, or may still be under way and succeed.
    """

    def __call__[T](self, calls: Sequence[Callable[[], T]], seconds: float) -> list[T | None]: ...


def call_in_threads[T](calls: Sequence[Callable[[], T]], seconds: float) -> list[T | None]:
    """Make *calls* in threads, at most `IN_FLIGHT` at the same time, for at most *seconds*.

    This is a `CallAll` function: the result of a late call is None.  If a call raises an exception,
    this function raises it.
    """
    threads = ThreadPoolExecutor(IN_FLIGHT)
    futures = [threads.submit(call) for call in calls]
    done, _ = wait(futures, timeout=max(0.0, seconds))
    threads.shutdown(wait=False, cancel_futures=True)  # a call may be stuck
    return [future.result() if future in done else None for future in futures]
