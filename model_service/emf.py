"""Formats log lines in CloudWatch's embedded metric format, from which CloudWatch makes metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)

NAMESPACE = "RidePredictions"
SERVICE = "ride-predictions"
MAX_REASONS = 20  # in one line
MAX_VALUES = 50  # values of one metric in one line; CloudWatch's limit is 100


class Metric(NamedTuple):
    """The values of a metric, and their unit: one of CloudWatch's, such as "Milliseconds"."""

    unit: str
    values: Sequence[float]


def count(number: int) -> Metric:
    return Metric("Count", [number])


def reasons(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent reasons, as a field of a line."""
    return dict(Counter(counts).most_common(MAX_REASONS))


def line(
    at: datetime,
    *dimension_sets: Mapping[str, str],
    metrics: Mapping[str, Metric],
    fields: Mapping[str, Any],
) -> str:
    """Return a log line, without a line end.

    CloudWatch records every metric under each of *dimension_sets*; the dimension ``service`` is
    added to each set.  *fields* can be searched in the log, but are not metrics.
    """
    first, *others = dimension_sets
    provider = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service=SERVICE)
    provider.set_timestamp(at)
    for name, dimension in first.items():
        provider.add_dimension(name, dimension)
    for dimensions in others:
        provider.add_dimensions(service=SERVICE, **dimensions)
    for name, metric in metrics.items():
        for value in metric.values:
            provider.add_metric(name, metric.unit, value)
    for name, content in fields.items():
        provider.add_metadata(name, content)
    return msgspec.json.encode(provider.serialize_metric_set()).decode()
