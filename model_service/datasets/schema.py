"""Defines the Arrow schemas of valid rides and of rejected rows, and converts rides to columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ..features import RideColumns, picked_up
from .arrow import arrow, numpy, texts

RIDES = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # row of the input file, from 1
        pa.field("ride_id", pa.string(), nullable=False),
        pa.field("event_id", pa.string()),  # null unless the row is a line of the archive
        pa.field("PULocationID", pa.int64(), nullable=False),
        pa.field("DOLocationID", pa.int64(), nullable=False),
        pa.field("trip_distance", pa.float64(), nullable=False),  # miles
        pa.field("pickup_datetime", pa.timestamp("us", "America/New_York")),
        pa.field("ride_duration_actual", pa.float64()),  # minutes
        pa.field("ride_cost_actual", pa.float64()),  # dollars, without the tip
    ]
)
"""The schema of valid rides; the actual duration or cost is null if the input does not have it."""

REJECTED = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("event_id", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("data", pa.binary(), nullable=False),  # the line, or the row as a ride event
    ]
)
"""The schema of rejected rows: rows that are not valid rides, or that a model could not score."""


class Parsed(NamedTuple):
    """The rows of an input after validation; each row is in exactly one of the two batches."""

    rides: pa.RecordBatch
    """The valid rides, in the schema `RIDES`."""
    rejected: pa.RecordBatch
    """The rejected rows, in the schema `REJECTED`."""


def columns(rides: pa.RecordBatch) -> RideColumns:
    """Convert rides in the schema `RIDES` to the columns from which `features` are computed."""
    time = rides["pickup_datetime"]
    return RideColumns(
        pickup=numpy(rides["PULocationID"]),
        dropoff=numpy(rides["DOLocationID"]),
        distance=numpy(rides["trip_distance"]),
        picked_up=picked_up(numpy(time.cast(pa.int64())), known=numpy(time.is_valid())),
    )


def rejections(
    rows: Sequence[int],
    event_ids: Sequence[str | None],
    reasons: Sequence[str],
    data: Sequence[bytes],
) -> pa.RecordBatch:
    """Return a batch in the schema `REJECTED`, with one element of each argument for each row.

    *rows* are the numbers of the rows in the file, and *data* are the bytes of the rejected rides.
    """
    columns = [
        arrow(np.array(rows, dtype=np.int64)),
        texts(event_ids, pa.string()),
        texts(reasons, pa.string()),
        texts(data, pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTED)
