"""Judge a candidate: may it become the champion, and if not, why not?

Both models are loaded as the service loads them, and asked for the same rides, of a month that is
later than all that either was trained on.  The first champion has nobody to beat; it is still
checked for what it takes to serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from ..data.dataset import UNITS, Rides, Target
from ..model import champion as fit
from ..model import export
from ..reports import model_card
from . import bootstrap
from .bootstrap import BOUND, CONFIDENCE, Gain

ONE_RIDE_MS, THOUSAND_MS = 1.0, 50.0
"""What a call may take."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that was loaded, and what its run says of it."""

    number: str
    """Its version in the registry."""
    location: str
    loaded: LoadedModel
    trained: tuple[str, ...]
    """Months."""
    rolled_back: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found; promoted if there is no reason against it."""

    month: str
    rides: int
    rmse: Mapping[str, float]
    """By ``candidate`` and ``champion``."""
    mae: Mapping[str, float]
    gain: Mapping[str, Gain]
    """By ``rmse`` and ``mae``; empty for the first champion."""
    boroughs: Mapping[str, Mapping[str, float]]
    """RMSE by ``candidate`` and ``champion``."""
    milliseconds: Mapping[str, float]
    """By rides in a call."""
    largest_difference: float | None
    """Between ONNX and scikit-learn."""
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bench:
    """What is judged by: a month, and how sure to be."""

    month: str
    rides: Rides
    target: Target
    confidence: float = CONFIDENCE
    bound: float = BOUND
    seed: int = 0


def judge(
    candidate: Contender, champion: Contender | None, bench: Bench, gaps: Sequence[str]
) -> Verdict:
    """*gaps* is what the candidate's card lacks."""
    errors = {
        name: contender.loaded.predict(bench.rides.columns).values - bench.rides.target
        for name, contender in _named(candidate, champion).items()
    }
    gain = {} if champion is None else _gains(errors, bench)
    pickup = bench.rides.columns.pickup
    by_borough = {name: bootstrap.rmse_by_borough(error, pickup) for name, error in errors.items()}
    difference, unlike = _parity(candidate, bench.rides.columns)
    taken = _milliseconds(candidate, bench.rides.columns)
    reasons = [
        *_unfit(candidate, champion, bench),
        *_no_better(gain, bench),
        *_worse(by_borough, bench),
        *unlike,
        *_slow(taken),
        *(f"the model card is incomplete: {gap}" for gap in gaps),
    ]
    return Verdict(
        month=bench.month,
        rides=len(bench.rides),
        rmse={name: metrics.rmse(error) for name, error in errors.items()},
        mae={name: float(np.mean(np.abs(error))) for name, error in errors.items()},
        gain=gain,
        boroughs={
            name: {of: found[name] for of, found in by_borough.items()}
            for name in by_borough["candidate"]
        },
        milliseconds=taken,
        largest_difference=difference,
        reasons=tuple(reasons),
    )


def card_gaps(client: Any, run_id: str, scratch: str) -> list[str]:
    """What the card of a run lacks."""
    folder = "card"
    there = {entry.path for entry in client.list_artifacts(run_id)}
    if folder not in there:
        return ["there is none; train without --no-card"]
    root = client.download_artifacts(run_id, folder, scratch)
    files = {str(path.relative_to(root)) for path in Path(root).rglob("*") if path.is_file()}
    text = (
        Path(root, model_card.TEXT).read_text(encoding="utf-8") if model_card.TEXT in files else ""
    )
    return model_card.gaps(text, files)


def _named(candidate: Contender, champion: Contender | None) -> dict[str, Contender]:
    return {"candidate": candidate} | ({} if champion is None else {"champion": champion})


def _gains(errors: Mapping[str, NDArray[np.float64]], bench: Bench) -> dict[str, Gain]:
    days = bootstrap.days_of(bench.rides.pickup_datetime)
    pair = errors["champion"], errors["candidate"]
    return {
        "rmse": bootstrap.rmse_gain(*pair, days, bench.seed),
        "mae": bootstrap.mae_gain(*pair, days, bench.seed),
    }


def _unfit(candidate: Contender, champion: Contender | None, bench: Bench) -> list[str]:
    found = []
    if candidate.rolled_back:
        found.append(f"it was rolled back at {candidate.rolled_back}; train another")
    for name, contender in _named(candidate, champion).items():
        if late := [month for month in contender.trained if month >= bench.month]:
            found.append(f"{bench.month} cannot judge: the {name} was trained on {max(late)}")
    if len(np.unique(bootstrap.days_of(bench.rides.pickup_datetime))) < bootstrap.FEWEST_DAYS:
        found.append(f"{bench.month} has rides of fewer than {bootstrap.FEWEST_DAYS} days")
    return found


def _no_better(gain: Mapping[str, Gain], bench: Bench) -> list[str]:
    if not gain:
        return []
    found, unit = [], UNITS[bench.target]
    if gain["rmse"].confidence < bench.confidence:
        found.append(
            f"it does not beat the champion by more than noise: RMSE is smaller by "
            f"{gain['rmse'].gain:.3f} {unit}, with a confidence of {gain['rmse'].confidence:.1%} "
            f"where {bench.confidence:.0%} is asked for"
        )
    if 1 - gain["mae"].confidence > bench.confidence and gain["mae"].gain < 0:
        found.append(f"its mean absolute error is larger, by {-gain['mae'].gain:.3f} {unit}")
    return found


def _worse(by_borough: Mapping[str, Mapping[str, float]], bench: Bench) -> list[str]:
    if "champion" not in by_borough:
        return []
    before, after = by_borough["champion"], by_borough["candidate"]
    return [
        f"it is worse in {name}: RMSE {after[name]:.2f} against {before[name]:.2f} "
        f"{UNITS[bench.target]}, more than {bench.bound:.0%}"
        for name in bootstrap.worse(before, after, bench.bound)
    ]


def _parity(candidate: Contender, rides: RideColumns) -> tuple[float | None, list[str]]:
    if candidate.loaded.flavour != "onnx":
        return None, ["it has no ONNX form"]
    try:
        saved = storage.at(candidate.location).read("model.skops")
    except ModelError as exc:
        return None, [f"its two forms cannot be compared: {exc}"]
    other = skops.io.loads(saved, trusted=sorted(trust.TRUSTED_TYPES))
    difference = max(
        float(np.max(np.abs(other.predict(fit.frame(of)) - candidate.loaded.predict(of).values)))
        for of in (rides, metrics.without_time(rides))
    )
    if difference <= export.TOLERANCE:
        return difference, []
    return difference, [
        f"its ONNX and scikit-learn forms differ by {difference:.2g}, "
        f"more than {export.TOLERANCE:g}"
    ]


def _milliseconds(candidate: Contender, rides: RideColumns) -> dict[str, float]:
    ask = candidate.loaded.predict
    [one] = metrics.milliseconds([ask], columns([WARM_UP]), calls=100)
    [many] = metrics.milliseconds([ask], columns([WARM_UP] * 1000), calls=5)
    return {"1": one, "1000": many}


def _slow(taken: Mapping[str, float]) -> list[str]:
    most = {"1": ONE_RIDE_MS, "1000": THOUSAND_MS}
    return [
        f"it is slow: a call with {rides} takes {taken[rides]:.2f} ms, more than {limit:g}"
        for rides, limit in most.items()
        if taken[rides] > limit
    ]
