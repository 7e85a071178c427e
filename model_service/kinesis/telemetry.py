"""Makes the log line of a batch, with metrics and the reasons for rejections and retries.

Counts, times and statistics of the predictions are metrics with two sets of dimensions: (service,
model) and (service, model, version).  The reasons are only fields of the line: a metric for each
reason would be expensive, because the number of different reasons has no limit.  The line contains
no payload and no value from a ride event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .. import emf
from ..emf import MAX_VALUES, Metric
from ..errors import RideRejected
from .accounting import BatchReport
from .rejects import Rejection


def log_line(
    report: BatchReport[Any],
    *,
    model_name: str,
    version: str,
    predictions: Sequence[float],
    cold_start: bool,
) -> str:
    """Return the log line for *report*, without a line end.

    *predictions* are the published values, in the unit of the model's target.
    """
    received = len(report.published) + len(report.rejected) + len(report.to_retry)
    metrics = {
        "received": emf.count(received),
        "published": emf.count(len(report.published)),
        "rejected": emf.count(len(report.rejected)),
        "to_retry": emf.count(len(report.to_retry)),
        "publish_retries": emf.count(report.publish_retries),
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
    """Return at most `MAX_VALUES` of the values, evenly spaced, with the first and the last.

    >>> _sample([float(n) for n in range(99)])[::7]
    [0.0, 14.0, 28.0, 42.0, 56.0, 70.0, 84.0, 98.0]
    """
    if len(ordered) <= MAX_VALUES:
        return ordered
    step = (len(ordered) - 1) / (MAX_VALUES - 1)
    return [ordered[round(n * step)] for n in range(MAX_VALUES)]


def _reasons(rejected: Sequence[Rejection]) -> dict[str, int]:
    return emf.reasons(Counter(RideRejected.kind(one.reason) for one in rejected))
