"""Formats counts and numbers as text, in the same way on the console and in the report."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal


def many(count: int, noun: str) -> str:
    """Return *count* with *noun* in the singular or plural.

    >>> many(1, "ride"), many(1200, "ride")
    ('1 ride', '1,200 rides')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def were(count: int) -> str:
    """Return "was" if *count* is 1, and "were" otherwise.

    >>> were(1), were(0)
    ('was', 'were')
    """
    return "was" if count == 1 else "were"


def rounded(value: float, digits: int) -> str:
    """Return *value* with *digits* decimal places, rounded half up.

    >>> rounded(3.545, 2), rounded(1234.5, 0)
    ('3.55', '1,235')
    """
    step = Decimal(1).scaleb(-digits)
    return f"{Decimal(str(value)).quantize(step, ROUND_HALF_UP):,}"
