"""Rows of Parquet and CSV to rides: the rules of `rides.decode` over whole columns.

A row is accepted exactly where its ride event would be; the words of a rejection
are those of `rides.decode`, which is asked about the rows that the columns have found at fault.

A column has one type where JSON has one a value: an integer may come as 130.0, an id or a time
that is null is one that is absent.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from . import clocks, identities, rides
from .arrays import arrow, numpy, texts
from .columnar import REJECTED, RIDES
from .errors import FileError, RideRejected
from .layouts import NEEDED, Layout, is_text
from .times import Times, times

NUMBER = r"^ *[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})? *$"
MOST_EXACT = float(rides.MAX_INTEGER)


class Parsed(NamedTuple):
    """What some rows are: each is in one of the two."""

    rides: pa.RecordBatch
    """In the schema `columnar.RIDES`."""
    rejected: pa.RecordBatch
    """In the schema `columnar.REJECTED`."""


def check_text(batch: pa.RecordBatch, layout: Layout, *, name: str) -> None:
    """Raises `FileError` where a column of *batch*, the first of *name*, has text for numbers."""
    for ours in NEEDED:
        cells = batch[layout.columns[ours]].drop_null()
        if len(cells) and np.isnan(_numbers(cells, len(cells))).all():
            column = layout.columns[ours]
            raise FileError(f"{name} does not hold rides: {column} is text, not a number")


def parse(batch: pa.RecordBatch, layout: Layout, row: NDArray[np.int64]) -> Parsed:
    """The rides of *batch*; *row* has the number of each row in its file."""
    given = {ours: _plain(batch[column]) for ours, column in layout.columns.items()}
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
    return Parsed(kept, _rejected(at_fault, given, pickup, bad))


def _whole(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    whole: NDArray[np.bool_] = np.floor(numbers) == numbers
    return whole


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


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
    return pc.coalesce(ids, identities.hashes(known))


def instants(pickup: Times) -> pa.Array:
    micros = pickup.micros
    if pickup.naive.any():
        shown = np.where(pickup.naive & pickup.valid, micros, 0)
        micros = np.where(pickup.naive, clocks.instants(shown), micros)
    there = pickup.known & pickup.valid
    return arrow(micros, there).cast(RIDES.field("pickup_datetime").type)


def _truth(given: dict[str, pa.Array], pickup: Times, size: int) -> dict[str, pa.Array]:
    """By the clock on the wall, as training has it; null where it is not known."""
    minutes = cost = pa.nulls(size, pa.float64())
    if "dropoff_datetime" in given:
        dropoff = times(given["dropoff_datetime"], size)
        known = pickup.known & pickup.valid & dropoff.known & dropoff.valid
        known &= pickup.naive == dropoff.naive
        minutes = arrow((dropoff.micros - pickup.micros) / (60 * clocks.SECOND), known)
    if "total_amount" in given and "tip_amount" in given:
        dollars = _numbers(given["total_amount"], size) - _numbers(given["tip_amount"], size)
        cost = arrow(dollars, np.isfinite(dollars))
    return {"ride_duration_actual": minutes, "ride_cost_actual": cost}


def _rejected(
    rows: pa.RecordBatch, given: dict[str, pa.Array], pickup: Times, bad: NDArray[np.int64]
) -> pa.RecordBatch:
    """*rows*, which are at *bad*, as the ride events they came as, and what is wrong with them."""
    names = [name for name in (*NEEDED, "ride_id") if name in given]
    values = {name: given[name].take(arrow(bad)).to_pylist() for name in names}
    data = []
    for n, (at, identity) in enumerate(zip(bad.tolist(), rows["ride_id"].to_pylist(), strict=True)):
        ride = {name: _scalar(values[name][n]) for name in NEEDED}
        if pickup.known[at]:
            ride["pickup_datetime"] = pickup.text(at)
        ride_id = values["ride_id"][n] if "ride_id" in values else None
        ride_id = ride_id if isinstance(ride_id, str) else _scalar(ride_id)
        data.append({"ride": ride, "ride_id": identity if ride_id is None else ride_id})
    events = [msgspec.json.encode(event) for event in data]
    reasons = texts([_reason(event) for event in events], pa.string())
    columns = [rows["row"], rows["event_id"], reasons, texts(events, pa.binary())]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTED)


def _reason(event: bytes) -> str:
    try:
        rides.decode(event)
    except RideRejected as exc:
        return str(exc)
    raise AssertionError("the columns rejected a row that is a ride")


def _scalar(value: Any) -> Any:
    """As JSON would have it."""
    if isinstance(value, str) and not re.fullmatch(NUMBER, value):
        return value
    if value is None or isinstance(value, int):
        return value
    number = float(value)
    return int(number) if number.is_integer() else number
