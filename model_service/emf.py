"""A line in CloudWatch's embedded metric format, from which CloudWatch makes metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)

NAMESPACE = "RidePredictions"
SERVICE = "ride-predictions"
MAX_VALUES = 50  # of one metric in one line; CloudWatch takes 100


class Metric(NamedTuple):
    """A metric and its values, in a unit that CloudWatch knows."""

    unit: str
    values: Sequence[float]


def count(number: int) -> Metric:
    return Metric("Count", [number])


def line(
    at: datetime,
    *dimension_sets: Mapping[str, str],
    metrics: Mapping[str, Metric],
    fields: Mapping[str, Any],
) -> str:
    """The line, without a line end.

    Every metric has each of *dimension_sets*, to which ``service`` is added; *fields* are
    searchable in the log, and are no metrics.
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
