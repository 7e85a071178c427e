"""Each reason not to promote a candidate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io

from model_service.features import RideColumns
from model_service.models import loader
from model_service.models.loader import LoadedModel
from model_service.scoring import Answers
from tests.support.training_factories import QUICK
from training.data import dataset
from training.model import champion
from training.pipeline import TrainingResult
from training.plan import TrainingPlan
from training.registry import promotion, tracking
from training.registry.promotion import Contender, PromotionTest

from .test_metrics import rides

Change = Callable[[RideColumns], Any]
TEST = PromotionTest("2023-03", rides(2400, pickup=np.arange(2400) % 2 * 4 + 4), "duration")


def off_by(error: Change) -> Contender:
    """Return a model with this error in minutes, trained on an earlier month."""

    return answering(lambda columns: Answers(columns.distance + error(columns)))


def answering(ask: Callable[[RideColumns], Answers]) -> Contender:
    loaded = LoadedModel("run", "python_function", "0", ask)
    return Contender("2", "nowhere", loaded, ("2023-01",), "", ratio_to_linear=0.7)


def swinging(size: float) -> Contender:
    return off_by(lambda columns: size * np.where(columns.hour % 2, 1, -1))


def reasons(
    candidate: Contender,
    champion: Contender | None,
    test: PromotionTest = TEST,
    gaps: tuple[str, ...] = (),
) -> list[str]:
    """Return the reasons against a candidate without an ONNX model, except for this reason."""
    found = promotion.judge(candidate, champion, test, gaps).reasons
    assert "it has no ONNX model" in found
    return [reason for reason in found if reason != "it has no ONNX model"]


def test_a_better_model_passes() -> None:
    assert reasons(swinging(1), swinging(2)) == []


def test_a_candidate_that_is_not_better_is_refused() -> None:
    [reason, also] = reasons(swinging(2), swinging(1.98))

    assert reason.startswith("it does not beat the champion by more than noise: RMSE is smaller by")
    assert also == "its mean absolute error is larger by 0.020 minutes"


def test_a_candidate_that_is_worse_in_a_borough_is_refused() -> None:
    """Zone 8 is in Queens, and zone 4 is in Manhattan."""
    uneven = off_by(lambda columns: np.where(columns.pickup == 8, 2.2, 0.1))

    assert reasons(uneven, swinging(2)) == [
        "it is worse in Queens: RMSE is 2.20 minutes, and the champion's 2.00; "
        "at most 5% more is allowed"
    ]
    assert reasons(uneven, swinging(2), replace(TEST, bound=0.2)) == []


def within(share: float, error: float = 1.0) -> Contender:
    """A model whose intervals hold this share of the true values."""

    def ask(columns: RideColumns) -> Answers:
        true = columns.distance
        low = true + np.where(np.arange(len(true)) < share * len(true), -5.0, 4.0)
        return Answers(
            true + error * np.where(columns.hour % 2, 1, -1), np.stack([low, true + 5], axis=1)
        )

    return answering(ask)


@pytest.mark.parametrize("champion", [None, swinging(2)])
def test_a_biased_candidate_is_refused_as_the_first_champion_too(
    champion: Contender | None,
) -> None:
    early = off_by(lambda columns: np.full(len(columns.pickup), -1.8))

    assert reasons(early, champion) == ["its bias is -1.80 minutes; at most 1.5 is allowed"]
    assert reasons(off_by(lambda columns: np.full(len(columns.pickup), -1.4)), champion) == []


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.71, ["71.0% of the true values are within its intervals; 75% to 85% are required"]),
        (0.9, ["90.0% of the true values are within its intervals; 75% to 85% are required"]),
        (0.76, []),
        (0.84, []),
    ],
)
def test_a_first_champion_with_wrong_coverage_is_refused(share: float, said: list[str]) -> None:
    assert reasons(within(share), None) == said


def test_a_candidate_that_does_not_beat_the_linear_baseline_is_refused() -> None:
    assert reasons(replace(swinging(1), ratio_to_linear=1.04), None) == [
        "it does not beat the linear baseline: on the test month of its run, its RMSE is "
        "1.04 times as large"
    ]
    [unknown] = reasons(replace(swinging(1), ratio_to_linear=None), None)
    assert unknown.startswith("its run has no errors of the linear baseline")


def test_the_verdict_has_the_errors_of_both_models() -> None:
    verdict = promotion.judge(within(0.8), swinging(3), TEST, ())

    assert verdict.median == {"candidate": 1, "champion": 3}
    assert verdict.close["candidate"] == 1
    assert verdict.bias["champion"] == pytest.approx(0)
    assert verdict.coverage == {"candidate": 0.8, "champion": None}
    assert verdict.ratio_to_linear == 0.7


def test_a_month_that_either_was_trained_on_cannot_judge() -> None:
    seen = replace(swinging(2), months=("2023-01", "2023-03"))

    assert reasons(swinging(1), seen) == [
        "2023-03 cannot judge: the champion was trained on 2023-03"
    ]


def test_a_candidate_that_was_rolled_back_is_refused() -> None:
    back = replace(swinging(1), rolled_back="2026-11-25T13:00:00Z")

    assert reasons(back, None) == [
        "it was rolled back at 2026-11-25T13:00:00Z; train another model"
    ]


def test_a_test_month_with_too_few_days_is_refused() -> None:
    short = replace(TEST, rides=rides(24 * 6))

    assert reasons(swinging(1), swinging(2), short) == ["2023-03 has rides on fewer than 7 days"]


def test_a_slow_candidate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(promotion.MAX_MILLISECONDS, "1", 1e-9)

    [reason] = reasons(swinging(1), None)

    assert reason.startswith("it is slow: a call with 1 takes ")


def test_a_candidate_with_an_incomplete_card_is_refused() -> None:
    assert reasons(swinging(1), None, gaps=("no card.html",)) == [
        "the model card is incomplete: no card.html"
    ]


def at(location: Path) -> Contender:
    return Contender("1", str(location), loader.load(str(location)), ("2021-01",), "", 0.7)


def reasons_about_forms(location: Path) -> list[str]:
    """The reasons, without those of rides that do not resemble the model's training rides."""
    found = promotion.judge(at(location), None, TEST, []).reasons
    return [reason for reason in found if "bias" not in reason and "intervals" not in reason]


