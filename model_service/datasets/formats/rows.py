"""Reads rides from rows of Parquet and CSV files: applies the rules of rides to whole columns.

A row is valid if and only if `rides.decode` would accept a ride event with the same values.  An
invalid row is converted to a ride event, for which `rides.decode` is called: its message is the
reason for the rejection.  A row with text that is not UTF-8 is invalid; its rejection has the
original bytes.

All values of a column have the same type, unlike those in JSON.  So an integer may be written as
130.0.  If an id or a time is null, the ride has no id or no time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ... import local_time, rides
from ...errors import FileError, RideRejected
from ...rides import MAX_ID_LENGTH, MAX_MILES, MAX_ZONE, MIN_ZONE
from .. import ride_ids
from ..arrow import arrow, numpy, texts
from ..schema import REJECTED, RIDES, Parsed
from ..timestamps import Times, times, written
from .columns import REQUIRED, ColumnNames, is_text

NUMBER = r"^ *[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})? *$"
AMOUNTS = ("VendorID", "total_amount", "tip_amount")
ZONES = ("PULocationID", "DOLocationID")
MAX_INTEGER = float(rides.MAX_INTEGER)


def check_numbers(batch: pa.RecordBatch, columns: ColumnNames, *, name: str) -> None:
    """Check that each required column contains at least one number, or only empty cells.

    *batch* is the first batch of the text file *name*, and *columns* has the names of its columns.
    Raises `FileError` if a required column has non-empty cells, and none of them is a number.
    """
    for ours in REQUIRED:
        cells = _decoded(_plain(batch[columns[ours]].drop_null()))
        if len(cells) and np.isnan(_numbers(cells, len(cells))).all():
            raise FileError(f"{name} does not hold rides: {columns[ours]} is text, not a number")


def parse(batch: pa.RecordBatch, columns: ColumnNames, row: NDArray[np.int64]) -> Parsed:
    """Return the valid and the rejected rows of *batch*.

    *columns* has the names of its columns.  *row* has the number of each row in the file, shape
    (n,).
    """
    size = len(batch)
    raw = {ours: _plain(batch[column]) for ours, column in columns.items()}
    cells = {ours: _decoded(column) for ours, column in raw.items()}
    numbers = {name: _numbers(cells[name], size) for name in REQUIRED}
    pickup = times(cells.get("pickup_datetime"), size)
    dropoff = times(cells["dropoff_datetime"], size) if "dropoff_datetime" in cells else None
    amounts = {name: _numbers(cells[name], size) for name in AMOUNTS if name in cells}
    ids, valid = _ids(cells.get("ride_id"), size)
    for zone in ZONES:
        valid &= (numbers[zone] >= MIN_ZONE) & (numbers[zone] <= MAX_ZONE)
        valid &= _is_integer(numbers[zone])
    valid &= (numbers["trip_distance"] >= 0) & (numbers["trip_distance"] < MAX_MILES)
    valid &= pickup.valid
    invalid = np.flatnonzero(~valid)
    more = [] if dropoff is None else [dropoff.micros]
    hashed = [*hashed_columns(numbers, pickup), *more, *amounts.values()]
    found = {
        "row": arrow(row),
        "ride_id": with_hashes(ids, hashed),
        "event_id": pa.nulls(size, pa.string()),
        **{zone: arrow(np.where(valid, numbers[zone], 0).astype(np.int64)) for zone in ZONES},
        "trip_distance": arrow(numbers["trip_distance"]),
        "pickup_datetime": pickup_instants(pickup),
        **actual_values(pickup, dropoff, amounts),
    }
    whole = pa.RecordBatch.from_arrays([found[name] for name in RIDES.names], schema=RIDES)
    accepted = whole.filter(arrow(valid)) if len(invalid) else whole
    return Parsed(accepted, _rejected(whole.take(arrow(invalid)), raw, invalid))


def _plain(column: pa.Array) -> pa.Array:
    """Return *column* without dictionary encoding; convert text to bytes."""
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return plain.cast(pa.binary()) if is_text(plain.type) else plain


def _decoded(column: pa.Array) -> pa.Array:
    """Return a column of bytes as text.

    A cell that is not UTF-8 becomes an empty text, which is invalid in every column.
    """
    if not pa.types.is_binary(column.type):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return texts([_utf8(cell) for cell in column.to_pylist()], pa.string())


def _utf8(cell: bytes | None) -> bytes | None:
    try:
        (cell or b"").decode()
    except UnicodeDecodeError:
        return b""
    return cell


def _numbers(column: pa.Array, size: int) -> NDArray[np.float64]:
    """Return the numbers in *column*, shape (*size*,), with NaN for cells that are not numbers."""
    if pa.types.is_null(column.type):
        return np.full(size, np.nan)
    if is_text(column.type):
        nulls = pa.nulls(size, column.type)
        column = pc.if_else(pc.match_substring_regex(column, NUMBER), column, nulls)
        column = pc.utf8_trim(column, " ")
    return numpy(column.cast(pa.float64(), safe=False))


def _is_integer(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    is_integer: NDArray[np.bool_] = np.floor(numbers) == numbers
    return is_integer


def _ids(column: pa.Array | None, size: int) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return the ids in *column* as text, and a mask of the valid ids, both of shape (*size*,).

    If a ride has no id, its id is null and counts as valid.
    """
    if column is None or pa.types.is_null(column.type):
        return pa.nulls(size, pa.string()), np.ones(size, dtype=bool)
    if is_text(column.type):
        is_present, lengths = numpy(pc.is_valid(column)), numpy(pc.utf8_length(column))
        return column.cast(pa.string()), ~is_present | ((lengths >= 1) & (lengths <= MAX_ID_LENGTH))
    numbers = _numbers(column, size)
    valid = np.isnan(numbers) | ((np.abs(numbers) <= MAX_INTEGER) & _is_integer(numbers))
    integers = np.where(valid, np.nan_to_num(numbers), 0).astype(np.int64)
    return arrow(integers, ~np.isnan(numbers)).cast(pa.string()), valid


