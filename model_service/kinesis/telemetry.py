"""Makes the log line of a batch, with metrics and the reasons for rejections and retries.

Counts, times and statistics of the predictions are metrics with two sets of dimensions: (service,
model) and (service, model, version).  The metrics of a replay have another set, (service, model,
delivery): its rides are old, and some are still invalid, which says nothing about the service now.
So a replay cannot set off the alarms, which read (service, model).  ``prediction_mean`` is also
recorded by the version of the function, for the alarm of a canary.  The other fields are not
metrics: a metric for each reason or shard would be expensive, because their number has no limit.
The line contains no payload and no value from a ride event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import Any

from .. import emf
from ..emf import MAX_VALUES, Breakdown, Destination, Metric
from ..errors import RideRejected
from .accounting import BatchReport
from .invocation import Invocation
from .rejects import Rejection

STREAM, REPLAY = "stream", "replay"
"""The values of ``delivery``: how the records of a batch came to the function."""


def log_line(
    report: BatchReport[Any],
    *,
    model_name: str,
    version: str,
    predictions: Sequence[float],
    invocation: Invocation,
    destination: Destination,
) -> str:
    """Return the log line for *report*, without a line end.

    *predictions* are the published values, in the unit of the model's target.  *version* is the
    version of the model.
    """
    received = len(report.published) + len(report.rejected) + len(report.to_retry)
    metrics = {
        "received": emf.count(received),
        "published": emf.count(len(report.published)),
        "rejected": emf.count(len(report.rejected)),
        "to_retry": emf.count(len(report.to_retry)),
        "publish_retries": emf.count(report.publish_retries),
        "ignored_pickup_times": emf.count(report.ignored_pickup_times),
        "cold_start": emf.count(int(invocation.cold_start)),
        "model_ms": Metric("Milliseconds", [report.model_ms]),
        "publish_ms": Metric("Milliseconds", [report.publish_ms]),
    }
    if predictions:
        metrics |= {
            "prediction_min": Metric("None", [min(predictions)]),
            "prediction_mean": Metric("None", [sum(predictions) / len(predictions)]),
            "prediction_max": Metric("None", [max(predictions)]),
        }
    metrics["latency_ms"] = Metric("Milliseconds", sample(sorted(report.latencies_ms)))
    delivery = REPLAY if invocation.replay else STREAM
    of_stream = {"model": model_name}, {"model": model_name, "version": version}
    of_replay = ({"model": model_name, "delivery": REPLAY},)
    return emf.line(
        report.published_at,
        *(of_replay if invocation.replay else of_stream),
        destination=destination,
        metrics=metrics,
        breakdown=_by_function_version(model_name, invocation),
        fields={
            "version": version,
            "delivery": delivery,
            "request_id": invocation.request_id,
            "function_version": invocation.function_version,
            "stream": report.batch.stream,
            "shard": report.batch.shard,
            "first_sequence_number": report.batch.first_sequence_number,
            "last_sequence_number": report.batch.last_sequence_number,
            "checkpoint": report.checkpoint,
            "rejections": emf.rejections(_reasons(report.rejected)),
            "retry_reasons": emf.most_frequent(report.retry_reasons),
        },
    )


def _by_function_version(model_name: str, invocation: Invocation) -> Breakdown | None:
    """Return the breakdown with which an alarm compares a new version of the function to all."""
    if invocation.replay or not invocation.function_version:
        return None
    dimensions = {"model": model_name, "function_version": invocation.function_version}
    return Breakdown("prediction_mean", dimensions)


def sample(ordered: Sequence[float]) -> Sequence[float]:
    """Return at most `MAX_VALUES` of the values, with the same percentiles (nearest rank).

    If there are more values, the sample has the 1st to the 99th percentile and, as its last value,
    the 99.5th.  The maximum would have the weight of 1 % of the rides, whatever their number, and
    would decide the 99th percentile of the metric.

    >>> sample([float(n) for n in range(1, 1001)])[-3:]
    [980.0, 990.0, 995.0]
    """
    if len(ordered) <= MAX_VALUES:
        return ordered
    percents = [*range(1, MAX_VALUES), MAX_VALUES - 0.5]
    return [ordered[ceil(percent * len(ordered) / 100) - 1] for percent in percents]


def _reasons(rejected: Sequence[Rejection]) -> Counter[str]:
    return Counter(RideRejected.kind(one.reason) for one in rejected)