def test_a_model_whose_two_forms_agree_passes(result: TrainingResult) -> None:
    verdict = promotion.judge(at(Path(result.model_location)), None, TEST, [])

    assert reasons_about_forms(Path(result.model_location)) == []
    assert verdict.largest_difference is not None
    assert verdict.largest_difference < 1e-3


def test_a_candidate_whose_two_forms_differ_is_refused(
    result: TrainingResult, plan: TrainingPlan, tmp_path: Path
) -> None:
    shutil.copytree(result.model_location, tmp_path / "model")
    other = dataset.read(plan.data, "2021-02", "duration")
    trees = champion.fit_value(other, seed=0, parameters=QUICK)
    skops.io.dump(trees, tmp_path / "model" / "model.skops")

    [reason] = reasons_about_forms(tmp_path / "model")

    assert reason.startswith("the predictions of its ONNX and scikit-learn models differ by ")


def test_a_candidate_without_its_scikit_learn_form_is_refused(
    result: TrainingResult, tmp_path: Path
) -> None:
    shutil.copytree(result.model_location, tmp_path / "model")
    (tmp_path / "model" / "model.skops").unlink()

    [reason] = reasons_about_forms(tmp_path / "model")

    assert reason.startswith("its ONNX and scikit-learn models cannot be compared: cannot read")


def test_the_only_gap_of_a_run_without_a_card_is_the_card(
    result: TrainingResult, plan: TrainingPlan
) -> None:
    with tracking.client(plan.tracking_uri) as client:
        gaps = promotion.card_gaps(client, result.run_id)

    assert gaps == ["there is none; train without --no-card"]
