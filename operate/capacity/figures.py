"""The figures that the calculation starts from: measured on one machine, or assumed.

The machine has two cores (x86_64) and ran other programs at the same time.  One core of it is taken
for one processor of Lambda, which nobody has measured.
"""

from __future__ import annotations

from dataclasses import dataclass

BENCH = "`make bench`"
ASSUMED = "assumed"
TEMPLATE = "`template.yaml`"
LINE = "a log line"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, and where it comes from."""

    meaning: str
    value: float
    unit: str
    source: str
    """A command that measures it, the template, a log line of the function, or `ASSUMED`."""
    date: str = ""
    """The day of the measurement."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures that the calculation needs."""

    handler_ms: Figure = Figure(
        "work of the scorer for 1,000 rides, on one processor", 45.8, "ms", BENCH, "2026-11-25"
    )
    publish_ms: Figure = Figure(
        "PutRecords for up to 2,000 predictions, four calls at once", 25, "ms", ASSUMED
    )
    archive_ms: Figure = Figure(
        "work of the archive for 1,000 records, on one processor", 32.9, "ms", BENCH, "2026-11-28"
    )
    store_ms: Figure = Figure("storing an object of the archive on S3", 100, "ms", ASSUMED)
    poll_seconds: Figure = Figure("the longest wait for Lambda to read a shard", 1, "s", ASSUMED)
    event_bytes: Figure = Figure(
        "a record in an event of Lambda, without its data", 539, "bytes", BENCH, "2026-11-28"
    )
    prediction_bytes: Figure = Figure("a prediction event", 345, "bytes", BENCH, "2026-11-28")
    archived_ride_bytes: Figure = Figure(
        "a ride in the archive, compressed", 37, "bytes", BENCH, "2026-11-28"
    )
    archived_prediction_bytes: Figure = Figure(
        "a prediction in the archive, compressed", 91, "bytes", BENCH, "2026-11-28"
    )
    log_bytes: Figure = Figure(
        "logs of a batch: 2,543 bytes of the function's line, and Lambda's own lines",
        3200,
        "bytes",
        ASSUMED,
    )
    archive_days: Figure = Figure("time for which the archive is kept", 90, "days", TEMPLATE)
    alarms: Figure = Figure("metrics in alarms, for one model", 34, "metrics", TEMPLATE)
    alarms_more: Figure = Figure(
        "metrics in alarms, for each further model", 16, "metrics", TEMPLATE
    )
    composites: Figure = Figure("composite alarms, for each model", 2, "alarms", TEMPLATE)
    metrics: Figure = Figure("metrics of a scorer", 27, "metrics", LINE)
    archive_metrics: Figure = Figure("metrics of an archive", 4, "metrics", LINE)
    image_gb: Figure = Figure("the images", 0.3, "GB", ASSUMED)


FIGURES = Figures()
FULL_PROCESSOR_MB = 1769
"""Memory with which a function has one processor: Lambda Developer Guide, "Memory"."""
