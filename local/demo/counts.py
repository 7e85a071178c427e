"""Counts what happened to each record of a demo run.

The counts come from the records on both streams and from the objects in the rejects bucket.  The
input stream assigns an event id to each record.  The same id identifies the record in the
``source`` of its prediction, and among the reasons of a rejects object.  A record that has neither
a prediction nor a reason counts as lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formatting import many, were
from ..messages import Message
from ..run_stream import Published


@dataclass(frozen=True, slots=True)
class PredictedRide:
    """A ride with its true and its predicted duration."""

    ride_id: str
    true: float
    """The true minutes."""
    predicted: float
    sent_at: float
    """Seconds after the first record."""
    latency_ms: float


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """The counts of a run, and its predicted rides in the order of their predictions."""

    rides_sent: int
    bad_records_sent: int
    rides_predicted: int
    rejected: int
    lost: int
    duplicates: int
    unexpected: int
    """The number of predictions that belong to no sent ride, and of rejections of records that are
    not broken."""
    seconds: float
    """The time in seconds from the first record on the input stream to the last record on the
    output stream."""
    rides: tuple[PredictedRide, ...]
    reasons: Mapping[tuple[str, str], int]
    """(Defect of a record, reason of its rejection) -> the number of rejections."""


def count(
    *,
    sent: Mapping[str, Message],
    arrived: Mapping[str, datetime],
    published: Sequence[Published],
    rejected: Mapping[str, str],
    true: Mapping[str, float],
) -> StreamCounts:
    """Count the records of a run.

    *sent* are the records that the input stream accepted, *arrived* are the arrival times of the
    records that were read from it, and *rejected* are the reasons for rejections, all three by
    event id.  *published* are the predictions on the output stream.  *true* are the true durations
    in minutes, by ride id.
    """
    good = {name for name, message in sent.items() if not message.broken and name in arrived}
    bad = {name for name, message in sent.items() if message.broken and name in arrived}
    predicted = {
        each.event_id: each
        for each in reversed(published)  # so that the first prediction for a ride counts
        if each.event_id in good and each.ride_id == sent[each.event_id].key
    }
    first = min(arrived.values(), default=datetime.min)  # without arrivals, nothing is predicted
    identities = {each.identity for each in published}
    return StreamCounts(
        rides_sent=len(good),
        bad_records_sent=len(bad),
        rides_predicted=len(predicted),
        rejected=len(rejected),
        lost=len(sent.keys() - predicted.keys() - rejected.keys()),
        duplicates=len(published) - len(identities),
        unexpected=len(identities) - len(predicted) + len(rejected.keys() - bad),
        seconds=_seconds(arrived, published),
        rides=tuple(
            PredictedRide(
                each.ride_id,
                true[each.ride_id],
                each.minutes,
                (arrived[name] - first).total_seconds(),
                (each.arrived_at - arrived[name]).total_seconds() * 1000,
            )
            for name, each in sorted(predicted.items(), key=lambda item: item[1].arrived_at)
        ),
        reasons=Counter(
            (sent[name].broken or "nothing", reason)
            for name, reason in rejected.items()
            if name in sent
        ),
    )


def summary(counts: StreamCounts, *, rmse: float, flavour: str, source: str) -> dict[str, Any]:
    """Return the content of ``summary.json``.

    *rmse* is the model's RMSE in minutes on the test month, *flavour* is the model's flavour, and
    *source* is ``tlc`` or ``simulated``.
    """
    latency = [ride.latency_ms for ride in counts.rides]
    errors = np.array([ride.predicted - ride.true for ride in counts.rides])
    return {
        "rides_sent": counts.rides_sent,
        "bad_records_sent": counts.bad_records_sent,
        "rides_predicted": counts.rides_predicted,
        "rejected": counts.rejected,
        "lost": counts.lost,
        "duplicates": counts.duplicates,
        "rides_per_second": _rounded(counts.rides_predicted / (counts.seconds or np.nan)),
        "latency_ms": {"p50": percentile(latency, 50), "p99": percentile(latency, 99)},
        "rmse_minutes": _rounded(rmse),
        "rmse_minutes_streamed": _rounded(root_mean_square(errors)),
        "model_flavour": flavour,
        "source": source,
    }


def faults(counts: StreamCounts) -> list[str]:
    """Return a sentence for each wrong count; empty if every record is accounted for."""
    lost, unexpected = counts.lost, counts.unexpected
    predicted, rides = counts.rides_predicted, counts.rides_sent
    rejected, bad = counts.rejected, counts.bad_records_sent
    found = []
    if lost:
        found.append(f"{many(lost, 'record')} {were(lost)} lost.")
    if predicted != rides:
        found.append(f"{predicted:,} of {many(rides, 'ride')} {were(predicted)} predicted.")
    if rejected != bad:
        found.append(
            f"{many(rejected, 'record')} {were(rejected)} rejected, {bad:,} {were(bad)} broken."
        )
    if unexpected:
        found.append(f"{many(unexpected, 'result')} {were(unexpected)} unexpected.")
    return found


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the percentile *percent*, 0 to 100, of *values*; None if there are no values.

    The percentile is computed by linear interpolation.
    """
    return _rounded(float(np.percentile(values, percent))) if values else None


def root_mean_square(errors: NDArray[np.float64]) -> float:
    """Return the root mean square of *errors*, or NaN if there are no errors."""
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else float("nan")


def _seconds(arrived: Mapping[str, datetime], published: Sequence[Published]) -> float:
    if not arrived or not published:
        return 0.0
    last = max(each.arrived_at for each in published)
    return (last - min(arrived.values())).total_seconds()


def _rounded(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None
