"""A number without a fraction is an integer, however a ride comes in; null means absent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_service import rides
from model_service.datasets.formats import reader
from model_service.web import quotes

FLOATS = {"PULocationID": 130.0, "DOLocationID": 205.0, "trip_distance": 3.66}
EVENT = json.dumps({"ride": {**FLOATS, "pickup_datetime": None}, "ride_id": 256.0})
BARE = json.dumps({**FLOATS, "pickup_datetime": None, "ride_id": 256.0})


def test_number_without_a_fraction_is_an_integer_on_the_stream_and_on_the_web() -> None:
    now = datetime(2021, 3, 1, tzinfo=UTC)
    ride = rides.Ride(130, 205, 3.66, now)

    assert rides.decode(EVENT.encode(), now) == rides.RideEvent(ride, 256)
    for body in (EVENT, BARE):
        found = quotes.decode(body.encode(), now)
        assert (found.ride.pickup, found.ride.pickup_datetime) == (130, now)
        assert repr(found.ride_id) == "256"


@pytest.mark.parametrize("kind", ["events.jsonl", "bare.jsonl", "rides.csv", "rides.parquet"])
def test_number_without_a_fraction_is_an_integer_in_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    row = json.loads(BARE)
    match path.suffix:
        case ".jsonl":
            path.write_text((EVENT if kind == "events.jsonl" else BARE) + "\n")
        case ".csv":
            path.write_text(
                "PULocationID,DOLocationID,trip_distance,ride_id\n130.0,205.0,3.66,256\n"
            )
        case _:
            del row["pickup_datetime"]
            pq.write_table(pa.Table.from_pylist([row]), path)

    [chunk] = reader.chunks(path, name=path.name)
    parsed = chunk.parse()

    assert parsed.rejected.num_rows == 0
    [found] = parsed.rides.to_pylist()
    assert (found["PULocationID"], found["DOLocationID"], found["ride_id"]) == (130, 205, "256")
    assert found["pickup_datetime"] is None


@pytest.mark.parametrize("order", [1, -1])
def test_null_leaves_the_pickup_time_to_the_tlcs_field(tmp_path: Path, order: int) -> None:
    times = {"pickup_datetime": None, "lpep_pickup_datetime": "2021-03-01 08:15:00"}
    path = tmp_path / "rides.jsonl"
    path.write_text(json.dumps({**FLOATS, **dict(list(times.items())[::order])}) + "\n")

    [chunk] = reader.chunks(path, name=path.name)

    [found] = chunk.parse().rides.to_pylist()
    assert found["pickup_datetime"] is not None
