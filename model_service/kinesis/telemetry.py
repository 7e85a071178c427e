"""One line a batch, or a run on a schedule, in CloudWatch's embedded metric format, from which
CloudWatch makes metrics.

Counts and times are metrics under two sets of dimensions, (service, model) and (service, model,
version); reasons for rejection are fields of the line, to be searched, since a metric each would
cost without bound.  No payload and no value of a customer is in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)

from ..scoring import Target
from ..stream.processor import Report

NAMESPACE = "RidePredictions"
SERVICE = "ride-predictions"
MAX_LATENCIES = 50  # values of one metric in one line; CloudWatch takes 100
MAX_REASONS = 20  # in one line, the most frequent first


def log_line(report: Report, *, target: Target, version: str, cold_start: bool) -> str:
    """The line, without its end."""
    metrics = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service=SERVICE)
    metrics.set_timestamp(report.published_at)
    metrics.add_dimension("model", target.model_name)
    metrics.add_dimensions(service=SERVICE, model=target.model_name, version=version)
    for name, count in _counts(report, cold_start).items():
        metrics.add_metric(name, "Count", count)
    for name, milliseconds in _times(report).items():
        for value in milliseconds:
            metrics.add_metric(name, "Milliseconds", value)
    for name, value in _predictions(report).items():
        metrics.add_metric(name, "None", value)
    metrics.add_metadata("reasons", _reasons(report))
    return msgspec.json.encode(metrics.serialize_metric_set()).decode()


def run_line(
    *,
    done_at: datetime,
    scored: int,
    rejected: Mapping[str, int],
    seconds: float,
    delay_seconds: float,
) -> str:
    """The line of a run on a schedule: *rejected* by reason; what it took, and how long after its
    time it was done."""
    metrics = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service=SERVICE)
    metrics.set_timestamp(done_at)
    metrics.add_dimension("door", "batch")
    refused = sum(rejected.values())
    metrics.add_metric("batch_runs", "Count", 1)
    metrics.add_metric("batch_rows", "Count", scored + refused)
    metrics.add_metric("batch_scored", "Count", scored)
    metrics.add_metric("batch_rejected", "Count", refused)
    metrics.add_metric("batch_seconds", "Seconds", seconds)
    metrics.add_metric("batch_delay_seconds", "Seconds", delay_seconds)
    metrics.add_metadata("reasons", dict(Counter(rejected).most_common(MAX_REASONS)))
    return msgspec.json.encode(metrics.serialize_metric_set()).decode()


def _counts(report: Report, cold_start: bool) -> dict[str, int]:
    published, rejected = len(report.published), len(report.rejected)
    return {
        "received": published + rejected + len(report.to_retry),
        "published": published,
        "rejected": rejected,
        "to_retry": len(report.to_retry),
        "publish_retries": report.publish_retries,
        "cold_start": int(cold_start),
    }


def _times(report: Report) -> dict[str, Sequence[float]]:
    arrivals = [prediction.source.arrived_at for prediction in report.published]
    latencies = [(report.published_at - arrival).total_seconds() * 1000 for arrival in arrivals]
    return {
        "model_ms": [report.model_ms],
        "publish_ms": [report.publish_ms],
        "latency_ms": _sample(sorted(latencies)),
    }


def _sample(ordered: Sequence[float]) -> Sequence[float]:
    """Evenly spaced values, the first and the last among them.

    >>> _sample([float(n) for n in range(99)])[::7]
    [0.0, 14.0, 28.0, 42.0, 56.0, 70.0, 84.0, 98.0]
    """
    if len(ordered) <= MAX_LATENCIES:
        return ordered
    step = (len(ordered) - 1) / (MAX_LATENCIES - 1)
    return [ordered[round(n * step)] for n in range(MAX_LATENCIES)]


def _predictions(report: Report) -> dict[str, float]:
    values = [prediction.value for prediction in report.published]
    if not values:
        return {}
    return {
        "prediction_min": min(values),
        "prediction_mean": sum(values) / len(values),
        "prediction_max": max(values),
    }


def _reasons(report: Report) -> dict[str, int]:
    # Where in the bytes JSON broke would make every reason a reason of its own.
    reasons = Counter(re.sub(r" \(byte \d+\)", "", r.reason) for r in report.rejected)
    return dict(reasons.most_common(MAX_REASONS))
