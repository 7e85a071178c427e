"""Lists calendar months in the form ``YYYY-MM``."""

from __future__ import annotations

import re

from ..errors import SettingsError


def months(first: str, last: str) -> list[str]:
    """Return all months from *first* to *last*, both included.

    >>> months("2022-11", "2023-02")
    ['2022-11', '2022-12', '2023-01', '2023-02']

    Raises `SettingsError` if a month is not ``YYYY-MM`` or if *first* is after *last*.
    """
    start, end = _number(first), _number(last)
    if start > end:
        raise SettingsError(f"{first} is after {last}")
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(start, end + 1)]


def _number(month: str) -> int:
    """Return the number of months from the beginning of year 0 to *month*."""
    if not re.fullmatch(r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])", month):
        raise SettingsError("a month must be in the form YYYY-MM")
    return int(month[:4]) * 12 + int(month[5:]) - 1
