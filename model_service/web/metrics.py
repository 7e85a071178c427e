"""Defines the Prometheus metrics of the web service, which are summed over its worker processes.

`middleware` counts requests, and `routes` counts rides.
"""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from ..models.served import Models

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
OUTCOMES = ("quoted", "invalid", "unscorable", "unanswered")


class Metrics:
    """The metrics of one process; worker processes share them through files in a directory.

    `requests` and `seconds` cache the counter of each combination of labels, because finding a
    counter takes as long as incrementing it.
    """

    def __init__(self, models: Models, directory: str = "") -> None:
        """Create the metrics.

        *directory* is the value of PROMETHEUS_MULTIPROC_DIR, or empty for a single process.
        """
        self.directory = directory
        self.registry = CollectorRegistry()
        requests = Counter(
            "http_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        seconds = Histogram(
            "http_request_duration_seconds",
            "Time from the request to its response.",
            ["route"],
            registry=self.registry,
            buckets=SECONDS,
        )
        rides = Counter("rides", "Rides by outcome.", ["outcome"],
                        registry=self.registry)  # fmt: skip
        self.requests = cache(requests.labels)
        self.seconds = cache(seconds.labels)
        self.rides = {outcome: rides.labels(outcome) for outcome in OUTCOMES}
        version = Gauge(
            "model_version",
            "1 for each served model.",
            ["target", "version"],
            registry=self.registry,
            multiprocess_mode="max",
        )
        version.labels("duration", models.duration.model.version).set(1)
        if models.cost:
            version.labels("cost", models.cost.model.version).set(1)

    def text(self) -> bytes:
        """Return the metrics of all workers, in the text format of Prometheus."""
        if not self.directory:
            return generate_latest(self.registry)
        merged = CollectorRegistry()
        MultiProcessCollector(merged, path=self.directory)  # type: ignore[no-untyped-call]
        return generate_latest(merged)
