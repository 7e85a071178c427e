"""Reads and answers requests in MLflow's serving protocol, the body of ``POST /invocations``.

The rows have the columns of a ride, not the features in the model's own signature.  A row is read
by the same rules as the body of ``POST /predict``.  Predictions are not rounded.  A request is
answered as a whole: if one row is invalid, the request is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from .. import rides
from ..errors import RideRejected
from ..features import columns
from ..models.served import Served
from ..rides import Ride
from ..scoring import Answer, TimeLeft, score

MLFLOW_VERSION = "3.17.2"
"""The version of MLflow whose protocol this module implements; ``/version`` returns it."""

Row = dict[str, Raw]
FORMATS = ("dataframe_split", "dataframe_records", "inputs", "instances")
NAMELESS = "has no names of columns; send objects or lists with names, such as `PULocationID`"


class Predictions(Struct, frozen=True):
    """The predicted durations, in the order of the rows."""

    predictions: Annotated[list[float], Meta(description="minutes")]


class RowRejected(Exception):
    """Raised for the first row because of which the whole request is refused.

    *row* is the index of the row, from 0, and *kind* a key of `problems.KINDS`.  *rejected* is the
    rejection of the row, or None if the time ran out before the row was scored.
    """

    def __init__(self, row: int, kind: str, rejected: RideRejected | None) -> None:
        super().__init__(row, kind)
        self.row, self.kind, self.rejected = row, kind, rejected


class _Split(Struct):
    columns: list[str]
    data: list[list[Raw]]


class _Request(Struct):
    dataframe_split: _Split | UnsetType = UNSET
    dataframe_records: list[Row] | UnsetType = UNSET
    inputs: Raw | UnsetType = UNSET
    instances: Raw | UnsetType = UNSET


_request = msgspec.json.Decoder(_Request)
_records = msgspec.json.Decoder(list[Row])
_columns = msgspec.json.Decoder(dict[str, list[Raw]])


def decode(data: bytes, now: datetime) -> list[Ride]:
    """Return the ride of each row.  The pick-up time of a ride without one is *now*.

    Raises `RowRejected` for the first invalid row, and `RideRejected` if *data* has no rows.
    """
    return [_ride(n, row, now) for n, row in enumerate(_rows(rides.parse(_request, data)))]


def predict(served: Served, asked: Sequence[Ride], *, time_left: TimeLeft) -> Predictions:
    """Return the predicted duration of each ride in *asked*, in order.

    *time_left* returns the seconds that scoring may still take.  Raises `RowRejected` for the first
    ride that gets no prediction, and `ModelError` if the model fails.
    """
    scores = score(served.model, served.target, columns(asked), time_left=time_left)
    if not scores.scored.all():
        row, outcome = next(
            (n, one) for n, one in enumerate(scores.outcomes()) if not isinstance(one, Answer)
        )
        raise RowRejected(row, "unscorable" if outcome else "unavailable", outcome)
    return Predictions(scores.values.tolist())


def _rows(request: _Request) -> list[Row]:
    given = [name for name in FORMATS if getattr(request, name) is not UNSET]
    if len(given) != 1:
        raise RideRejected(f"Expected exactly one of {', '.join(f'`{name}`' for name in FORMATS)}")
    if isinstance(request.dataframe_split, _Split):
        return _split_rows(request.dataframe_split)
    if isinstance(request.dataframe_records, list):
        return request.dataframe_records
    return _tensor_rows(getattr(request, given[0]), given[0])


def _split_rows(split: _Split) -> list[Row]:
    if len(set(split.columns)) != len(split.columns):
        raise RideRejected("Expected each column once - at `$.dataframe_split.columns`")
    for n, row in enumerate(split.data):
        if len(row) != len(split.columns):
            reason = RideRejected("Expected one value for each column")
            raise RowRejected(n, "invalid-ride", reason)
    return [dict(zip(split.columns, row, strict=True)) for row in split.data]


def _tensor_rows(value: Raw, name: str) -> list[Row]:
    """Return the rows in a list of objects, or in an object with one list for each column."""
    named = bytes(value).startswith(b"{")
    try:
        if not named:
            return _records.decode(value)
        values: dict[str, list[Raw]] = _columns.decode(value)
    except msgspec.ValidationError:
        rule = "needs a list of values for each column" if named else NAMELESS
        raise RideRejected(f"`{name}` {rule}") from None
    if len({len(column) for column in values.values()}) > 1:
        raise RideRejected(f"Expected lists of the same length - at `$.{name}`")
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _ride(n: int, row: Row, now: datetime) -> Ride:
    try:
        return rides.decode_bare(msgspec.json.encode(row), now)
    except RideRejected as exc:
        raise RowRejected(n, "invalid-ride", exc.detached()) from None
