from __future__ import annotations

import gzip
import json
from base64 import b64encode
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from model_service.errors import ModelError
from model_service.features import NO_TIME, RideColumns
from model_service.rides import Ride
from tests.training.test_metrics import rides
from training import drift, live
from training.data.dataset import DataError, Rides
from training.drift import Baseline


@pytest.fixture(scope="module")
def month() -> Rides:
    return rides(5000, pickup=np.arange(5000) % 50 + 1)


@pytest.fixture(scope="module")
def trained(month: Rides) -> Baseline:
    return drift.baseline(month, month.target, target="duration", months=["2023-01"])


def levels(trained: Baseline, month: Rides, factor: float = 1.0) -> dict[str, str]:
    found = drift.compare(trained, month.columns, month.target * factor)
    return {shift.name: shift.level for shift in found}


def test_the_training_data_itself_is_steady(trained: Baseline, month: Rides) -> None:
    assert set(levels(trained, month).values()) == {"steady"}


def test_a_few_of_its_rides_are_steady_too(trained: Baseline, month: Rides) -> None:
    some = np.random.default_rng(0).permutation(5000)[:300]
    columns = RideColumns(*(getattr(month.columns, f.name)[some] for f in fields(RideColumns)))

    found = levels(trained, Rides(columns, month.target[some], month.pickup_datetime[some]))

    assert set(found.values()) == {"steady"}


def test_what_has_changed_is_named_first_and_the_rest_is_not(
    trained: Baseline, month: Rides
) -> None:
    kilometres = replace(month.columns, distance=month.columns.distance * 1.609)

    found = drift.compare(trained, kilometres, month.target)

    assert (found[0].name, found[0].level) == ("trip_distance", "drifted")
    assert {shift.level for shift in found[1:]} == {"steady"}


def test_rides_without_time_are_seen(trained: Baseline, month: Rides) -> None:
    blank = replace(month.columns, picked_up=np.full(5000, NO_TIME))

    assert levels(trained, replace(month, columns=blank))["hour"] == "drifted"


def test_predictions_that_were_never_seen_are_counted(trained: Baseline, month: Rides) -> None:
    assert levels(trained, month, factor=3)["prediction"] == "drifted"
    assert drift.outside(trained, month.target) == 0
    assert drift.outside(trained, month.target + 100) == 1


def test_the_file_is_read_as_it_was_written(trained: Baseline, tmp_path: Path) -> None:
    (tmp_path / "extra_files").mkdir()
    (tmp_path / drift.FILE).write_bytes(msgspec.json.encode(trained))

    assert drift.read(str(tmp_path)) == trained


def test_shares_are_shares(trained: Baseline) -> None:
    for shares in trained.shares.values():
        assert sum(shares.values()) == pytest.approx(1)
    for numbers in trained.numbers.values():
        assert sum(numbers.share) == pytest.approx(1)
        assert len(numbers.share) == len(numbers.edges) + 1


@pytest.mark.parametrize("text", [None, b"{}", b"none"])
def test_a_model_without_the_file_is_refused(text: bytes | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "extra_files").mkdir()
        (tmp_path / drift.FILE).write_bytes(text)

    with pytest.raises(ModelError, match=r"baseline\.json"):
        drift.read(str(tmp_path))


EVENT: dict[str, Any] = {
    "ride": {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66},
    "ride_id": 256,
}


def archived(event: dict[str, Any]) -> bytes:
    data = b64encode(json.dumps(event).encode()).decode()
    line = {"event_id": "1", "arrived_at": "2026-11-25T13:00:00Z", "partition_key": "256"}
    return json.dumps(line | {"data": data}).encode()


def test_a_line_is_an_event_or_of_the_archive() -> None:
    assert live.ride(json.dumps(EVENT).encode()) == Ride(130, 205, 3.66)

    ride = live.ride(archived(EVENT))

    assert (ride.pickup, str(ride.pickup_datetime)) == (130, "2026-11-25 13:00:00+00:00")


def test_files_may_be_gzipped_and_bad_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(archived(EVENT) + b"\nnonsense\n\n"))
    (tmp_path / "b.json").write_bytes(json.dumps(EVENT).encode())

    columns, rejected = live.read([tmp_path / "a.gz", tmp_path / "b.json"])

    assert (columns.pickup.tolist(), rejected) == ([130, 130], 1)


def test_files_without_rides_are_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"nonsense")
    (tmp_path / "b.gz").write_bytes(b"nonsense")

    with pytest.raises(DataError, match="no ride event"):
        live.read([tmp_path / "a"])
    with pytest.raises(DataError, match="no whole gzip file"):
        live.read([tmp_path / "b.gz"])
