"""The earlier design, with Firehose as the archive, as a check of the calculation.

A table made by hand had its costs.  The calculation must find the same costs from the same figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .design import Design, Workload
from .estimate import Estimate, estimate
from .figures import FIGURES
from .prices import KB, PRICES

DESIGN = Design(firehose=True)
FIGURES_THEN = replace(
    FIGURES,
    # 50 ms a batch of 250 rides, 0.2 KB of archive a ride, 2 KB of logs a batch: all assumed
    publish_ms=replace(FIGURES.publish_ms, value=37.0),
    archived_ride_bytes=replace(FIGURES.archived_ride_bytes, value=100.0),
    archived_prediction_bytes=replace(FIGURES.archived_prediction_bytes, value=100.0),
    log_bytes=replace(FIGURES.log_bytes, value=2000.0),
)
PRICES_THEN = replace(PRICES, read_rounding=KB)  # as if reads were rounded up as writes are


@dataclass(frozen=True, slots=True)
class Known:
    """The costs of the earlier design at one load, as stated at the time."""

    rides_per_second: float
    dollars_a_month: float
    firehose: float
    dollars_a_million_rides: float


KNOWN = (Known(1_000, 1_540, 727, 0.59), Known(50_000, 72_500, 36_300, 0.55))


def again(known: Known) -> Estimate:
    """Return the estimate of the earlier design at the load of *known*, which had no peaks."""
    workload = Workload(known.rides_per_second, peak=1.0)
    return estimate(workload, DESIGN, PRICES_THEN, FIGURES_THEN)
