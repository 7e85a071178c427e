"""What the TLC's files of green rides look like: names, columns, and both generations of types."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

PREFIX = "green_tripdata_"
PICKUP, DROPOFF = "lpep_pickup_datetime", "lpep_dropoff_datetime"
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

NEW_TYPES_SINCE = "2023-02"
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


def types(month: str) -> Mapping[str, pl.DataType]:
    """The columns of a month's file, in order."""
    return OLD_TYPES if month < NEW_TYPES_SINCE else NEW_TYPES
