"""Reads the metrics that CloudWatch makes of log lines, by the embedded metric format.

Source: Amazon CloudWatch User Guide, "Specification: Embedded metric format".
"""

from __future__ import annotations

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
