"""Decides whether a candidate becomes the champion, and lists the reasons against it.

Both models are loaded as the service loads them.  They predict the same rides, from a month that is
later than every training month of the two models.  The first champion has no other model to beat,
but must pass all other checks, among them those of its bias, its coverage and the linear baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray

from model_service import storage
from model_service.errors import ModelError
from model_service.features import RideColumns, columns
from model_service.models import trust
from model_service.models.loader import LoadedModel
from model_service.scoring import WARM_UP

from .. import metrics
from ..data import dataset
from ..data.dataset import UNITS, Rides, Target
from ..metrics import COVERAGE, MAX_BIAS, PartMetrics
from ..model import champion as champion_model
from ..model import export
from ..reports import model_card
from . import paired_bootstrap as bootstrap
from .paired_bootstrap import BOUND, CONFIDENCE, Gain

MAX_MILLISECONDS = {"1": 1.0, "1000": 50.0}
"""The longest allowed time of one call in milliseconds, by the number of rides in the call."""
CARD_FOLDER = "card"


@dataclass(frozen=True, slots=True)
class Contender:
    """A loaded model that takes part in a comparison, and the data of its version and run."""

    number: str
    """The number of the version in the registry."""
    location: str
    loaded: LoadedModel
    months: tuple[str, ...]
    """The months on which the model was trained and calibrated."""
    rolled_back: str
    """The time at which the version was rolled back; empty if it was not rolled back."""
    ratio_to_linear: float | None
    """The model's RMSE divided by the RMSE of the linear baseline, both on the test month of the
    model's run; None if the run did not log them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The results of a promotion test; the candidate passes if there are no reasons against it."""

    month: str
    rides: int
    rmse: Mapping[str, float]
    """The RMSE of ``candidate`` and ``champion``."""
    mae: Mapping[str, float]
    median: Mapping[str, float]
    """The median of the absolute error."""
    close: Mapping[str, float]
    """The share of predictions within 2 minutes or dollars, or 20 %: see `metrics.CLOSE_ERROR`."""
    bias: Mapping[str, float]
    coverage: Mapping[str, float | None]
    """The share of true values within the intervals; None if the model has no intervals."""
    ratio_to_linear: float | None
    """The candidate's RMSE divided by that of the linear baseline, on the test month of its run."""
    gain: Mapping[str, Gain]
    """The gains by ``rmse`` and ``mae``; empty for the first champion."""
    boroughs: Mapping[str, Mapping[str, float]]
    """Borough -> the RMSE of ``candidate`` and ``champion``."""
    milliseconds: Mapping[str, float]
    """The time of one call, by the number of rides in the call."""
    largest_difference: float | None
    """The largest difference between the predictions of the ONNX model and the scikit-learn model;
    None if one of the two is missing."""
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PromotionTest:
    """The rides on which models are compared, and the limits that a candidate must meet."""

    month: str
    rides: Rides
    target: Target
    confidence: float = CONFIDENCE
    bound: float = BOUND
    seed: int = 0


def judge(
    candidate: Contender, champion: Contender | None, test: PromotionTest, card_gaps: Sequence[str]
) -> Verdict:
    """Compare *candidate* with *champion*, and return the verdict on *candidate*.

    *champion* is None if there is no champion yet.  *card_gaps* are the missing parts of the
    candidate's model card.
    """
    contenders = {"candidate": candidate} | ({} if champion is None else {"champion": champion})
    rides = test.rides.columns
    evaluations = {
        name: metrics.evaluate_month(contender.loaded.predict, test.month, test.rides)
        for name, contender in contenders.items()
    }
    whole = {name: metrics.whole(evaluation) for name, evaluation in evaluations.items()}
    errors = {name: evaluation.error for name, evaluation in evaluations.items()}
    gain = {} if champion is None else _gains(errors, test)
    rmse_by_borough = {
        name: bootstrap.rmse_by_borough(error, rides.pickup) for name, error in errors.items()
    }
    difference, parity_reasons = _compare_forms(candidate, rides)
    times = _call_times(candidate)
    reasons = [
        *_test_month_reasons(contenders, test),
        *_gain_reasons(gain, test),
        *_borough_reasons(rmse_by_borough, test),
        *_bias_and_coverage_reasons(whole["candidate"], test),
        *_linear_reasons(candidate.ratio_to_linear),
        *parity_reasons,
        *_time_reasons(times),
        *(f"the model card is incomplete: {gap}" for gap in card_gaps),
    ]
    return Verdict(
        month=test.month,
        rides=len(test.rides),
        rmse={name: found.rmse for name, found in whole.items()},
        mae={name: found.mae for name, found in whole.items()},
        median={name: found.median for name, found in whole.items()},
        close={name: found.close for name, found in whole.items()},
        bias={name: found.bias for name, found in whole.items()},
        coverage={name: found.coverage for name, found in whole.items()},
        ratio_to_linear=candidate.ratio_to_linear,
        gain=gain,
        boroughs={
            borough: {name: by_borough[borough] for name, by_borough in rmse_by_borough.items()}
            for borough in rmse_by_borough["candidate"]
        },
        milliseconds=times,
        largest_difference=difference,
        reasons=tuple(reasons),
    )


