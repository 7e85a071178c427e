"""Calculates how fast the service catches up after an outage of the scorer."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from . import streams
from .design import Design, Workload
from .estimate import scorer
from .figures import FIGURES, Figures
from .streams import READ, RECORDS, WRITTEN


@dataclass(frozen=True, slots=True)
class CatchUp:
    """The highest rate at which one model scores rides that waited on the stream."""

    rides_per_second: float
    limit: str
    """The part that allows no higher rate."""

    def seconds(self, outage: float, rides_per_second: float) -> float:
        """Return the seconds until no ride waits, after an outage of *outage* seconds.

        *rides_per_second* rides arrive during the outage and after it.
        """
        spare = self.rides_per_second - rides_per_second
        return outage * rides_per_second / spare if spare > 0 else inf


def catch_up(workload: Workload, design: Design, figures: Figures = FIGURES) -> CatchUp:
    """Return the highest rate, if other readers read the stream of rides at the usual rate."""
    of_rides, of_predictions = streams.shards(workload, design, figures)
    lanes = of_rides * design.parallelization
    rides = streams.streams(workload.rides_per_second, workload, design, figures)[0]
    others = (rides.readers - 1) * rides.records * rides.record_bytes
    taken = min(RECORDS, WRITTEN / figures.prediction_bytes.value)
    rates = {
        "the scorer": lanes * scorer(workload.highest, workload, design, figures).highest_rate,
        "reading the stream of rides": (of_rides * READ - others) / rides.record_bytes,
        "writing the stream of predictions": of_predictions * taken / workload.models,
    }
    limit = min(rates, key=rates.__getitem__)
    return CatchUp(rates[limit], limit)
