"""Which column of a file of rides is which, whatever its generation calls and types it.

The TLC's green and yellow months are understood as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

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
"""What a column may be called, in whatever case."""

NEEDED = ("PULocationID", "DOLocationID", "trip_distance")


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column of a file is which, by our names; a file has what it has."""

    columns: dict[str, str]


def layout(schema: pa.Schema, *, name: str, text: bool = False) -> Layout:
    """What the columns of the file *name* are; in *text*, such as CSV, any may be anything.

    Raises `FileError` where one is missing, or of a type that it cannot be.
    """
    there = {column.lower(): column for column in reversed(schema.names)}
    found = {
        ours: there[theirs.lower()]
        for ours, names in NAMES.items()
        for theirs in reversed(names)
        if theirs.lower() in there
    }
    faults = [f"there is no column {ours}" for ours in NEEDED if ours not in found]
    faults += [
        f"there are two columns {column}"
        for column in found.values()
        if schema.names.count(column) > 1
    ]
    if not text:
        faults += [
            f"{column} is {_kind(type_)}, not {_wanted(ours)}"
            for ours, column in found.items()
            if not _fits(ours, type_ := schema.field(schema.names.index(column)).type)
        ]
    if faults:
        raise FileError(f"{name} does not hold rides: {'; '.join(faults)}")
    return Layout(found)


def is_text(type_: pa.DataType) -> bool:
    """However wide its offsets are."""
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def _fits(ours: str, type_: pa.DataType) -> bool:
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


def _wanted(ours: str) -> str:
    if ours.endswith("_datetime"):
        return "a time"
    return "a number or text" if ours == "ride_id" else "a number"


def _kind(type_: pa.DataType) -> str:
    return "text" if is_text(type_) else str(type_)