def card_gaps(client: Any, run_id: str) -> list[str]:
    """Return the missing parts of a run's model card; *client* is MLflow's client."""
    if CARD_FOLDER not in {entry.path for entry in client.list_artifacts(run_id)}:
        return ["there is none; train without --no-card"]
    with TemporaryDirectory() as scratch:
        root = Path(client.download_artifacts(run_id, CARD_FOLDER, scratch))
        files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        card = root / model_card.TEXT
        return model_card.gaps(card.read_text(encoding="utf-8") if card.is_file() else "", files)


def _gains(errors: Mapping[str, NDArray[np.float64]], test: PromotionTest) -> dict[str, Gain]:
    days = dataset.days(test.rides)
    pair = errors["champion"], errors["candidate"]
    return {
        "rmse": bootstrap.rmse_gain(*pair, days, test.seed),
        "mae": bootstrap.mae_gain(*pair, days, test.seed),
    }


def _test_month_reasons(contenders: Mapping[str, Contender], test: PromotionTest) -> list[str]:
    reasons = []
    if rolled_back := contenders["candidate"].rolled_back:
        reasons.append(f"it was rolled back at {rolled_back}; train another model")
    for name, contender in contenders.items():
        if late := [month for month in contender.months if month >= test.month]:
            reasons.append(f"{test.month} cannot judge: the {name} was trained on {max(late)}")
    if len(np.unique(dataset.days(test.rides))) < bootstrap.MIN_DAYS:
        reasons.append(f"{test.month} has rides on fewer than {bootstrap.MIN_DAYS} days")
    return reasons


def _gain_reasons(gain: Mapping[str, Gain], test: PromotionTest) -> list[str]:
    if not gain:
        return []
    reasons, unit = [], UNITS[test.target]
    rmse, mae = gain["rmse"], gain["mae"]
    if rmse.confidence < test.confidence:
        reasons.append(
            f"it does not beat the champion by more than noise: RMSE is smaller by {rmse.gain:.3f} "
            f"{unit} with a confidence of {rmse.confidence:.1%}; {test.confidence:.0%} is required"
        )
    if 1 - mae.confidence > test.confidence and mae.gain < 0:
        reasons.append(f"its mean absolute error is larger by {-mae.gain:.3f} {unit}")
    return reasons


def _borough_reasons(
    rmse_by_borough: Mapping[str, Mapping[str, float]], test: PromotionTest
) -> list[str]:
    if "champion" not in rmse_by_borough:
        return []
    before, after = rmse_by_borough["champion"], rmse_by_borough["candidate"]
    return [
        f"it is worse in {name}: RMSE is {after[name]:.2f} {UNITS[test.target]}, and the "
        f"champion's {before[name]:.2f}; at most {test.bound:.0%} more is allowed"
        for name in bootstrap.worse_boroughs(before, after, test.bound)
    ]


def _bias_and_coverage_reasons(found: PartMetrics, test: PromotionTest) -> list[str]:
    reasons, (low, high) = [], COVERAGE
    if abs(found.bias) > MAX_BIAS:
        reasons.append(
            f"its bias is {found.bias:+.2f} {UNITS[test.target]}; at most {MAX_BIAS:g} is allowed"
        )
    if found.coverage is not None and not low <= found.coverage <= high:
        reasons.append(
            f"{found.coverage:.1%} of the true values are within its intervals; "
            f"{low:.0%} to {high:.0%} are required"
        )
    return reasons


def _linear_reasons(ratio: float | None) -> list[str]:
    if ratio is None:
        return [
            "its run has no errors of the linear baseline; train it with `python -m training train`"
        ]
    if ratio < 1:
        return []
    return [
        "it does not beat the linear baseline: on the test month of its run, its RMSE is "
        f"{ratio:.2f} times as large"
    ]


def _compare_forms(candidate: Contender, rides: RideColumns) -> tuple[float | None, list[str]]:
    if candidate.loaded.flavour != "onnx":
        return None, ["it has no ONNX model"]
    try:
        saved = storage.at(candidate.location).read("model.skops")
    except ModelError as exc:
        return None, [f"its ONNX and scikit-learn models cannot be compared: {exc}"]
    trees = skops.io.loads(saved, trusted=sorted(trust.TRUSTED_TYPES))
    difference = max(
        float(np.max(np.abs(predicted - candidate.loaded.predict(some).values)))
        for some in (rides, metrics.without_time(rides))
        for predicted in [trees.predict(champion_model.frame(some))]
    )
    if difference <= export.TOLERANCE:
        return difference, []
    return difference, [
        f"the predictions of its ONNX and scikit-learn models differ by {difference:.2g}, "
        f"more than {export.TOLERANCE:g}"
    ]


def _call_times(candidate: Contender) -> dict[str, float]:
    """Return the time of a call in milliseconds, by the number of rides in the call."""
    calls = {1: 100, 1000: 5}
    return {
        str(rides): metrics.milliseconds(
            candidate.loaded.predict, columns([WARM_UP] * rides), calls=number
        )
        for rides, number in calls.items()
    }


def _time_reasons(times: Mapping[str, float]) -> list[str]:
    return [
        f"it is slow: a call with {rides} takes {times[rides]:.2f} ms, more than {limit:g}"
        for rides, limit in MAX_MILLISECONDS.items()
        if times[rides] > limit
    ]
