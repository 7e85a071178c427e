"""Fractions of a second are rounded half up to microseconds, however a ride comes in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_service import local_time, rides
from model_service.datasets import schema
from model_service.datasets.formats import reader
from model_service.web import quotes

from ..support.batch_factories import ROW
from ..support.factories import payload, ride_event

SECOND = datetime(2021, 3, 1, 8, 15, 59)  # New York
NAMES = ("ride_id", "PULocationID", "DOLocationID", "trip_distance", "pickup_datetime")


@settings(deadline=None, max_examples=40)
@given(st.text("0123456789", min_size=1, max_size=12))
@example("1234565")
@example("1234564999")
@example("123456499")
@example("9999995")
@example("000000500")
def test_fraction_of_a_second_is_rounded_half_up_everywhere(digits: str) -> None:
    micros = int(Decimal(f"0.{digits}").scaleb(6).to_integral_value(ROUND_HALF_UP))
    expected = SECOND + timedelta(microseconds=micros)
    text = f"{SECOND.isoformat()}.{digits}"
    event = payload(1, pickup_datetime=text)

    assert rides.decode(event).ride.pickup_datetime == expected
    assert quotes.decode(event, datetime.now(UTC)).ride.pickup_datetime == expected
    with TemporaryDirectory() as directory:
        for path in written(Path(directory), text, digits):
            [chunk] = reader.chunks(path, name=path.name)
            found = schema.columns(chunk.parse().rides).picked_up.tolist()
            assert found == [expected] * len(found), path.name
            assert found


@pytest.mark.parametrize("offset", ["", "Z", "-05:00"])
def test_a_time_may_lack_its_seconds_everywhere(tmp_path: Path, offset: str) -> None:
    """Java's ``toString()`` leaves the seconds out if they are 0."""
    short, full = f"2021-03-01T08:15{offset}", f"2021-03-01T08:15:00{offset}"
    expected = rides.decode(payload(1, pickup_datetime=full)).ride.pickup_datetime

    event = payload(1, pickup_datetime=short)

    assert rides.decode(event).ride.pickup_datetime == expected
    assert quotes.decode(event, datetime.now(UTC)).ride.pickup_datetime == expected
    path = tmp_path / "rides.csv"
    for text in (short, full):
        row = ROW | {"pickup_datetime": text}
        path.write_text(",".join(NAMES) + "\n" + ",".join(str(row[name]) for name in NAMES) + "\n")
        [chunk] = reader.chunks(path, name=path.name)
        [found] = chunk.parse().rides["pickup_datetime"].to_pylist()
        assert found.timestamp() == local_time.instant(datetime.fromisoformat(full)) / 1e6


def written(directory: Path, text: str, digits: str) -> list[Path]:
    """Files of every format with a ride that was picked up at *text*."""
    row = ROW | {"pickup_datetime": text}
    bare = ride_event(1, lpep_pickup_datetime=text)["ride"]
    files = {
        "csv": ",".join(NAMES) + "\n" + ",".join(str(row[name]) for name in NAMES) + "\n",
        "events": payload(1, pickup_datetime=text).decode(),
        "bare": json.dumps(bare),
    }
    for name, content in files.items():
        (directory / name).write_text(content)
    tables = {"text": pa.array([text])}
    if len(digits) <= 9:
        tables["nanoseconds"] = pa.array([np.datetime64(text, "ns")])
    for name, times in tables.items():
        table = pa.Table.from_pylist([ROW])
        pq.write_table(table.set_column(4, "pickup_datetime", times), directory / name)
    return [directory / name for name in (*files, *tables)]


@pytest.mark.parametrize("unit", ["ns", "us"])
def test_extreme_instants_do_not_overflow(tmp_path: Path, unit: str) -> None:
    ticks = pa.array([2**63 - 1, -(2**63) + 1]).cast(pa.timestamp(unit))
    table = pa.Table.from_pylist([ROW, ROW]).set_column(4, "pickup_datetime", ticks)
    pq.write_table(table, tmp_path / "rides")

    [chunk] = reader.chunks(tmp_path / "rides", name="a file")

    good, bad = chunk.parse()
    assert (len(good), len(bad)) == ((2, 0) if unit == "ns" else (0, 2))
