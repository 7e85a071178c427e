"""The format of the TLC's files of rides: file names, columns, and types by month.

Training reads seven columns.  Their names never changed, but their types did.  It does not read
columns that exist only in some months (`cbd_congestion_fee` since 2025, `Airport_fee` in two
spellings).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

Kind = Literal["green", "yellow"]


@dataclass(frozen=True, slots=True)
class Taxi:
    """A kind of taxi: the prefix of its file names, and the names of its two columns of times."""

    prefix: str
    pickup: str
    dropoff: str

    def file(self, month: str) -> str:
        return f"{self.prefix}{month}.parquet"


TAXIS: Mapping[Kind, Taxi] = {
    "green": Taxi("green_tripdata_", "lpep_pickup_datetime", "lpep_dropoff_datetime"),
    "yellow": Taxi("yellow_tripdata_", "tpep_pickup_datetime", "tpep_dropoff_datetime"),
}
GREEN = TAXIS["green"]
PREFIX, PICKUP, DROPOFF = GREEN.prefix, GREEN.pickup, GREEN.dropoff
MONEY = (
    "fare_amount",
    "extra",
    "mta_tax",
    "tip_amount",
    "tolls_amount",
    "improvement_surcharge",
    "congestion_surcharge",
    "total_amount",
)

SIMULATED: Mapping[str, str] = {"simulated": "true"}
"""An entry in the Parquet metadata of simulated months, which the TLC's files do not have."""

NEW_TYPES_SINCE = "2023-02"
CONGESTION_FEE_SINCE = "2025-01"
OLD_TYPES: Mapping[str, pl.DataType] = {
    "VendorID": pl.Int64(),
    PICKUP: pl.Datetime("us"),
    DROPOFF: pl.Datetime("us"),
    "store_and_fwd_flag": pl.String(),
    "RatecodeID": pl.Float64(),
    "PULocationID": pl.Int64(),
    "DOLocationID": pl.Int64(),
    "passenger_count": pl.Float64(),
    "trip_distance": pl.Float64(),
    "fare_amount": pl.Float64(),
    "extra": pl.Float64(),
    "mta_tax": pl.Float64(),
    "tip_amount": pl.Float64(),
    "tolls_amount": pl.Float64(),
    "ehail_fee": pl.Null(),
    "improvement_surcharge": pl.Float64(),
    "total_amount": pl.Float64(),
    "payment_type": pl.Float64(),
    "trip_type": pl.Float64(),
    "congestion_surcharge": pl.Float64(),
}
NEW_TYPES: Mapping[str, pl.DataType] = {
    **OLD_TYPES,
    **dict.fromkeys(("VendorID", "PULocationID", "DOLocationID"), pl.Int32()),
    **dict.fromkeys(("RatecodeID", "passenger_count", "payment_type", "trip_type"), pl.Int64()),
    "ehail_fee": pl.Float64(),
}
NEWEST_TYPES: Mapping[str, pl.DataType] = {**NEW_TYPES, "cbd_congestion_fee": pl.Float64()}


def types(month: str) -> Mapping[str, pl.DataType]:
    """Return the columns of the green taxis' file for *month* (YYYY-MM): name -> type, in order."""
    if month < NEW_TYPES_SINCE:
        return OLD_TYPES
    return NEW_TYPES if month < CONGESTION_FEE_SINCE else NEWEST_TYPES