def with_hashes(ids: pa.Array, columns: Sequence[NDArray[Any]]) -> pa.Array:
    """Return *ids*; replace each null by a hash of the ride's values in *columns*."""
    return pc.coalesce(ids, ride_ids.hashes(columns)) if ids.null_count else ids


def hashed_columns(numbers: Mapping[str, NDArray[Any]], pickup: Times) -> list[NDArray[Any]]:
    """Return the columns that are hashed for the id of a ride without one.

    If a file also has drop-off times, vendors, total amounts or tips, they follow in this order.
    """
    return [
        *(column.astype(np.float64) for column in numbers.values()),
        np.where(pickup.known, pickup.micros, np.iinfo(np.int64).min),
    ]


def pickup_instants(pickup: Times) -> pa.Array:
    """Return the pick-up times *pickup* as Arrow timestamps in New York's time zone.

    A time that is unknown or invalid is null.
    """
    micros = pickup.micros
    if pickup.naive.any():
        shown = np.where(pickup.naive & pickup.valid, micros, 0)
        micros = np.where(pickup.naive, local_time.instants(shown), micros)
    is_known = pickup.known & pickup.valid
    return arrow(micros, is_known).cast(RIDES.field("pickup_datetime").type)


def actual_values(
    pickup: Times, dropoff: Times | None, amounts: Mapping[str, NDArray[np.float64]]
) -> dict[str, pa.Array]:
    """Return the actual durations in minutes, and the actual costs in dollars without the tip.

    The keys are ``ride_duration_actual`` and ``ride_cost_actual``.  *amounts* has columns of
    dollars by name; costs need ``total_amount`` and ``tip_amount``.  Values that are not known are
    null: all durations if *dropoff* is None, and all costs if an amount is missing.

    As in training, a duration is the difference of the local times if the times have no offset from
    UTC.
    """
    minutes = cost = pa.nulls(len(pickup.micros), pa.float64())
    if dropoff is not None:
        is_known = pickup.known & pickup.valid & dropoff.known & dropoff.valid
        is_known &= pickup.naive == dropoff.naive
        minutes = arrow((dropoff.micros - pickup.micros) / (60 * local_time.SECOND), is_known)
    if "total_amount" in amounts and "tip_amount" in amounts:
        dollars = amounts["total_amount"] - amounts["tip_amount"]
        cost = arrow(dollars, np.isfinite(dollars))
    return {"ride_duration_actual": minutes, "ride_cost_actual": cost}


def _rejected(
    rows: pa.RecordBatch, raw: dict[str, pa.Array], invalid: NDArray[np.int64]
) -> pa.RecordBatch:
    """Return the rejections of *rows*, in the schema `REJECTED`.

    *invalid* are the positions of these rows in the columns *raw*.
    """
    missing = pa.nulls(len(rows))
    taken = {name: column.take(arrow(invalid)) for name, column in raw.items()}
    numbers = zip(*(taken[name].to_pylist() for name in REQUIRED), strict=True)
    times = _json_times(taken.get("pickup_datetime", missing))
    ids = taken.get("ride_id", missing).to_pylist()
    events = [
        _ride_event([_json_number(cell) for cell in cells], time, _json_id(ride_id, hashed))
        for cells, time, ride_id, hashed in zip(
            numbers, times, ids, rows["ride_id"].to_pylist(), strict=True
        )
    ]
    reasons = texts([_reason(event) for event in events], pa.string())
    columns = [rows["row"], rows["event_id"], reasons, texts(events, pa.binary())]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTED)


def _json_times(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        return written(column)
    return [None if cell is None else _json_text(cell) for cell in column.to_pylist()]


def _json_id(cell: Any, hashed: str) -> Any:
    """Return the id in *cell* as a JSON value, or *hashed* if the cell is empty."""
    if cell is None:
        return hashed
    return _json_text(cell) if isinstance(cell, bytes) else _json_number(cell)


def _ride_event(numbers: list[Any], time: Any, ride_id: Any) -> bytes:
    ride = dict(zip(REQUIRED, numbers, strict=True))
    if time is not None:
        ride["pickup_datetime"] = time
    return msgspec.json.encode({"ride": ride, "ride_id": ride_id})


def _reason(event: bytes) -> str:
    try:
        rides.decode(event)
    except RideRejected as exc:
        return str(exc)
    raise AssertionError("the columns rejected a row that is a valid ride")


def _json_number(cell: Any) -> Any:
    """Return *cell* as a JSON number, or as a JSON string if it is a text that is not a number."""
    if isinstance(cell, bytes):
        if not re.fullmatch(NUMBER.encode(), cell):
            return _json_text(cell)
    elif cell is None or isinstance(cell, int):
        return cell
    number = float(cell)
    return int(number) if number.is_integer() else number


def _json_text(cell: bytes) -> msgspec.Raw:
    """Return *cell* as a JSON string with the same bytes, even if they are not UTF-8."""
    text = cell.decode(errors="surrogateescape")
    return msgspec.Raw(json.dumps(text, ensure_ascii=False).encode(errors="surrogateescape"))
