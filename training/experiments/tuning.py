"""Searches for better hyper-parameters: trains on some months, and validates on a later month.

In a trial, trees are added to a model in steps, and the error is reported after each step.  A trial
is stopped early (pruned) if its error is greater than the median error of earlier trials at this
step.  The first trial has the champion's parameters, so the best trial is never worse than these.
In MLflow, a search is a run, and each trial is a run nested in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from model_service.datasets.months import months

from .. import metrics
from ..data import dataset
from ..data.dataset import UNITS, Target
from ..data.tlc import Kind
from ..model import champion
from ..model.parameters import DEFAULTS, Parameters
from ..registry import tracking
from ..registry.tracking import Destination

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

EXPERIMENT = "ride-predictions-tuning"
STEPS = 5
"""The number of times that a trial reports its error."""
BEFORE_PRUNING = 5  # trials, which are never pruned, so that there is a median
OnTrial = Callable[["FrozenTrial", float], None]
"""A function that is called after each trial with the lowest error so far."""


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """The months and settings of a search."""

    data: Path
    train: tuple[str, ...]
    """The training months, in the form YYYY-MM."""
    validate: str
    """The validation month, after the training months.  Test the result on a month after this one.
    """
    target: Target
    trials: int
    seed: int
    tracking_uri: str
    kind: Kind = "green"


@dataclass(frozen=True, slots=True)
class TuningResult:
    """The best trial of a search."""

    run_id: str
    parameters: Parameters
    rmse: float
    before: float
    """The RMSE with the champion's present parameters, on the same rides."""
    pruned: int
    trials: int


@dataclass(frozen=True, slots=True)
class TuningData:
    """The features, true values and weights of the rides; all trials use the same rides."""

    frame: pd.DataFrame
    target: champion.Floats
    weight: champion.Floats
    validation_frame: pd.DataFrame
    validation_target: champion.Floats


def run(plan: TuningPlan, *, on_trial: OnTrial) -> TuningResult:
    """Search for better hyper-parameters, and log each trial to MLflow.

    Raises a `ServiceError` if a month cannot be read.
    """
    months(plan.validate, plan.validate)
    if plan.validate <= max(plan.train):
        raise dataset.DataError(
            f"{plan.validate} cannot validate a model that is trained on {max(plan.train)}: "
            "name a later --validate."
        )
    data = _read(plan)
    study = _study(plan.seed)
    metric = f"rmse_{UNITS[plan.target]}"
    to = Destination(plan.tracking_uri, EXPERIMENT)
    with tracking.search(to, _search_parameters(plan)) as search:

        def after(study: Study, trial: FrozenTrial) -> None:
            steps = sorted(trial.intermediate_values.items())
            errors = [(metric, error, trees) for trees, error in steps]
            name = f"trial {trial.number}"
            search.log_trial(name, trial.params, errors, pruned=_is_pruned(trial))
            on_trial(trial, study.best_value)

        study.optimize(
            lambda trial: _validate(trial, _suggest(trial), plan, data),
            n_trials=plan.trials,
            callbacks=[after],
        )
        search.log_best(study.best_params, metric, study.best_value)
    return TuningResult(
        run_id=search.run_id,
        parameters=study.best_params,
        rmse=study.best_value,
        before=study.trials[0].values[0],
        trials=len(study.trials),
        pruned=sum(map(_is_pruned, study.trials)),
    )


def _is_pruned(trial: FrozenTrial) -> bool:
    return trial.state.name == "PRUNED"


def _search_parameters(plan: TuningPlan) -> dict[str, object]:
    return {
        "train": ",".join(plan.train),
        **{name: getattr(plan, name) for name in ("kind", "validate", "target", "trials", "seed")},
    }


def _study(seed: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # else an interrupt prints a stack trace
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING, n_warmup_steps=1),
    )
    study.enqueue_trial(dict(DEFAULTS))
    return study


def _suggest(trial: Trial) -> Parameters:
    """Return parameters for *trial*, from ranges that gave good and fast models."""
    return {
        "max_iter": trial.suggest_int("max_iter", 100, 300, step=50),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 15, 255, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 10, 200, log=True),
        "max_features": trial.suggest_float("max_features", 0.2, 1.0),
    }


def _validate(trial: Trial, parameters: Parameters, plan: TuningPlan, data: TuningData) -> float:
    """Return the RMSE of the trial's model.  Raises `TrialPruned` if the trial is pruned."""
    from optuna import TrialPruned

    model = HistGradientBoostingRegressor(
        **parameters, warm_start=True, early_stopping=False, random_state=plan.seed
    )
    for step in range(1, STEPS + 1):
        trees = round(parameters["max_iter"] * step / STEPS)
        with champion.one_thread():
            model.set_params(max_iter=trees).fit(data.frame, data.target, data.weight)
            predicted = model.predict(data.validation_frame)
            error = metrics.rmse(predicted - data.validation_target)
        trial.report(error, trees)
        if step < STEPS and trial.should_prune():
            raise TrialPruned
    return error


def _read(plan: TuningPlan) -> TuningData:
    *training, validation = (
        dataset.read(plan.data, month, plan.target, plan.kind)
        for month in (*plan.train, plan.validate)
    )
    trained = champion.with_hidden_times(dataset.concatenate(training), plan.seed)
    return TuningData(
        champion.frame(trained.columns),
        trained.target,
        champion.weights(trained),
        champion.frame(validation.columns),
        validation.target,
    )
