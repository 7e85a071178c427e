"""The settings of one training run: months, target, hyper-parameters, and MLflow's location."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_service.datasets.months import months

from .data.dataset import DataError, Target
from .data.tlc import Kind
from .model import champion, parameters
from .model.parameters import Parameters


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The settings of one training run; months have the form YYYY-MM."""

    data: Path
    """The directory with the files of the months."""
    train: tuple[str, ...]
    test: str
    target: Target
    tracking_uri: str
    artifacts: str | None
    """The location of MLflow's artifacts: ``s3://…`` or a directory; None for MLflow's default."""
    kind: Kind = "green"
    experiment: str = "ride-predictions"
    calibrate: str | None = None
    """The month on which the intervals are calibrated; None to calibrate on the training rides."""
    most: int = 1_000_000
    """The maximum number of training rides.  If there are more, a sample of this size is used, so
    that memory and time are bounded."""
    seed: int = 0
    parameters: Parameters = parameters.DEFAULTS
    spread_parameters: Parameters = champion.SPREAD
    """The hyper-parameters of the trees that predict the spread of the errors."""
    card: bool = True
    """Whether to make a model card; a model without a card cannot be promoted."""


def check(plan: TrainingPlan) -> None:
    """Check the order of the months: training, then calibration, then test.

    Raises `SettingsError` if a month does not have the form YYYY-MM, and `DataError` if the months
    are not in this order.
    """
    for month in filter(None, [*plan.train, plan.calibrate, plan.test]):
        months(month, month)
    last = max(plan.train)
    if plan.calibrate:
        if plan.calibrate <= last:
            raise DataError(
                f"{plan.calibrate} cannot calibrate a model that is trained on {last}: "
                "name a later --calibrate."
            )
        last = plan.calibrate
    if plan.test <= last:
        raise DataError(
            f"{plan.test} cannot test a model that is trained on {last}: name a later --test."
        )


def run_parameters(plan: TrainingPlan, rides: int) -> dict[str, object]:
    """Return the parameters to log for a run of *plan*; *rides* is the number of training rides."""
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
