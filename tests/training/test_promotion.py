"""Each reason against a candidate, by itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_service.features import RideColumns
from model_service.models import loader
from model_service.models.loader import LoadedModel
from model_service.scoring import Answers
from training import pipeline
from training.data import simulation
from training.pipeline import Plan
from training.registry import promotion
from training.registry.promotion import Bench, Contender

from .test_metrics import rides

Change = Callable[[RideColumns], Any]
BENCH = Bench("2023-03", rides(2400, pickup=np.arange(2400) % 2 * 4 + 4), "duration")


def off_by(error: Change) -> Contender:
    """A model that is wrong by so many minutes, whose training ended in time."""

    def ask(columns: RideColumns) -> Answers:
        return Answers(columns.distance + error(columns))

    loaded = LoadedModel("run", "python_function", "0", ask)
    return Contender("2", "nowhere", loaded, ("2023-01",), "")


def swinging(size: float) -> Contender:
    return off_by(lambda columns: size * np.where(columns.hour % 2, 1, -1))


def reasons(
    candidate: Contender,
    champion: Contender | None,
    bench: Bench = BENCH,
    gaps: tuple[str, ...] = (),
) -> list[str]:
    """All but the one that every model without ONNX gets."""
    found = promotion.judge(candidate, champion, bench, gaps).reasons
    assert "it has no ONNX form" in found
    return [reason for reason in found if reason != "it has no ONNX form"]


def test_against_a_better_model_there_is_none() -> None:
    assert reasons(swinging(1), swinging(2)) == []


def test_it_is_no_better() -> None:
    [reason, also] = reasons(swinging(2), swinging(1.98))

    assert reason.startswith("it does not beat the champion by more than noise: RMSE is smaller by")
    assert also == "its mean absolute error is larger, by 0.020 minutes"


def test_it_is_worse_in_a_borough() -> None:
    """Zone 8 is in Queens, zone 4 in Manhattan."""
    uneven = off_by(lambda columns: np.where(columns.pickup == 8, 2.2, 0.1))

    assert reasons(uneven, swinging(2)) == [
        "it is worse in Queens: RMSE 2.20 against 2.00 minutes, more than 5%"
    ]
    assert reasons(uneven, swinging(2), replace(BENCH, bound=0.2)) == []


def test_either_has_seen_the_month() -> None:
    seen = replace(swinging(2), trained=("2023-01", "2023-03"))

    assert reasons(swinging(1), seen) == [
        "2023-03 cannot judge: the champion was trained on 2023-03"
    ]


def test_it_was_rolled_back() -> None:
    back = replace(swinging(1), rolled_back="2026-11-25T13:00:00Z")

    assert reasons(back, None) == ["it was rolled back at 2026-11-25T13:00:00Z; train another"]


def test_a_few_days_say_nothing() -> None:
    short = replace(BENCH, rides=rides(24 * 6))

    assert reasons(swinging(1), swinging(2), short) == ["2023-03 has rides of fewer than 7 days"]


def test_it_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "ONE_RIDE_MS", 1e-9)

    [reason] = reasons(swinging(1), None)

    assert reason.startswith("it is slow: a call with 1 takes ")


def test_its_card_lacks_something() -> None:
    assert reasons(swinging(1), None, gaps=("no card.html",)) == [
        "the model card is incomplete: no card.html"
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The locations of two models that differ."""
    directory = tmp_path_factory.mktemp("promotion")
    simulation.write(directory / "rides", ["2023-01", "2023-02"], 1_500, seed=0)
    plan = Plan(
        data=directory / "rides",
        train=("2023-01",),
        test="2023-02",
        target="duration",
        tracking_uri=f"sqlite:///{directory / 'mlflow.db'}",
        artifacts=str(directory / "artifacts"),
        card=False,
    )
    plans = [plan, replace(plan, seed=1)]
    return [pipeline.train(each, step=lambda _: None).model_location for each in plans]


def at(location: Path) -> Contender:
    return Contender("1", str(location), loader.load(str(location)), ("2023-01",), "")


def test_a_model_whose_forms_agree_has_nothing_against_it(trained: list[str]) -> None:
    verdict = promotion.judge(at(Path(trained[0])), None, BENCH, [])

    assert verdict.reasons == ()
    assert verdict.largest_difference is not None
    assert verdict.largest_difference < 1e-3


def test_its_two_forms_differ(trained: list[str], tmp_path: Path) -> None:
    mixed = tmp_path / "model"
    shutil.copytree(trained[0], mixed)
    shutil.copy(Path(trained[1], "model.skops"), mixed)

    [reason] = promotion.judge(at(mixed), None, BENCH, []).reasons

    assert reason.startswith("its ONNX and scikit-learn forms differ by ")


def test_one_of_its_forms_is_missing(trained: list[str], tmp_path: Path) -> None:
    halved = tmp_path / "model"
    shutil.copytree(trained[0], halved)
    (halved / "model.skops").unlink()

    [reason] = promotion.judge(at(halved), None, BENCH, []).reasons

    assert reason.startswith("its two forms cannot be compared: cannot read")
