"""Rides in columns to answers in columns: what scores a file, a partition, or a task of Spark.

The rules are those of `scoring`: an answer that is not finite, outside its range or outside its
own interval is a rejection; where the model raises, `scoring.score` finds the rides at fault and
says whose fault it is.  A ride that any model rejects is rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET
from numpy.typing import NDArray

from .. import scoring
from ..datasets import local_time
from ..datasets.arrow import CONSTANT, arrow, numpy, repeated, texts
from ..datasets.schema import REJECTED, RIDES
from ..errors import RideRejected
from ..features import RideColumns
from ..rides import Ride, RideEvent
from ..web.quotes import Models, Served


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of some rides: each is in one of the two."""

    rides: pa.RecordBatch
    """In the schema that `schema` says."""
    rejected: pa.RecordBatch
    """In the schema `REJECTED`."""


class _Told(NamedTuple):
    """What a model says of n rides; where *refused* has a reason, the rest means nothing."""

    values: NDArray[np.float64]
    intervals: NDArray[np.float64] | None
    refused: pa.Array


def schema(models: Models) -> pa.Schema:
    """What scored rides look like: the rides, and for each model what it said."""
    fields = [field for field in RIDES if not field.name.endswith("_actual")]
    for one in served(models):
        name = one.target.field
        fields += [
            pa.field(name, pa.float64(), nullable=False),
            pa.field(f"{name}_low", pa.float64()),
            pa.field(f"{name}_high", pa.float64()),
            pa.field(f"{name}_actual", pa.float64()),
            pa.field(f"{name}_error", pa.float64()),  # the answer less the truth
            pa.field(f"{name}_model", CONSTANT, nullable=False),
            pa.field(f"{name}_version", CONSTANT, nullable=False),
        ]
    return pa.schema(fields)


def score(models: Models, rides: pa.RecordBatch) -> Scored:
    """Every ride of *rides* (in the schema `RIDES`) with its answers, or rejected; in order.

    Raises `ModelError` where the fault is a model's.
    """
    asked = columns(rides)
    told = [(one, _ask(one, asked)) for one in served(models)]
    refused = pc.coalesce(*(says.refused for _, says in told))
    found = {name: rides[name] for name in RIDES.names if not name.endswith("_actual")}
    for one, says in told:
        found |= _answers(one, says, rides)
    wanted = schema(models)
    scored = pa.RecordBatch.from_arrays([found[name] for name in wanted.names], schema=wanted)
    bad = refused.is_valid()
    return Scored(
        scored.filter(refused.is_null()) if refused.null_count < len(refused) else scored,
        _rejected(rides.filter(bad), refused.filter(bad)),
    )


def columns(rides: pa.RecordBatch) -> RideColumns:
    """Rides as the features want them."""
    time = rides["pickup_datetime"]
    shown = local_time.clocks(numpy(time.cast(pa.int64())))
    unknown = numpy(time.is_null()) if time.null_count else np.zeros(len(time), dtype=bool)
    return RideColumns(
        pickup=numpy(rides["PULocationID"]),
        dropoff=numpy(rides["DOLocationID"]),
        distance=numpy(rides["trip_distance"]),
        hour=np.where(unknown, np.nan, local_time.hours(shown)),
        weekday=np.where(unknown, np.nan, local_time.weekdays(shown)),
        minute=np.where(unknown, np.nan, local_time.minutes(shown)),
    )


def served(models: Models) -> list[Served]:
    """The models that there are."""
    return [models.duration, *([models.cost] if models.cost else [])]


def _ask(served: Served, asked: RideColumns) -> _Told:
    try:
        values, intervals = served.model.predict(asked)
    except Exception:  # a model may raise anything
        return _one_by_one(served, asked)
    if values.shape != (len(asked),):
        return _one_by_one(served, asked)
    low, high = (values, values) if intervals is None else intervals.T
    target = served.target
    inside = np.isfinite(values) & (values >= target.minimum) & (values <= target.maximum)
    inside &= np.isfinite(low) & np.isfinite(high) & (low <= values) & (values <= high)
    refused = texts([None if ok else scoring.OUTSIDE for ok in inside.tolist()], pa.string())
    return _Told(values, intervals, refused)


def _one_by_one(served: Served, asked: RideColumns) -> _Told:
    """By the slow way that knows whose fault it is."""
    outcomes = scoring.score(served.model, served.target, asked)
    values, intervals = np.full(len(asked), np.nan), np.full((len(asked), 2), np.nan)
    refused: list[str | None] = [None] * len(asked)
    for n, outcome in enumerate(outcomes):
        if isinstance(outcome, RideRejected):
            refused[n] = str(outcome)
        elif outcome is not None:
            values[n] = outcome.value
            intervals[n] = outcome.interval or np.nan
    pairs = None if np.isnan(intervals).all() else intervals
    return _Told(values, pairs, texts(refused, pa.string()))


def structs(rides: pa.RecordBatch) -> list[Ride]:
    """Rides one by one, for the few that need it."""
    times = rides["pickup_datetime"].cast(pa.int64()).to_pylist()
    fields = (rides[name].to_pylist() for name in ("PULocationID", "DOLocationID", "trip_distance"))
    return [
        Ride(pickup, dropoff, distance, UNSET if time is None else _moment(time))
        for pickup, dropoff, distance, time in zip(*fields, times, strict=True)
    ]


def _moment(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def _answers(served: Served, told: _Told, rides: pa.RecordBatch) -> dict[str, Any]:
    name, size = served.target.field, len(rides)
    nothing = pa.nulls(size, pa.float64())
    pairs = told.intervals
    low, high = (nothing, nothing) if pairs is None else (_nullable(pairs[:, n]) for n in (0, 1))
    actual = rides[f"{name}_actual"] if f"{name}_actual" in rides.schema.names else nothing
    values = arrow(told.values)
    return {
        name: values,
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_actual": actual,
        f"{name}_error": pc.subtract(values, actual),
        f"{name}_model": repeated(served.target.model_name, size),
        f"{name}_version": repeated(served.model.version, size),
    }


def _nullable(values: NDArray[np.float64]) -> pa.Array:
    return arrow(values, ~np.isnan(values))


def _rejected(rides: pa.RecordBatch, reasons: pa.Array) -> pa.RecordBatch:
    ids = rides["ride_id"].to_pylist()
    data = [
        msgspec.json.encode(RideEvent(ride, ride_id))
        for ride, ride_id in zip(structs(rides), ids, strict=True)
    ]
    columns = [rides["row"], rides["event_id"], reasons, texts(data, pa.binary())]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTED)
