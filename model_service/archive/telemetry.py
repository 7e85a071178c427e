"""Makes the log line of a batch of the archive, with metrics."""

from __future__ import annotations

from .. import emf
from ..emf import Destination, Metric
from ..kinesis.invocation import Invocation
from .writer import ArchiveReport


def log_line(report: ArchiveReport, invocation: Invocation, destination: Destination) -> str:
    """Return the log line for *report*, without a line end; the metrics go to *destination*."""
    return emf.line(
        report.finished_at,
        {"stream": report.batch.stream},
        destination=destination,
        metrics={
            "archived": emf.count(sum(one.records for one in report.objects)),
            "archive_to_retry": emf.count(report.to_retry),
            "archive_objects": emf.count(len(report.objects)),
            "archive_bytes": Metric("Bytes", [sum(len(one.body) for one in report.objects)]),
        },
        fields={
            "request_id": invocation.request_id,
            "function_version": invocation.function_version,
            "cold_start": invocation.cold_start,
            "shard": report.batch.shard,
            "first_sequence_number": report.batch.first_sequence_number,
            "last_sequence_number": report.batch.last_sequence_number,
            "checkpoint": report.checkpoint,
        },
    )
