"""Months from one to another, as people write them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from .data.cleaning import DataError

TO = ".."


def first_day(month: str) -> datetime:
    """The first day of a month that is written YYYY-MM.  Raises `DataError`."""
    try:
        first = datetime.strptime(month, "%Y-%m")
    except ValueError:
        first = None
    if first is None or f"{first:%Y-%m}" != month:
        raise DataError(f"{month!r} is no month: write YYYY-MM.")
    return first


def between(first: str, last: str) -> list[str]:
    """All months from *first* to *last*.

    >>> between("2022-11", "2023-02")
    ['2022-11', '2022-12', '2023-01', '2023-02']

    Raises `DataError`.
    """
    start, end = (month.year * 12 + month.month - 1 for month in map(first_day, (first, last)))
    if end < start:
        raise DataError(f"There is no month from {first} to {last}.")
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(start, end + 1)]


def named(texts: Iterable[str]) -> list[str]:
    """The months that *texts* name, each once, oldest first.

    >>> named(["2023-01", "2022-12..2023-02"])
    ['2022-12', '2023-01', '2023-02']
    """
    ends = [(text.partition(TO)[0], text.rpartition(TO)[2]) for text in texts]
    return sorted({month for first, last in ends for month in between(first, last)})
