"""Search for better hyper-parameters: trained on some months, judged on the next.

A trial grows its trees in steps and tells how far off it is after each; one that is behind the
median of the others is given up.  The first trial is what the champion has now, so that what is
found is never worse.  In MLflow a search is a run, and a trial a run inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import pandas as pd
from msgspec import Meta
from sklearn.ensemble import HistGradientBoostingRegressor

from .. import metrics
from ..data import dataset as data
from ..data.dataset import UNITS, Target
from ..data.tlc import Kind
from ..model import champion
from ..model.champion import Parameters
from ..registry import tracking
from ..span import first_day

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

EXPERIMENT = "ride-predictions-tuning"
STEPS = 5
"""So often a trial says how far off it is."""
BEFORE_PRUNING = 5  # trials that are seen to their end, so that there is a median
Done = Callable[["FrozenTrial", float], None]
"""Told of each trial, and of the least error so far."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to search with."""

    data: Path
    train: tuple[str, ...]
    """Months, YYYY-MM."""
    validate: str
    """A later month; the one after it is there to test what is found."""
    target: Target
    trials: int
    seed: int
    tracking_uri: str
    kind: Kind = "green"


@dataclass(frozen=True, slots=True)
class Found:
    """The best trial."""

    run_id: str
    parameters: Parameters
    rmse: float
    before: float
    """The error with the parameters that the champion has now."""
    pruned: int
    trials: int


class Chosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hyper-parameters within what trees can be made of in bounded time; the champion's if unsaid.

    The fields are those of `fit.PARAMETERS`.
    """

    max_iter: Annotated[int, Meta(ge=champion.ROUGH, le=5_000)] = champion.PARAMETERS["max_iter"]
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = champion.PARAMETERS["learning_rate"]
    max_leaf_nodes: Annotated[int, Meta(ge=2, le=10_000)] = champion.PARAMETERS["max_leaf_nodes"]
    min_samples_leaf: Annotated[int, Meta(ge=1, le=1_000_000)] = champion.PARAMETERS[
        "min_samples_leaf"
    ]
    max_features: Annotated[float, Meta(gt=0, le=1)] = champion.PARAMETERS["max_features"]


class Said(msgspec.Struct, frozen=True):
    """What of a file that ``tune --json`` wrote is read."""

    parameters: Chosen


@dataclass(frozen=True, slots=True)
class Months:
    """What every trial is fed, made once."""

    frame: pd.DataFrame
    target: champion.Floats
    weight: champion.Floats
    judged: pd.DataFrame
    truth: champion.Floats


def run(plan: Plan, *, done: Done) -> Found:
    """Search.  Raises a `ServiceError` where the months are not there."""
    first_day(plan.validate)  # raises where it is none
    if plan.validate <= max(plan.train):
        raise data.DataError(
            f"{plan.validate} cannot judge what is trained on {max(plan.train)}: "
            "name a later --validate."
        )
    months = _read(plan)
    study = _study(plan.seed)
    unit = UNITS[plan.target]
    with tracking.search(plan.tracking_uri, EXPERIMENT, _said(plan)) as kept:

        def after(study: Study, trial: FrozenTrial) -> None:
            errors = [(f"rmse_{unit}", error, trees) for trees, error in _told(trial)]
            kept.trial(f"trial {trial.number}", trial.params, errors, pruned=_pruned(trial))
            done(trial, study.best_value)

        study.optimize(
            lambda trial: _grow(trial, _suggested(trial), plan, months),
            n_trials=plan.trials,
            callbacks=[after],
        )
        kept.best(study.best_params, f"rmse_{unit}", study.best_value)
    return Found(
        run_id=kept.run_id,
        parameters=study.best_params,
        rmse=study.best_value,
        before=study.trials[0].values[0],
        trials=len(study.trials),
        pruned=sum(map(_pruned, study.trials)),
    )


def _told(trial: FrozenTrial) -> list[tuple[int, float]]:
    return sorted(trial.intermediate_values.items())


def _pruned(trial: FrozenTrial) -> bool:
    return trial.state.name == "PRUNED"


def _said(plan: Plan) -> dict[str, object]:
    return {
        "train": ",".join(plan.train),
        **{name: getattr(plan, name) for name in ("kind", "validate", "target", "trials", "seed")},
    }


def parameters(file: Path | None) -> Parameters:
    """What ``tune --json`` wrote into *file*; without one, the champion's.  Raises `DataError`."""
    if file is None:
        return champion.PARAMETERS
    try:
        said = msgspec.json.decode(file.read_bytes(), type=Said)
    except (OSError, msgspec.MsgspecError, RecursionError) as exc:
        why = f": {exc}" if isinstance(exc, msgspec.ValidationError) else "."
        raise data.DataError(f"{file} has no parameters as tune --json writes them{why}") from exc
    return msgspec.structs.asdict(said.parameters)


def _study(seed: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # an interrupt is no news
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING, n_warmup_steps=1),
    )
    study.enqueue_trial(dict(champion.PARAMETERS))
    return study


def _suggested(trial: Trial) -> Parameters:
    """Where to look: what lies outside takes longer to answer, or had no promise."""
    return {
        "max_iter": trial.suggest_int("max_iter", 100, 300, step=50),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 15, 255, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 10, 200, log=True),
        "max_features": trial.suggest_float("max_features", 0.2, 1.0),
    }


def _grow(trial: Trial, parameters: Parameters, plan: Plan, months: Months) -> float:
    """The error at the end; raises `TrialPruned` on the way."""
    from optuna import TrialPruned

    model = HistGradientBoostingRegressor(
        **parameters, warm_start=True, early_stopping=False, random_state=plan.seed
    )
    for step in range(1, STEPS + 1):
        trees = round(parameters["max_iter"] * step / STEPS)
        with champion.one_thread():
            model.set_params(max_iter=trees).fit(months.frame, months.target, months.weight)
            error = metrics.rmse(model.predict(months.judged) - months.truth)
        trial.report(error, trees)
        if step < STEPS and trial.should_prune():
            raise TrialPruned
    return error


def _read(plan: Plan) -> Months:
    trained = data.join(
        [data.read(plan.data, month, plan.target, plan.kind) for month in plan.train]
    )
    judged = data.read(plan.data, plan.validate, plan.target, plan.kind)
    fed = champion.some_without_time(trained, plan.seed)
    return Months(
        champion.frame(fed.columns),
        fed.target,
        champion.weights(fed),
        champion.frame(judged.columns),
        judged.target,
    )
