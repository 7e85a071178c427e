"""Reads and answers requests in MLflow's serving protocol, the body of ``POST /invocations``.

The rows have the columns of a ride, not the features in the model's own signature.  A row is read
by the same rules as the body of ``POST /predict``.  Predictions are not rounded.  A request is
answered as a whole: if one row is invalid, the request is refused.  The response has no place for
warnings, so a row whose pick-up time has another name is invalid, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from .. import rides
from ..errors import MalformedJson, RideRejected
from ..features import columns
from ..models.served import Served
from ..rides import Ride
from ..scoring import Answer, TimeLeft, score

MLFLOW_VERSION = "3.17.2"
"""The version of MLflow whose protocol this module implements; ``/version`` returns it."""

MAX_NAME = 64  # characters; a column with a longer name is ignored before rows are made
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
    dataframe_records: list[Raw] | UnsetType = UNSET
    inputs: Raw | UnsetType = UNSET
    instances: Raw | UnsetType = UNSET


_request = msgspec.json.Decoder(_Request)
_records = msgspec.json.Decoder(list[Raw])
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


def _rows(request: _Request) -> list[Raw]:
    """Return the JSON of each row; a row in a list of objects may still be another value."""
    given = [name for name in FORMATS if getattr(request, name) is not UNSET]
    if len(given) != 1:
        raise RideRejected(f"Expected exactly one of {', '.join(f'`{name}`' for name in FORMATS)}")
    if isinstance(request.dataframe_split, _Split):
        return _split_rows(request.dataframe_split)
    if isinstance(request.dataframe_records, list):
        return request.dataframe_records
    rows = _tensor_rows(getattr(request, given[0]), given[0])
    if rows and not bytes(rows[0]).startswith(b"{"):
        raise RideRejected(f"`{given[0]}` {NAMELESS}")
    return rows


def _split_rows(split: _Split) -> list[Raw]:
    if len(set(split.columns)) != len(split.columns):
        raise RideRejected("Expected each column once - at `$.dataframe_split.columns`")
    for n, row in enumerate(split.data):
        if len(row) != len(split.columns):
            reason = RideRejected("Expected one value for each column")
            raise RowRejected(n, "invalid-ride", reason)
    return _objects(split.columns, split.data)


def _tensor_rows(value: Raw, name: str) -> list[Raw]:
    """Return the rows in a list of objects, or in an object with one list for each column."""
    named = bytes(value).startswith(b"{")
    try:
        if not named:
            found: list[Raw] = rides.parse(_records, value)
            return found
        values: dict[str, list[Raw]] = rides.parse(_columns, value)
    except MalformedJson:
        raise
    except RideRejected:
        rule = "needs a list of values for each column" if named else NAMELESS
        raise RideRejected(f"`{name}` {rule}") from None
    if len({len(column) for column in values.values()}) > 1:
        raise RideRejected(f"Expected lists of the same length - at `$.{name}`")
    return _objects(values, zip(*values.values(), strict=True))


def _objects(names: Iterable[str], rows: Iterable[Sequence[Raw]]) -> list[Raw]:
    """Return a JSON object for each row, with the values whose *names* have a usual length.

    Each row repeats the names.  Without the limit, one long name would become gigabytes.
    """
    kept = [(n, name) for n, name in enumerate(names) if len(name) <= MAX_NAME]
    encode = msgspec.json.encode
    return [Raw(encode({name: row[n] for n, name in kept})) for row in rows]


def _ride(n: int, row: Raw, now: datetime) -> Ride:
    try:
        ride = rides.decode_bare(row, now)
        other = rides.name_like_a_pickup_time(row) if ride.pickup_datetime is now else None
        if other is not None:
            raise RideRejected(f"Expected the name `pickup_datetime` - at `$.{other}`")
    except RideRejected as exc:
        raise RowRejected(n, "invalid-ride", exc.detached()) from None
    return ride
