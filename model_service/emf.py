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
MAX_REASONS = 10  # in one list of a line, so that a line has at most `MAX_FIELDS`
OTHER_REASONS = "other reasons"
MAX_VALUES = 100  # values of one metric in one line; a limit of the embedded metric format
MAX_FIELDS = 200  # that Logs Insights finds in a line: "Supported logs and discovered fields"
DIGITS = 4  # significant digits of measurements; counts are exact


class Destination(NamedTuple):
    """The destination of metrics: a namespace, and the value of the dimension ``service``."""

    namespace: str = NAMESPACE
    service: str = SERVICE


class Metric(NamedTuple):
    """The values of a metric, and their unit: one of CloudWatch's, such as "Milliseconds".

    There are at most `MAX_VALUES` of them.
    """

    unit: str
    values: Sequence[float]


class Breakdown(NamedTuple):
    """One metric of a line that CloudWatch also records under one more set of dimensions."""

    metric: str
    dimensions: Mapping[str, str]


def count(number: int) -> Metric:
    return Metric("Count", [number])


def rejections(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return a list of the reasons in *counts* for a log line, the most frequent reasons first.

    *counts* maps a reason to its number of rejected rides.  The list has at most `MAX_REASONS`
    entries.  If there are more reasons, the last entry counts the rides of all other reasons, so
    that the sum is always the number of rejected rides.

    >>> rejections({"no such zone": 1, "data is not base64": 3})
    [{'reason': 'data is not base64', 'rides': 3}, {'reason': 'no such zone', 'rides': 1}]
    """
    return [{"reason": reason, "rides": rides} for reason, rides in most_frequent(counts).items()]


def most_frequent(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent reasons in *counts*, at most `MAX_REASONS` entries.

    If there are more reasons, the last entry has the total of all other reasons.
    """
    ordered = Counter(counts).most_common()
    if len(ordered) <= MAX_REASONS:
        return dict(ordered)
    kept, others = ordered[: MAX_REASONS - 1], ordered[MAX_REASONS - 1 :]
    return dict(kept) | {OTHER_REASONS: sum(count for _, count in others)}


def line(
    at: datetime,
    *dimension_sets: Mapping[str, str],
    destination: Destination,
    metrics: Mapping[str, Metric],
    fields: Mapping[str, Any],
    breakdown: Breakdown | None = None,
) -> str:
    """Return a log line for the time *at*, without a line end.

    *metrics* maps the name of a metric to its values; a metric without values is left out.
    CloudWatch records every metric under each of *dimension_sets*; the dimension ``service`` is
    added to each set.  *fields* can be searched in the log, but are not metrics.
    *breakdown* costs one more metric, where a dimension set would cost one for each of *metrics*.
    """
    first, *others = dimension_sets
    provider = AmazonCloudWatchEMFProvider(
        namespace=destination.namespace,
        service=destination.service,
        # `add_metric` would print the line and begin another one when it reaches 100 values.
        metric_set={
            name: {"Unit": metric.unit, "Value": [_rounded(value) for value in metric.values]}
            for name, metric in metrics.items()
            if metric.values
        },
    )
    provider.set_timestamp(at)
    for name, dimension in first.items():
        provider.add_dimension(name, dimension)
    for dimensions in others:
        provider.add_dimensions(service=destination.service, **dimensions)
    for name, content in fields.items():
        provider.add_metadata(name, content)
    found: dict[str, Any] = {**provider.serialize_metric_set()}
    if breakdown and breakdown.metric in found:
        found |= breakdown.dimensions
        found["_aws"]["CloudWatchMetrics"].append(
            {
                "Namespace": destination.namespace,
                "Dimensions": [["service", *breakdown.dimensions]],
                "Metrics": [{"Name": breakdown.metric, "Unit": metrics[breakdown.metric].unit}],
            }
        )
    return msgspec.json.encode(found).decode()


def _rounded(value: float) -> float:
    """Return a count as it is, and a measurement with `DIGITS` significant digits.

    >>> _rounded(12_345), _rounded(1576.132), _rounded(0.0512345), _rounded(21.2987)
    (12345, 1576, 0.05123, 21.3)
    """
    if isinstance(value, int):
        return value
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
