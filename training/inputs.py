"""Reads the rides that a training plan names, and records how each month was used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .data import dataset
from .data.dataset import Rides
from .data.provenance import MonthUse, fingerprint
from .data.tlc import TAXIS
from .plan import TrainingPlan

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
        months.append(MonthUse(month, use, file, counts))
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
