"""What became of the rides, counted from what lies on the streams and in the rejects bucket.

The event id that a stream gave to a record is its name everywhere: on the input stream, in the
prediction's ``source``, among the reasons of a rejects object.  Nothing is assumed of a record
that does not turn up.
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
from ..producer import Message


@dataclass(frozen=True, slots=True)
class Published:
    """A prediction event that was read from the output stream, and when it arrived there."""

    event: Mapping[str, Any]
    arrived_at: datetime

    @property
    def event_id(self) -> str:
        return str(self.event["source"]["event_id"])

    @property
    def ride_id(self) -> str:
        return str(self.event["prediction"]["ride_id"])

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.event["model"], self.event["version"], self.event_id


@dataclass(frozen=True, slots=True)
class Streamed:
    """A ride that came through."""

    ride_id: str
    true: float
    """Minutes, as `predicted`."""
    predicted: float
    sent_at: float
    """Seconds after the first record."""
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts, and the rides that were predicted, in the order of their predictions."""

    rides_sent: int
    bad_records_sent: int
    rides_predicted: int
    rejected: int
    lost: int
    duplicates: int
    stray: int
    """Predictions or rejections of what was never sent, or not what the record deserved."""
    seconds: float
    """From the first record on the input stream to the last on the output stream."""
    rides: tuple[Streamed, ...]
    reasons: Mapping[tuple[str, str], int]
    """Rejections by what is wrong with the record, and the reason that was given."""


def tally(
    *,
    sent: Mapping[str, Message],
    arrived: Mapping[str, datetime],
    published: Sequence[Published],
    rejected: Mapping[str, str],
    true: Mapping[str, float],
) -> Tally:
    """Count.

    *sent* has what the producer was told of, *arrived* what lies on the input stream, *rejected*
    a reason by event id, and *true* the minutes of each ride id.
    """
    good = {name for name, message in sent.items() if not message.broken and name in arrived}
    bad = {name for name, message in sent.items() if message.broken and name in arrived}
    answered = {
        each.event_id: each
        for each in reversed(published)  # so that the first answer to a ride is what counts
        if each.event_id in good and each.ride_id == sent[each.event_id].key
    }
    first = min(arrived.values(), default=datetime.min)  # with no arrival there is no answer
    identities = {each.identity for each in published}
    return Tally(
        rides_sent=len(good),
        bad_records_sent=len(bad),
        rides_predicted=len(answered),
        rejected=len(rejected),
        lost=len(sent.keys() - answered.keys() - rejected.keys()),
        duplicates=len(published) - len(identities),
        stray=len(identities) - len(answered) + len(rejected.keys() - bad),
        seconds=_seconds(arrived, published),
        rides=tuple(
            Streamed(
                each.ride_id,
                true[each.ride_id],
                minutes(each),
                (arrived[name] - first).total_seconds(),
                (each.arrived_at - arrived[name]).total_seconds() * 1000,
            )
            for name, each in sorted(answered.items(), key=lambda item: item[1].arrived_at)
        ),
        reasons=Counter(
            (sent[name].broken or "nothing", reason)
            for name, reason in rejected.items()
            if name in sent
        ),
    )


def minutes(published: Published) -> float:
    return float(published.event["prediction"]["ride_duration"])


def summary(counts: Tally, *, rmse: float, flavour: str, source: str) -> dict[str, Any]:
    """The content of ``summary.json``."""
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


def faults(counts: Tally) -> list[str]:
    """A sentence for each count that is not as it must be."""
    predicted, rides = counts.rides_predicted, counts.rides_sent
    rejected, bad = counts.rejected, counts.bad_records_sent
    sentences = {
        f"{many(counts.lost, 'record')} {were(counts.lost)} lost": counts.lost,
        f"{predicted:,} of {many(rides, 'ride')} {were(predicted)} predicted": predicted != rides,
        f"{many(rejected, 'record')} {were(rejected)} rejected, {bad:,} {were(bad)} broken":
            rejected != bad,
        f"{many(counts.stray, 'answer')} {were(counts.stray)} to nothing that was sent":
            counts.stray,
    }  # fmt: skip
    return [f"{sentence}." for sentence, wrong in sentences.items() if wrong]


def percentile(values: Sequence[float], percent: float) -> float | None:
    return _rounded(float(np.percentile(values, percent))) if values else None


def root_mean_square(errors: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else float("nan")


def _seconds(arrived: Mapping[str, datetime], published: Sequence[Published]) -> float:
    if not arrived or not published:
        return 0.0
    last = max(each.arrived_at for each in published)
    return (last - min(arrived.values())).total_seconds()


def _rounded(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None
