"""What rides and predictions were like when a model was trained, and how far live ones are off.

The first is `Baseline`, the file ``baseline.json`` among a model's extra files.  It has shares,
never rides.  How far two distributions lie apart is the population stability index,
the sum of (live - trained) * log(live / trained) over what can be told apart: below 0.1 is steady,
above 0.25 is another population.  Where there are few rides the index is large by chance alone,
so what chance would make of it is taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_service import storage
from model_service.errors import ModelError
from model_service.features import RideColumns

from .data.dataset import UNITS, Rides, Target

Floats = NDArray[np.float64]

FILE = "extra_files/baseline.json"
MISSING, OTHER = "missing", "other"
RARE = 0.01
"""A value that fewer rides than this share have is told apart from no other rare one."""
LEAST = 1e-4
"""Stands for a share of 0, whose logarithm is none."""
MOVED, DRIFTED = 0.1, 0.25
HOURLY = 20
"""Rides; the mean of an hour with fewer says little."""
QUANTILES = (0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)

Level = Literal["steady", "moved", "drifted"]


class Numbers(msgspec.Struct, frozen=True):
    """How numbers are distributed."""

    edges: tuple[float, ...]
    """Between the bins; the first has no lower end, the last no upper one."""
    share: tuple[float, ...]
    """Of the rides in each bin: one more than edges."""
    mean: float
    quantiles: dict[str, float]


class Plausible(msgspec.Struct, frozen=True):
    """Where predictions lie if all is well: low and high, both in."""

    value: tuple[float, float]
    """All but one in five hundred predictions of the training data."""
    mean: tuple[float, float]
    """Its hourly means, from the lowest to the highest."""


class Baseline(msgspec.Struct, frozen=True):
    """The file."""

    format: Literal[1]
    target: Target
    unit: str
    months: tuple[str, ...]
    rides: int
    numbers: dict[str, Numbers]
    """``trip_distance`` and ``prediction``."""
    shares: dict[str, dict[str, float]]
    """Of rides by value: ``PULocationID``, ``DOLocationID``, ``hour``, ``weekday``."""
    plausible: Plausible


@dataclass(frozen=True, slots=True)
class Shift:
    """How far live rides are off in one respect."""

    name: str
    index: float
    chance: float
    """What the index would be on the mean if nothing had changed."""

    @property
    def level(self) -> Level:
        beyond = self.index - self.chance
        return "steady" if beyond < MOVED else "moved" if beyond < DRIFTED else "drifted"


def baseline(rides: Rides, predicted: Floats, *, target: Target, months: Sequence[str]) -> Baseline:
    """What the training data is like, and what the model says of it."""
    return Baseline(
        format=1,
        target=target,
        unit=UNITS[target],
        months=tuple(months),
        rides=len(rides),
        numbers={
            "trip_distance": _numbers(rides.columns.distance),
            "prediction": _numbers(predicted),
        },
        shares={name: _shares(values) for name, values in _values(rides.columns).items()},
        plausible=Plausible(
            value=_pair(np.quantile(predicted, [0.001, 0.999])),
            mean=_hourly(rides.pickup_datetime, predicted),
        ),
    )


def read(location: str) -> Baseline:
    """The baseline of the model at *location*.  Raises `ModelError` where it has none."""
    try:
        return msgspec.json.decode(storage.at(location).read(FILE), type=Baseline)
    except msgspec.MsgspecError as exc:
        raise ModelError(f"{FILE} of the model is not as training writes it: {exc}") from exc


def compare(trained: Baseline, rides: RideColumns, predicted: Floats) -> list[Shift]:
    """How far *rides*, and what the model says of them, are off; what is furthest comes first."""
    live = {"trip_distance": rides.distance, "prediction": predicted}
    found = [
        _shift(name, known.share, _binned(live[name], known.edges), trained.rides, len(predicted))
        for name, known in trained.numbers.items()
    ]
    for name, values in _values(rides).items():
        common = _common(trained.shares[name])
        found.append(
            _shift(
                name,
                _pooled(trained.shares[name], common),
                _pooled(_shares(values), common),
                trained.rides,
                len(predicted),
            )
        )
    return sorted(found, key=lambda shift: shift.chance - shift.index)


def outside(trained: Baseline, predicted: Floats) -> float:
    """The share of predictions that are not plausible."""
    low, high = trained.plausible.value
    return float(np.mean((predicted < low) | (predicted > high)))


def _values(rides: RideColumns) -> Mapping[str, Floats]:
    return {
        "PULocationID": rides.pickup.astype(np.float64),
        "DOLocationID": rides.dropoff.astype(np.float64),
        "hour": rides.hour,
        "weekday": rides.weekday,
    }


def _numbers(values: Floats) -> Numbers:
    edges = tuple(np.unique(np.quantile(values, np.linspace(0.1, 0.9, 9))).tolist())
    quantiles = np.quantile(values, QUANTILES).tolist()
    return Numbers(
        edges=edges,
        share=_binned(values, edges),
        mean=float(np.mean(values)),
        quantiles={f"{at:g}": value for at, value in zip(QUANTILES, quantiles, strict=True)},
    )


def _binned(values: Floats, edges: Sequence[float]) -> tuple[float, ...]:
    places = np.searchsorted(edges, values, side="right")
    return tuple((np.bincount(places, minlength=len(edges) + 1) / len(values)).tolist())


def _shares(values: Floats) -> dict[str, float]:
    known = values[~np.isnan(values)]
    found, counts = np.unique(known, return_counts=True)
    shares = {
        f"{value:g}": count / len(values)
        for value, count in zip(found.tolist(), counts.tolist(), strict=True)
    }
    unknown = (len(values) - len(known)) / len(values)
    return shares | ({MISSING: unknown} if unknown else {})


def _common(shares: Mapping[str, float]) -> list[str]:
    return [name for name, share in shares.items() if share >= RARE and name != MISSING]


def _pooled(shares: Mapping[str, float], common: Sequence[str]) -> tuple[float, ...]:
    told = [shares.get(name, 0.0) for name in (*common, MISSING)]
    return (*told, 1 - sum(told))


def _shift(
    name: str, trained: Sequence[float], live: Sequence[float], rides: int, live_rides: int
) -> Shift:
    before, now = (np.maximum(shares, LEAST) for shares in (trained, live))
    index = float(np.sum((now - before) * np.log(now / before)))
    chance = (len(before) - 1) * (1 / rides + 1 / live_rides)
    return Shift(name, index, chance)


def _hourly(pickup: NDArray[np.datetime64], predicted: Floats) -> tuple[float, float]:
    _, place, rides = np.unique(
        pickup.astype("datetime64[h]"), return_inverse=True, return_counts=True
    )
    means = (np.bincount(place, predicted) / rides)[rides >= HOURLY]
    if not len(means):  # so few rides that one of them is as good as a mean
        return _pair(np.quantile(predicted, [0.001, 0.999]))
    return float(means.min()), float(means.max())


def _pair(values: Floats) -> tuple[float, float]:
    low, high = values.tolist()
    return low, high
