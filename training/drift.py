"""Measures the drift of live rides and predictions from the data that a model was trained on.

A model has a file ``baseline.json`` among its extra files: the `Baseline` of its training data.  It
contains shares of rides, and no single rides.  Drift is measured by the population stability index:
the sum over all bins of (live - trained) * log(live / trained).  Below 0.1 a distribution is
steady; above 0.25 it has drifted.  If there are few rides, the index is large by chance alone, so
its expected value without any change is subtracted first.

If enough true values are known, the model's errors are also compared with those on its test month.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model_service import storage, truth
from model_service.datasets import files
from model_service.datasets.arrow import numpy
from model_service.datasets.formats.reader import chunks
from model_service.datasets.schema import columns
from model_service.errors import ModelError
from model_service.features import RideColumns
from model_service.scoring import Answers

from .data.dataset import UNITS, DataError, Rides, Target, concatenate, take
from .metrics import COVERAGE, MAX_BIAS, Evaluation, whole

Floats = NDArray[np.float64]

FILE = "extra_files/baseline.json"
FILES = "files"
"""The name in place of a month for rides that were not read from a month's file."""
MISSING = "missing"
RARE = 0.01
"""Values with a smaller share of the training rides are counted together in one bin."""
MIN_SHARE = 1e-4
"""The share used in place of smaller shares, because 0 has no logarithm."""
MOVED, DRIFTED = 0.1, 0.25
MIN_HOURLY_RIDES = 20
"""Hours with fewer rides are left out of the hourly means."""
MAX_ERROR_GROWTH = 0.15
"""RMSE and MAE may grow by this share of their values on the test month.  The errors of an
unchanged model vary by 11 % between months (see the backtest in docs/models.md)."""
MIN_FINISHED_RIDES = 1_000
"""Errors of fewer rides are not judged.  By chance alone, the coverage of a thousand intervals
varies by 2.5 percentage points (two standard deviations), which is half of what is accepted."""
QUANTILES = (0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)

Level = Literal["steady", "moved", "drifted"]


class NumberDistribution(msgspec.Struct, frozen=True):
    """The distribution of a numeric value over the training rides."""

    edges: tuple[float, ...]
    """The edges between bins.  The first bin has no lower edge, and the last bin no upper edge."""
    share: tuple[float, ...]
    """The share of rides in each bin; there is one bin more than edges."""
    mean: float
    quantiles: dict[str, float]


class PlausibleRange(msgspec.Struct, frozen=True):
    """The ranges of plausible predictions, as (low, high); both ends are included."""

    value: tuple[float, float]
    """The range that contains all but one in five hundred predictions for the training rides."""
    mean: tuple[float, float]
    """The lowest and the highest mean of these predictions over the rides of one hour."""


class MonthErrors(msgspec.Struct, frozen=True):
    """A model's errors on a month that it was not trained on, in minutes or dollars."""

    month: str
    """A month, or `FILES`."""
    rides: int
    rmse: float
    mae: float
    bias: float
    """The mean of prediction minus true value."""
    coverage: float | None
    """The share of true values within their intervals; None if the model has no intervals."""


class Baseline(msgspec.Struct, frozen=True):
    """The content of ``baseline.json``."""

    format: Literal[1]
    target: Target
    unit: str
    months: tuple[str, ...]
    rides: int
    numbers: dict[str, NumberDistribution]
    """The distributions of ``trip_distance`` and ``prediction``, by name."""
    shares: dict[str, dict[str, float]]
    """Shares of rides by value, for each of ``PULocationID``, ``DOLocationID``, ``hour`` and
    ``weekday``."""
    plausible: PlausibleRange
    test: MonthErrors | None = None
    """The errors on the test month; older models do not have them."""


@dataclass(frozen=True, slots=True)
class Shift:
    """The drift of one feature, or of the predictions."""

    name: str
    index: float
    """The population stability index."""
    chance: float
    """The expected index if nothing has changed."""

    @property
    def level(self) -> Level:
        beyond = self.index - self.chance
        return "steady" if beyond < MOVED else "moved" if beyond < DRIFTED else "drifted"


