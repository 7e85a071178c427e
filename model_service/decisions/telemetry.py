"""Makes the log lines of decisions, with metrics.

The lines contain no ride, no prediction and no decision: only counts, times and reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .. import emf
from ..emf import Destination, Metric
from ..errors import RideRejected
from ..kinesis.accounting import BatchReport
from ..kinesis.invocation import Invocation
from ..kinesis.telemetry import REPLAY, STREAM, sample
from ..settings import DECISIONS
from .decision import Decided, decode, rests_on
from .processor import Outcome, rides
from .sweep import SweepReport


def log_line(report: BatchReport[Outcome], invocation: Invocation, destination: Destination) -> str:
    """Return the log line for a batch, without a line end; the metrics go to *destination*.

    ``decided`` counts the rides that this batch decided, ``repeated`` those that were decided
    before and were published again, and ``waiting`` those that are incomplete.  ``superseded``
    counts predictions that the decision of their ride does not rest on, and ``unexpected`` those
    of models that no decision waits for.
    """
    joined = [of_ride[0].joined for of_ride in rides(report.published).values()]
    states = [(one, one.state) for one in joined if one is not None]
    new = [state.body for one, state in states if one.is_new and isinstance(state, Decided)]
    decided = sum(isinstance(state, Decided) for _, state in states)
    received = len(report.published) + len(report.rejected) + len(report.to_retry)
    counts = {
        "received": received,
        "rejected": len(report.rejected),
        "to_retry": len(report.to_retry),
        "decided": len(new),
        "repeated": decided - len(new),
        "waiting": len(states) - decided,
        "superseded": _superseded(report),
        "unexpected": sum(one.joined is None for one in report.published),
        "table_writes": sum(one.writes for one, _ in states),
        "publish_retries": report.publish_retries,
        "cold_start": int(invocation.cold_start),
    }
    times = {
        "join_ms": Metric("Milliseconds", [report.model_ms]),
        "publish_ms": Metric("Milliseconds", [report.publish_ms]),
        "decision_latency_ms": Metric("Milliseconds", sample(sorted(report.latencies_ms))),
    }
    reasons = Counter(RideRejected.kind(one.reason) for one in report.rejected)
    return emf.line(
        report.published_at,
        _dimensions(invocation),
        destination=destination,
        metrics=_counts(counts) | _flags(new) | times,
        fields={
            "delivery": REPLAY if invocation.replay else STREAM,
            "request_id": invocation.request_id,
            "function_version": invocation.function_version,
            "stream": report.batch.stream,
            "shard": report.batch.shard,
            "first_sequence_number": report.batch.first_sequence_number,
            "last_sequence_number": report.batch.last_sequence_number,
            "checkpoint": report.checkpoint,
            "rejections": emf.rejections(reasons),
            "retry_reasons": emf.most_frequent(report.retry_reasons),
        },
    )


def sweep_line(report: SweepReport, invocation: Invocation, destination: Destination) -> str:
    """Return the log line for a sweep, without a line end; the metrics go to *destination*."""
    counts = {
        "sweeps": 1,
        "swept": len(report.decisions),
        "sweep_refused": report.refused,
        "sweep_unfinished": int(not report.is_finished),
    }
    return emf.line(
        report.finished_at,
        _dimensions(invocation),
        destination=destination,
        metrics=_counts(counts) | _flags(report.decisions),
        fields={
            "request_id": invocation.request_id,
            "function_version": invocation.function_version,
        },
    )


def _dimensions(invocation: Invocation) -> dict[str, str]:
    """Return the dimensions of metrics; those of a replay are others, so that no alarm sees it."""
    replay = {"delivery": REPLAY} if invocation.replay else {}
    return {"consumer": DECISIONS, **replay}


def _counts(numbers: Mapping[str, int]) -> dict[str, Metric]:
    return {name: emf.count(number) for name, number in numbers.items()}


def _flags(bodies: Iterable[bytes]) -> dict[str, Metric]:
    """Return how many decisions are flagged, and how many are incomplete."""
    decisions = [decode(body) for body in bodies]
    return _counts(
        {
            "flagged": sum(one.flag is not None for one in decisions),
            "incomplete": sum(not one.complete for one in decisions),
        }
    )


def _superseded(report: BatchReport[Outcome]) -> int:
    found = 0
    for of_ride in rides(report.published).values():
        joined: Any = of_ride[0].joined
        if isinstance(joined.state, Decided):
            decision = decode(joined.state.body)
            found += sum(not rests_on(decision, one.prediction) for one in of_ride)
    return found
