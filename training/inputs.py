"""Reads the rides that a training plan names, and records how each month was used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model_service.models.description import TrainingRides

from .data import dataset
from .data.dataset import Rides
from .data.provenance import MonthUse, fingerprint
from .data.tlc import TAXIS
from .plan import TrainingPlan

KNOWN = 0.995
"""The share of the training rides whose distances a model tells apart.

The trees sort distances into at most 255 bins with equal numbers of rides, so that one ride in 255
is in the last bin, and longer rides get the same prediction.
"""
OnStep = Callable[[str], None]
"""A function that is called with the name of each step before the step begins."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The rides on which a model is trained, calibrated and tested."""

    training: Rides
    calibration: Rides | None
    test: Rides
    months: tuple[MonthUse, ...]
    """The months, oldest first."""

    def described(self) -> TrainingRides:
        """Return the description of the training rides that the logged model contains."""
        used = [one for one in self.months if one.use == "training"]
        return TrainingRides(
            source="simulated" if any(one.simulated for one in used) else "tlc",
            months=tuple(one.month for one in used),
            rides=len(self.training),
            longest_miles=round(float(np.quantile(self.training.columns.distance, KNOWN)), 1),
        )

    def dropped(self) -> list[dict[str, object]]:
        """Return the number of dropped rows for each month and reason, as rows of a table."""
        return [
            {"month": one.month, "use": one.use, "reason": reason, "rows": rows}
            for one in self.months
            for reason, rows in one.tally.dropped.items()
        ]


def read(plan: TrainingPlan, on_step: OnStep) -> TrainingData:
    """Read the rides of all months of *plan*.  Raises `DataError` if a month cannot be read."""
    uses = dict.fromkeys(plan.train, "training") | {plan.test: "test"}
    if plan.calibrate:
        uses[plan.calibrate] = "calibration"
    share = _training_share(plan)
    rides, months = dict[str, Rides](), list[MonthUse]()
    for month, use in sorted(uses.items()):
        on_step(f"reading {month}")
        found, counts = dataset.read_with_counts(plan.data, month, plan.target, plan.kind)
        if use == "training" and share < 1:
            found, counts = dataset.sample(found, counts, share, plan.seed)
        file = fingerprint(plan.data / TAXIS[plan.kind].file(month))
        rides[month] = found
        simulated = dataset.is_simulated(plan.data, month, plan.kind)
        months.append(MonthUse(month, use, file, counts, simulated))
    return TrainingData(
        training=dataset.concatenate([rides[month] for month in plan.train]),
        calibration=rides[plan.calibrate] if plan.calibrate else None,
        test=rides[plan.test],
        months=tuple(months),
    )


def _training_share(plan: TrainingPlan) -> float:
    """Return the share of the training rides to use, from 0 to 1.

    With this share, at most about ``plan.most`` rides are used.  The share is computed from the
    numbers of rows in the metadata of the files.
    """
    rows = sum(dataset.count_rows(plan.data, month, plan.kind) for month in plan.train)
    return min(1.0, plan.most / max(rows, 1))
