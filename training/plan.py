"""What to train on what, and where to log it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .data.dataset import DataError, Target
from .data.tlc import Kind
from .model import champion
from .span import first_day


@dataclass(frozen=True, slots=True)
class Plan:
    """Months are written YYYY-MM; `check` says whether they make sense together."""

    data: Path
    train: tuple[str, ...]
    test: str
    target: Target
    tracking_uri: str
    artifacts: str | None
    """``s3://…`` or a directory; None for where MLflow puts them."""
    kind: Kind = "green"
    experiment: str = "ride-predictions"
    calibrate: str | None = None
    """The month between that the intervals are calibrated on; None for the rides of `train`."""
    most: int = 1_000_000
    """Rides to train on; of more, a random share: memory and time are bounded by this."""
    seed: int = 0
    parameters: champion.Parameters = champion.PARAMETERS
    card: bool = True
    """Whether pictures and a model card are made; without one no model is promoted."""


def check(plan: Plan) -> None:
    """Raises `DataError` where a month is none, or not later than what it is to judge."""
    for month in filter(None, [*plan.train, plan.calibrate, plan.test]):
        first_day(month)  # raises where it is none
    last = max(plan.train)
    if plan.calibrate:
        if plan.calibrate <= last:
            raise DataError(
                f"{plan.calibrate} cannot calibrate what is trained on {last}: "
                "name a later --calibrate."
            )
        last = plan.calibrate
    if plan.test <= last:
        raise DataError(f"{plan.test} cannot test what is trained on {last}: name a later --test.")


def told(plan: Plan, rides: int) -> dict[str, object]:
    """What a run that is trained on so many *rides* says of itself."""
    return {
        "train": ",".join(plan.train),
        "calibrate": plan.calibrate or "",
        "test": plan.test,
        "target": plan.target,
        "kind": plan.kind,
        "most": plan.most,
        "seed": plan.seed,
        "rides": rides,
        **plan.parameters,
    }
