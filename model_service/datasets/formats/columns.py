"""Finds the columns of a file of rides by their names, which have changed over the years."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa

from ...errors import FileError

NAMES = {
    "PULocationID": ("PULocationID",),
    "DOLocationID": ("DOLocationID",),
    "trip_distance": ("trip_distance",),
    "pickup_datetime": ("pickup_datetime", "lpep_pickup_datetime", "tpep_pickup_datetime"),
    "dropoff_datetime": ("dropoff_datetime", "lpep_dropoff_datetime", "tpep_dropoff_datetime"),
    "ride_id": ("ride_id",),
    "VendorID": ("VendorID",),
    "total_amount": ("total_amount",),
    "tip_amount": ("tip_amount",),
}
"""Our name of a column -> the names that it may have in a file, in upper or lower case."""

REQUIRED = ("PULocationID", "DOLocationID", "trip_distance")

NAME = r"[A-Za-z_][A-Za-z0-9_]{0,39}"
"""A name that an error message may quote."""
MAX_SHOWN = 10  # names in an error message

ColumnNames = Mapping[str, str]
"""Our name of a column -> its name in a file, for the columns that the file has."""


def find_columns(schema: pa.Schema, *, name: str, text: bool = False) -> ColumnNames:
    """Return the names that the columns of rides have in a file with the Arrow schema *schema*.

    *name* is the name of the file in error messages.  If *text* is True, the types of the columns
    are not checked: use this for formats without types, such as CSV.
    Raises `FileError` if a required column is missing, or if a column occurs twice or has an
    unsuitable type.
    """
    names = {column.lower(): column for column in reversed(schema.names)}
    found = {
        ours: names[theirs.lower()]
        for ours, aliases in NAMES.items()
        for theirs in reversed(aliases)
        if theirs.lower() in names
    }
    faults = [f"there is no column {ours}" for ours in REQUIRED if ours not in found]
    if faults and (shown := _shown(schema.names)):
        faults[-1] += f" among {shown}"
    faults += [
        f"there are two columns {column}"
        for column in found.values()
        if schema.names.count(column) > 1
    ]
    if not text:
        faults += [
            f"{column} is {_type_name(type_)}, not {_expected(ours)}"
            for ours, column in found.items()
            if not _is_suitable(ours, type_ := schema.field(schema.names.index(column)).type)
        ]
    if faults:
        raise FileError(f"{name} does not hold rides: {'; '.join(faults)}")
    return found


def _shown(names: Sequence[str]) -> str:
    """Return the first few of *names* as text for a message, or "" if they may be data."""
    if len(names) < 2 or not all(re.fullmatch(NAME, name) for name in names if name):
        return ""
    more = ", …" if len(names) > MAX_SHOWN else ""
    return ", ".join(name for name in names[:MAX_SHOWN]) + more


def is_text(type_: pa.DataType) -> bool:
    """Return whether *type_* is one of Arrow's types for text."""
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def _is_suitable(ours: str, type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    if pa.types.is_null(type_):
        return True
    if ours.endswith("_datetime"):
        return bool(pa.types.is_timestamp(type_)) or is_text(type_)
    is_number = any(
        test(type_) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    )
    return is_number or (ours == "ride_id" and is_text(type_))


def _expected(ours: str) -> str:
    if ours.endswith("_datetime"):
        return "a time"
    return "a number or text" if ours == "ride_id" else "a number"


def _type_name(type_: pa.DataType) -> str:
    return "text" if is_text(type_) else str(type_)
