"""Rows of Parquet and CSV to rides: the rules of `rides.decode` over whole columns.

A row is accepted exactly where its ride event would be; the words of a rejection are those of
`rides.decode`, which is asked about the rows that the columns have found at fault.  So text that
is not UTF-8 is a rejection, and is kept with its bytes.

A column has one type where JSON has one a value: an integer may come as 130.0, an id or a time
that is null is one that is absent.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ... import local_time, rides
from ...errors import FileError, RideRejected
from .. import ride_ids
from ..arrow import arrow, numpy, texts
from ..schema import REJECTED, RIDES, Parsed
from ..timestamps import Times, times, written
from .columns import NEEDED, Layout, is_text

NUMBER = r"^ *[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})? *$"
SENT = (*NEEDED, "pickup_datetime", "ride_id")
"""What a ride event has."""
MOST_EXACT = float(rides.MAX_INTEGER)


def check_text(batch: pa.RecordBatch, layout: Layout, *, name: str) -> None:
    """Raises `FileError` where a column of *batch*, the first of *name*, has text for numbers."""
    for ours in NEEDED:
        cells = _readable(_plain(batch[layout.columns[ours]].drop_null()))
        if len(cells) and np.isnan(_numbers(cells, len(cells))).all():
            column = layout.columns[ours]
            raise FileError(f"{name} does not hold rides: {column} is text, not a number")


def parse(batch: pa.RecordBatch, layout: Layout, row: NDArray[np.int64]) -> Parsed:
    """The rides of *batch*; *row* has the number of each row in its file."""
    came = {ours: _plain(batch[column]) for ours, column in layout.columns.items()}
    given = {ours: _readable(column) for ours, column in came.items()}
    numbers = {name: _numbers(given[name], len(batch)) for name in NEEDED}
    pickup = times(given.get("pickup_datetime"), len(batch))
    ids, good = _ids(given.get("ride_id"), len(batch))
    for zone in NEEDED[:2]:
        good &= (numbers[zone] >= 1) & (numbers[zone] <= 265) & _whole(numbers[zone])
    good &= (numbers["trip_distance"] >= 0) & (numbers["trip_distance"] < 1000)
    good &= pickup.valid
    bad = np.flatnonzero(~good)
    found = _truth(given, pickup, len(batch))
    found |= {"row": arrow(row), "ride_id": identified(ids, numbers, pickup, given)}
    found |= {"trip_distance": arrow(numbers["trip_distance"]), "pickup_datetime": instants(pickup)}
    found["event_id"] = pa.nulls(len(batch), pa.string())
    for zone in NEEDED[:2]:
        found[zone] = arrow(np.where(good, numbers[zone], 0).astype(np.int64))
    whole = pa.RecordBatch.from_arrays([found[name] for name in RIDES.names], schema=RIDES)
    kept = whole.filter(arrow(good)) if len(bad) else whole
    at_fault = whole.take(arrow(bad))
    return Parsed(kept, _rejected(at_fault, came, bad))


def _whole(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    whole: NDArray[np.bool_] = np.floor(numbers) == numbers
    return whole


def _plain(column: pa.Array) -> pa.Array:
    """Without a dictionary, and text as its bytes."""
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return plain.cast(pa.binary()) if is_text(plain.type) else plain


def _readable(column: pa.Array) -> pa.Array:
    """Bytes as text; where they are no UTF-8, as empty text, which nothing here may be."""
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
    """NaN where there is no number."""
    if pa.types.is_null(column.type):
        return np.full(size, np.nan)
    if is_text(column.type):
        nothing = pa.nulls(size, column.type)
        column = pc.if_else(pc.match_substring_regex(column, NUMBER), column, nothing)
        column = pc.utf8_trim(column, " ")
    return numpy(column.cast(pa.float64(), safe=False))


def _ids(column: pa.Array | None, size: int) -> tuple[pa.Array, NDArray[np.bool_]]:
    """The ids as text, null where there is none; and which of them are none that may be."""
    if column is None or pa.types.is_null(column.type):
        return pa.nulls(size, pa.string()), np.ones(size, dtype=bool)
    if is_text(column.type):
        there, lengths = numpy(pc.is_valid(column)), numpy(pc.utf8_length(column))
        return column.cast(pa.string()), ~there | ((lengths >= 1) & (lengths <= 128))
    numbers = _numbers(column, size)
    good = np.isnan(numbers) | ((np.abs(numbers) <= MOST_EXACT) & _whole(numbers))
    whole = np.where(good, np.nan_to_num(numbers), 0).astype(np.int64)
    return arrow(whole, ~np.isnan(numbers)).cast(pa.string()), good


def identified(
    ids: pa.Array,
    numbers: dict[str, NDArray[Any]],
    pickup: Times,
    given: dict[str, pa.Array],
) -> pa.Array:
    """The ids, and for rides without one a hash of all that tells them from others."""
    if not ids.null_count:
        return ids
    known = [
        *(column.astype(np.float64) for column in numbers.values()),
        np.where(pickup.known, pickup.micros, np.iinfo(np.int64).min),
    ]
    if "dropoff_datetime" in given:
        known.append(times(given["dropoff_datetime"], len(ids)).micros)
    for name in ("VendorID", "total_amount", "tip_amount"):
        if name in given:
            known.append(_numbers(given[name], len(ids)))
    return pc.coalesce(ids, ride_ids.hashes(known))


def instants(pickup: Times) -> pa.Array:
    micros = pickup.micros
    if pickup.naive.any():
        shown = np.where(pickup.naive & pickup.valid, micros, 0)
        micros = np.where(pickup.naive, local_time.instants(shown), micros)
    there = pickup.known & pickup.valid
    return arrow(micros, there).cast(RIDES.field("pickup_datetime").type)


def _truth(given: dict[str, pa.Array], pickup: Times, size: int) -> dict[str, pa.Array]:
    """By the clock on the wall, as training has it; null where it is not known."""
    minutes = cost = pa.nulls(size, pa.float64())
    if "dropoff_datetime" in given:
        dropoff = times(given["dropoff_datetime"], size)
        known = pickup.known & pickup.valid & dropoff.known & dropoff.valid
        known &= pickup.naive == dropoff.naive
        minutes = arrow((dropoff.micros - pickup.micros) / (60 * local_time.SECOND), known)
    if "total_amount" in given and "tip_amount" in given:
        dollars = _numbers(given["total_amount"], size) - _numbers(given["tip_amount"], size)
        cost = arrow(dollars, np.isfinite(dollars))
    return {"ride_duration_actual": minutes, "ride_cost_actual": cost}


def _rejected(
    rows: pa.RecordBatch, came: dict[str, pa.Array], bad: NDArray[np.int64]
) -> pa.RecordBatch:
    """*rows*, which are at *bad*, as the ride events they came as, and what is wrong with them."""
    cells = {name: _cells(column.take(arrow(bad))) for name, column in came.items() if name in SENT}
    data = []
    for n, identity in enumerate(rows["ride_id"].to_pylist()):
        ride = {name: _number(cells[name][n]) for name in NEEDED}
        if (time := cells.get("pickup_datetime", {n: None})[n]) is not None:
            ride["pickup_datetime"] = _text(time) if isinstance(time, bytes) else time
        given = cells.get("ride_id", {n: None})[n]
        given = _text(given) if isinstance(given, bytes) else _number(given)
        data.append({"ride": ride, "ride_id": identity if given is None else given})
    events = [msgspec.json.encode(event) for event in data]
    reasons = texts([_reason(event) for event in events], pa.string())
    columns = [rows["row"], rows["event_id"], reasons, texts(events, pa.binary())]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTED)


def _cells(column: pa.Array) -> list[Any]:
    is_time = pa.types.is_timestamp(column.type)
    return written(column) if is_time else column.to_pylist()


def _reason(event: bytes) -> str:
    try:
        rides.decode(event)
    except RideRejected as exc:
        return str(exc)
    raise AssertionError("the columns rejected a row that is a ride")


def _number(cell: Any) -> Any:
    """As JSON would have it; text stays text where it is no number."""
    if isinstance(cell, bytes):
        if not re.fullmatch(NUMBER.encode(), cell):
            return _text(cell)
    elif cell is None or isinstance(cell, int):
        return cell
    number = float(cell)
    return int(number) if number.is_integer() else number


def _text(cell: bytes) -> msgspec.Raw:
    """As JSON text, with its own bytes also where they are no UTF-8."""
    text = cell.decode(errors="surrogateescape")
    return msgspec.Raw(json.dumps(text, ensure_ascii=False).encode(errors="surrogateescape"))