def baseline(
    rides: Rides,
    predicted: Floats,
    *,
    target: Target,
    months: Sequence[str],
    test: MonthErrors | None = None,
) -> Baseline:
    """Return the baseline of a model.

    *rides* are its training rides, *predicted* are its predictions for them (minutes or dollars),
    *months* are the months of these rides, and *test* are its errors on the test month.
    """
    return Baseline(
        format=1,
        target=target,
        unit=UNITS[target],
        months=tuple(months),
        rides=len(rides),
        numbers={
            "trip_distance": _distribution(rides.columns.distance),
            "prediction": _distribution(predicted),
        },
        shares={name: _shares(values) for name, values in _categories(rides.columns).items()},
        plausible=PlausibleRange(
            value=_plausible_values(predicted),
            mean=_hourly_means(rides.pickup_datetime, predicted),
        ),
        test=test,
    )


def month_errors(month: str, test: Evaluation) -> MonthErrors:
    """Return the errors in *test*, whose rides are those of *month*."""
    found = whole(test)
    return MonthErrors(month, found.rides, found.rmse, found.mae, found.bias, found.coverage)


def read_baseline(location: str) -> Baseline:
    """Return the baseline of the model at *location*.

    Raises `ModelError` if the model has no baseline, or the baseline is not in the expected format.
    """
    try:
        return msgspec.json.decode(storage.at(location).read(FILE), type=Baseline)
    except msgspec.MsgspecError as exc:
        raise ModelError(f"{FILE} of the model is not in the format of training: {exc}") from exc


def read_rides(paths: Sequence[Path], target: Target) -> tuple[Rides, int]:
    """Return the valid rides of all files in order, and the number of rejected ones.

    The files are in a format that batch scoring reads, such as ride events or the archive.  The
    true value of a ride is NaN if its file does not have it, or if it is outside the limits of
    training.  A file that is given twice is read once, and so are lines that two objects of the
    archive have in common.  Raises `FileError` if a file cannot be read, and `DataError` if no file
    has a valid ride.
    """
    parts: list[Rides] = []
    rejected = 0
    for one in files.inputs([str(path) for path in paths]):
        for chunk in chunks(Path(one.location), name=one.location, skip_through=one.skip_through):
            parsed = chunk.parse()
            rejected += len(parsed.rejected)
            if len(parsed.rides):
                found = columns(parsed.rides)
                parts.append(Rides(found, _true_values(parsed.rides, target), found.picked_up))
    if not parts:
        raise DataError("The files hold no valid ride events.")
    return concatenate(parts), rejected


def finished(evaluation: Evaluation) -> Evaluation:
    """Return the part of *evaluation* with the rides whose true value is known."""
    known, answers = ~np.isnan(evaluation.rides.target), evaluation.answers
    intervals = None if answers.intervals is None else answers.intervals[known]
    return Evaluation(
        evaluation.month[known],
        take(evaluation.rides, known),
        Answers(answers.values[known], intervals),
    )


def compare(trained: Baseline, rides: RideColumns, predicted: Floats) -> list[Shift]:
    """Return the drift of each feature of *rides* and of the predictions, largest drift first.

    *trained* is the baseline of the model, and *predicted* are its predictions for *rides*.
    """
    live = {"trip_distance": rides.distance, "prediction": predicted}
    counts = trained.rides, len(predicted)
    shifts = [
        _shift(name, known.share, _binned(live[name], known.edges), *counts)
        for name, known in trained.numbers.items()
    ]
    for name, values in _categories(rides).items():
        known = trained.shares[name]
        common = [value for value, share in known.items() if share >= RARE and value != MISSING]
        shifts.append(
            _shift(name, _pooled(known, common), _pooled(_shares(values), common), *counts)
        )
    return sorted(shifts, key=lambda shift: shift.chance - shift.index)


def implausible_share(trained: Baseline, predicted: Floats) -> float:
    """Return the share of *predicted*, from 0 to 1, that is outside the plausible range."""
    low, high = trained.plausible.value
    return float(np.mean((predicted < low) | (predicted > high)))


