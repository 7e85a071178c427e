"""The months of a plan: their rides by what they are for, and what became of their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .data import dataset
from .data.dataset import Rides
from .data.provenance import fingerprint
from .data.tlc import TAXIS
from .plan import Plan
from .reports.model_card import Rows

Step = Callable[[str], None]
"""Told what is about to be done."""


@dataclass(frozen=True, slots=True)
class Months:
    """What a model is made of and judged by."""

    training: Rides
    calibration: Rides | None
    test: Rides
    rows: tuple[Rows, ...]
    """By month, oldest first."""

    def dropped(self) -> list[dict[str, object]]:
        """A table of the rows that are not used, and why."""
        return [
            {"month": of.month, "use": of.use, "reason": reason, "rows": rows}
            for of in self.rows
            for reason, rows in of.tally.dropped.items()
        ]


def read(plan: Plan, step: Step) -> Months:
    """All months of *plan*.  Raises `DataError`."""
    found = {rows.month: (rides, rows) for rides, rows in _read(plan, step)}
    return Months(
        training=dataset.join([found[month][0] for month in plan.train]),
        calibration=found[plan.calibrate][0] if plan.calibrate else None,
        test=found[plan.test][0],
        rows=tuple(rows for _, rows in found.values()),
    )


def _read(plan: Plan, step: Step) -> Iterator[tuple[Rides, Rows]]:
    uses = dict.fromkeys(plan.train, "training") | {plan.test: "test"}
    if plan.calibrate:
        uses[plan.calibrate] = "calibration"
    share = _share(plan)
    for month, use in sorted(uses.items()):
        step(f"reading {month}")
        rides, tally = dataset.read_counted(plan.data, month, plan.target, plan.kind)
        if use == "training" and share < 1:
            rides, tally = dataset.thin(rides, tally, share, plan.seed)
        file = fingerprint(plan.data / TAXIS[plan.kind].file(month))
        yield rides, Rows(month, use, file, tally)


def _share(plan: Plan) -> float:
    """Of the rides to train on; the files say how many there are without being read."""
    rows = sum(dataset.rows(plan.data, month, plan.kind) for month in plan.train)
    return min(1.0, plan.most / max(rows, 1))
