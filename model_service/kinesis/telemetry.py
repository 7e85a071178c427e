"""The metric line of a batch: counts, times and the reasons for rejection.

Counts and times are metrics under two sets of dimensions, (service, model) and (service, model,
version).  Reasons are fields of the line, because a metric for each would cost without bound.  The
line holds no payload and no value of a customer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .. import emf
from ..emf import MAX_VALUES, Metric
from .accounting import BatchReport
from .rejects import Rejection

MAX_REASONS = 20  # in one line, the most frequent first


def log_line(
    report: BatchReport[Any],
    *,
    model_name: str,
    version: str,
    predictions: Sequence[float],
    cold_start: bool,
) -> str:
    """The line of *report*, without a line end; *predictions* are the published values."""
    received = len(report.published) + len(report.rejected) + len(report.to_retry)
    metrics = {
        "received": emf.count(received),
        "published": emf.count(len(report.published)),
        "rejected": emf.count(len(report.rejected)),
        "to_retry": emf.count(len(report.to_retry)),
        "publish_retries": emf.count(report.publish_retries),
        "ignored_pickup_times": emf.count(report.ignored_pickup_times),
        "cold_start": emf.count(int(cold_start)),
        "model_ms": Metric("Milliseconds", [report.model_ms]),
        "publish_ms": Metric("Milliseconds", [report.publish_ms]),
        "latency_ms": Metric("Milliseconds", _sample(sorted(report.latencies_ms))),
    }
    if predictions:
        metrics |= {
            "prediction_min": Metric("None", [min(predictions)]),
            "prediction_mean": Metric("None", [sum(predictions) / len(predictions)]),
            "prediction_max": Metric("None", [max(predictions)]),
        }
    return emf.line(
        report.published_at,
        {"model": model_name},
        {"model": model_name, "version": version},
        metrics=metrics,
        fields={
            "reasons": _reasons(report.rejected),
            "retry_reasons": dict(report.retry_reasons),
        },
    )


def _sample(ordered: Sequence[float]) -> Sequence[float]:
    """Evenly spaced values, the first and the last among them.

    >>> _sample([float(n) for n in range(99)])[::7]
    [0.0, 14.0, 28.0, 42.0, 56.0, 70.0, 84.0, 98.0]
    """
    if len(ordered) <= MAX_VALUES:
        return ordered
    step = (len(ordered) - 1) / (MAX_VALUES - 1)
    return [ordered[round(n * step)] for n in range(MAX_VALUES)]


def _reasons(rejected: Sequence[Rejection]) -> dict[str, int]:
    # The byte at which JSON broke would make every reason a different one.
    reasons = Counter(re.sub(r" \(byte \d+\)", "", one.reason) for one in rejected)
    return dict(reasons.most_common(MAX_REASONS))