def slipped(trained: Baseline, now: MonthErrors) -> list[str]:
    """Return a sentence for each measure of the errors *now* that is outside its limit.

    RMSE and MAE are compared with those on the test month, if *trained* has them.  The limits of
    the bias and the coverage are those of a promotion.  If *now* is the errors of fewer than
    `MIN_FINISHED_RIDES` rides, nothing is judged.
    """
    if now.rides < MIN_FINISHED_RIDES:
        return []
    reasons = []
    if trained.test is not None:
        for name, before, error in (
            ("RMSE", trained.test.rmse, now.rmse),
            ("The mean absolute error", trained.test.mae, now.mae),
        ):
            if error > before * (1 + MAX_ERROR_GROWTH):
                reasons.append(
                    f"{name} is {error:.2f} {trained.unit}, {error / before - 1:.0%} more than "
                    f"the {before:.2f} of {trained.test.month}; at most {MAX_ERROR_GROWTH:.0%} "
                    "more is accepted."
                )
    if abs(now.bias) > MAX_BIAS:
        reasons.append(
            f"The bias is {now.bias:+.2f} {trained.unit}; at most {MAX_BIAS:g} is accepted."
        )
    if now.coverage is not None and not COVERAGE[0] <= now.coverage <= COVERAGE[1]:
        reasons.append(
            f"{now.coverage:.1%} of the true values are within their intervals; "
            f"{COVERAGE[0]:.0%} to {COVERAGE[1]:.0%} are accepted."
        )
    return reasons


def _true_values(rides: pa.RecordBatch, target: Target) -> Floats:
    duration, cost = (numpy(rides[f"ride_{name}_actual"]) for name in ("duration", "cost"))
    within = truth.DURATION.valid(duration)
    if target == "duration":
        return np.where(within, duration, np.nan)
    within |= np.isnan(duration)  # a file may have amounts, and no drop-off times
    return np.where(within & truth.COST.valid(cost), cost, np.nan)


def _categories(rides: RideColumns) -> Mapping[str, Floats]:
    return {
        "PULocationID": rides.pickup.astype(np.float64),
        "DOLocationID": rides.dropoff.astype(np.float64),
        "hour": rides.hour,
        "weekday": rides.weekday,
    }


def _distribution(values: Floats) -> NumberDistribution:
    edges = tuple(np.unique(np.quantile(values, np.linspace(0.1, 0.9, 9))).tolist())
    quantiles = np.quantile(values, QUANTILES).tolist()
    return NumberDistribution(
        edges=edges,
        share=_binned(values, edges),
        mean=float(np.mean(values)),
        quantiles={f"{at:g}": value for at, value in zip(QUANTILES, quantiles, strict=True)},
    )


def _binned(values: Floats, edges: Sequence[float]) -> tuple[float, ...]:
    bins = np.searchsorted(edges, values, side="right")
    return tuple((np.bincount(bins, minlength=len(edges) + 1) / len(values)).tolist())


def _shares(values: Floats) -> dict[str, float]:
    known = values[~np.isnan(values)]
    names, counts = np.unique(known, return_counts=True)
    shares = {
        f"{value:g}": count / len(values)
        for value, count in zip(names.tolist(), counts.tolist(), strict=True)
    }
    unknown = (len(values) - len(known)) / len(values)
    return shares | ({MISSING: unknown} if unknown else {})


def _pooled(shares: Mapping[str, float], common: Sequence[str]) -> tuple[float, ...]:
    """Return the shares of the *common* values, of missing values, and of all other values
    together.
    """
    named = [shares.get(value, 0.0) for value in (*common, MISSING)]
    return (*named, 1 - sum(named))


def _shift(
    name: str, trained: Sequence[float], live: Sequence[float], rides: int, live_rides: int
) -> Shift:
    before, now = (np.maximum(shares, MIN_SHARE) for shares in (trained, live))
    index = float(np.sum((now - before) * np.log(now / before)))
    chance = (len(before) - 1) * (1 / rides + 1 / live_rides)
    return Shift(name, index, chance)


def _plausible_values(predicted: Floats) -> tuple[float, float]:
    low, high = np.quantile(predicted, [0.001, 0.999]).tolist()
    return low, high


def _hourly_means(pickup: NDArray[np.datetime64], predicted: Floats) -> tuple[float, float]:
    _, hour, rides = np.unique(
        pickup.astype("datetime64[h]"), return_inverse=True, return_counts=True
    )
    means = (np.bincount(hour, predicted) / rides)[rides >= MIN_HOURLY_RIDES]
    if not len(means):  # no hour has enough rides: use the range of single predictions
        return _plausible_values(predicted)
    return float(means.min()), float(means.max())
