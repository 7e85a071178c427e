"""Reads the metrics that CloudWatch makes of log lines, by the embedded metric format.

Source: Amazon CloudWatch User Guide, "Specification: Embedded metric format".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any


def values(
    lines: Iterable[Mapping[str, Any]], namespace: str, metric: str, dimensions: Mapping[str, str]
) -> list[float]:
    """Return the values of *metric* with exactly these *dimensions* in decoded *lines*."""
    found: list[float] = []
    for line in lines:
        for directive in line["_aws"]["CloudWatchMetrics"]:
            named = {one["Name"] for one in directive["Metrics"]}
            sets = [{name: line[name] for name in names} for names in directive["Dimensions"]]
            if directive["Namespace"] == namespace and metric in named and dimensions in sets:
                value = line[metric]
                found += value if isinstance(value, list) else [value]
    return found


def condition(expression: str, metrics: Mapping[str, float]) -> bool:
    """Evaluate ``IF(condition, 1, 0)`` for one data point of each of *metrics*.

    The condition is made of comparisons of products, and ``OR``.
    """
    found = re.fullmatch(r"IF\((.*), 1, 0\)", expression)
    assert found, expression

    def product(text: str) -> float:
        total = 1.0
        for factor in text.split("*"):
            name = factor.strip()
            total *= metrics[name] if name in metrics else float(name)
        return total

    def compared(text: str) -> bool:
        left, sign, right = re.split(r"([<>])", text)
        return product(left) > product(right) if sign == ">" else product(left) < product(right)

    return any(compared(part) for part in found[1].split(" OR "))
