"""Rides and models that several tests of training share.

They are made at most once in a session; tests must not change them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.training_factories import (
    FEW_BINS,
    QUICK,
    QUICK_SPREAD,
    Months,
    fit_quickly,
    simulated_months,
)
from training import pipeline
from training.data import simulation
from training.model.champion import FittedChampion
from training.pipeline import TrainingResult
from training.plan import TrainingPlan
from training.registry import tracking


@pytest.fixture(scope="session")
def months(tmp_path_factory: pytest.TempPathFactory) -> Months:
    """Return a month to train on, and the next month."""
    return simulated_months(tmp_path_factory.mktemp("months"))


@pytest.fixture(scope="session")
def fitted(months: Months) -> FittedChampion:
    """Return a small champion that was trained on the first month."""
    return fit_quickly(months[0])


@pytest.fixture(scope="session")
def fitted_again(months: Months) -> FittedChampion:
    """Return another champion that was trained on the same rides with the same seed."""
    return fit_quickly(months[0])


@pytest.fixture(scope="session")
def fitted_otherwise(months: Months) -> FittedChampion:
    """Return a champion that was trained on the same rides with another seed."""
    return fit_quickly(months[0], seed=1)


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Return a function that copies an empty MLflow database to a path, because it is slow to
    create.
    """
    template = tmp_path_factory.mktemp("database") / "mlflow.db"
    template.touch()
    with tracking.client(f"sqlite:///{template}") as client:
        client.search_registered_models()

    def new_database(path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(template, path)
        return f"sqlite:///{path}"

    return new_database


@pytest.fixture(scope="session")
def plan(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[Path], str]
) -> TrainingPlan:
    """Return a plan of small months, 2021-01 to 2021-03, without a model card."""
    directory = tmp_path_factory.mktemp("plan")
    simulation.write(directory / "rides", ["2021-01", "2021-02", "2021-03"], 250, seed=0)
    return TrainingPlan(
        data=directory / "rides",
        train=("2021-01",),
        test="2021-02",
        target="duration",
        tracking_uri=new_database(directory / "mlflow.db"),
        artifacts=str(directory / "artifacts"),
        parameters={**QUICK, **FEW_BINS},
        spread_parameters=QUICK_SPREAD,
        card=False,
    )


@pytest.fixture(scope="session")
def steps() -> list[str]:
    """Return an empty list, to which `result` adds the steps that training announces."""
    return []


@pytest.fixture(scope="session")
def result(plan: TrainingPlan, steps: list[str]) -> TrainingResult:
    """Return the result of training with `plan`."""
    return pipeline.train(plan, on_step=steps.append)
