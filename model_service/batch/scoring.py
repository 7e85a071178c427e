"""Scores Arrow batches of rides with all models, by calling the core's `scoring.score`.

If one model cannot score a ride, the ride is rejected and has no prediction of any model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .. import scoring
from ..datasets.arrow import CONSTANT, arrow, repeated
from ..datasets.schema import RIDES, columns, rejections
from ..local_time import EPOCH_UTC, MICROSECOND
from ..models.served import Models, Served
from ..rides import Ride, RideEvent
from ..scoring import Scores


@dataclass(frozen=True, slots=True)
class Scored:
    """A batch of rides after scoring; each ride is in exactly one of the two batches."""

    rides: pa.RecordBatch
    """The scored rides, in the schema that `schema` returns."""
    rejected: pa.RecordBatch
    """The rejected rides, in the schema `datasets.schema.REJECTED`."""


def schema(models: Models) -> pa.Schema:
    """Return the schema of scored rides: the columns of the ride, and seven columns per model."""
    fields = [field for field in RIDES if not field.name.endswith("_actual")]
    for one in models:
        name = one.target.field
        fields += [
            pa.field(name, pa.float64(), nullable=False),
            pa.field(f"{name}_low", pa.float64()),
            pa.field(f"{name}_high", pa.float64()),
            pa.field(f"{name}_actual", pa.float64()),
            pa.field(f"{name}_error", pa.float64()),  # prediction minus actual
            pa.field(f"{name}_model", CONSTANT, nullable=False),
            pa.field(f"{name}_version", CONSTANT, nullable=False),
        ]
    return pa.schema(fields)


def score(models: Models, rides: pa.RecordBatch) -> Scored:
    """Score *rides*, which have the schema `RIDES`, with all models; the order stays the same.

    Raises `ModelError` if a model is at fault.
    """
    inputs = columns(rides)
    found = {name: rides[name] for name in RIDES.names if not name.endswith("_actual")}
    accepted = np.ones(len(rides), dtype=bool)
    reasons = np.full(len(rides), None, dtype=object)
    for served in models:
        scores = scoring.score(served.model, served.target, inputs)
        found |= _predictions(served, scores, rides)
        reasons = np.where(accepted, scores.reasons, reasons)  # the first model's reason
        accepted = accepted & scores.scored
    scored_schema = schema(models)
    scored = pa.RecordBatch.from_arrays(
        [found[name] for name in scored_schema.names], schema=scored_schema
    )
    if accepted.all():
        return Scored(scored, _rejected(rides.slice(0, 0), []))
    rejected = rides.filter(arrow(~accepted))
    return Scored(scored.filter(arrow(accepted)), _rejected(rejected, reasons[~accepted].tolist()))


def _predictions(served: Served, scores: Scores, rides: pa.RecordBatch) -> dict[str, Any]:
    name, size = served.target.field, len(rides)
    nulls = pa.nulls(size, pa.float64())
    pairs = scores.intervals
    low, high = (nulls, nulls) if pairs is None else (_nullable(pairs[:, n]) for n in (0, 1))
    actual = rides[f"{name}_actual"] if f"{name}_actual" in rides.schema.names else nulls
    values = arrow(scores.values)
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


def _rejected(rides: pa.RecordBatch, reasons: Sequence[str]) -> pa.RecordBatch:
    ids = rides["ride_id"].to_pylist()
    data = [
        msgspec.json.encode(RideEvent(ride, ride_id))
        for ride, ride_id in zip(_structs(rides), ids, strict=True)
    ]
    return rejections(rides["row"].to_pylist(), rides["event_id"].to_pylist(), reasons, data)


def _structs(rides: pa.RecordBatch) -> list[Ride]:
    """Convert rides in the schema `RIDES` to structs.

    This is slow, so it is used only for the few rides that are rejected.
    """
    times = rides["pickup_datetime"].cast(pa.int64()).to_pylist()
    fields = (rides[name].to_pylist() for name in ("PULocationID", "DOLocationID", "trip_distance"))
    return [
        Ride(pickup, dropoff, distance, None if time is None else EPOCH_UTC + time * MICROSECOND)
        for pickup, dropoff, distance, time in zip(*fields, times, strict=True)
    ]
