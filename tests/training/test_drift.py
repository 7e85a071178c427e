from __future__ import annotations

import gzip
import json
from base64 import b64encode
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from model_service.archive_format import Line
from model_service.errors import FileError, ModelError
from model_service.features import NO_TIME, RideColumns
from tests.core.test_payloads import aggregated
from tests.support.factories import payload
from tests.training.test_metrics import rides
from training import drift
from training.data.dataset import DataError, Rides, Target
from training.drift import Baseline, MonthErrors


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


def test_a_sample_of_the_training_data_is_steady(trained: Baseline, month: Rides) -> None:
    some = np.random.default_rng(0).permutation(5000)[:300]
    columns = RideColumns(*(getattr(month.columns, f.name)[some] for f in fields(RideColumns)))

    found = levels(trained, Rides(columns, month.target[some], month.pickup_datetime[some]))

    assert set(found.values()) == {"steady"}


def test_the_changed_feature_comes_first_and_the_others_are_steady(
    trained: Baseline, month: Rides
) -> None:
    kilometres = replace(month.columns, distance=month.columns.distance * 1.609)

    found = drift.compare(trained, kilometres, month.target)

    assert (found[0].name, found[0].level) == ("trip_distance", "drifted")
    assert {shift.level for shift in found[1:]} == {"steady"}


def test_rides_without_time_are_drift(trained: Baseline, month: Rides) -> None:
    blank = replace(month.columns, picked_up=np.full(5000, NO_TIME))

    assert levels(trained, replace(month, columns=blank))["hour"] == "drifted"


TESTED = MonthErrors("2023-02", 5000, rmse=4.0, mae=2.5, bias=0.1, coverage=0.8)


def test_errors_like_those_of_the_test_month_are_accepted(trained: Baseline) -> None:
    known = msgspec.structs.replace(trained, test=TESTED)
    near = MonthErrors("2023-05", 5000, rmse=4.55, mae=2.85, bias=-1.45, coverage=0.76)

    assert drift.slipped(known, TESTED) == drift.slipped(known, near) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rmse": 5.48}, "RMSE is 5.48 minutes, 37% more than the 4.00 of 2023-02"),
        ({"mae": 3.0}, "The mean absolute error is 3.00 minutes, 20% more than the 2.50"),
        ({"bias": -1.9}, "The bias is -1.90 minutes; at most 1.5 is accepted"),
        ({"bias": 1.6}, "The bias is +1.60 minutes"),
        ({"coverage": 0.7}, "70.0% of the true values are within their intervals; 75% to 85%"),
        ({"coverage": 0.9}, "90.0% of the true values are within their intervals"),
    ],
)
def test_a_larger_error_bias_or_other_coverage_is_found(
    changes: dict[str, float], said: str, trained: Baseline
) -> None:
    known = msgspec.structs.replace(trained, test=TESTED)

    [reason] = drift.slipped(known, msgspec.structs.replace(TESTED, **changes))

    assert reason.startswith(said)


def test_bias_and_coverage_are_judged_without_errors_of_a_test_month(trained: Baseline) -> None:
    worse = msgspec.structs.replace(TESTED, rmse=99.0, bias=-1.9, coverage=0.7)

    assert trained.test is None
    assert len(drift.slipped(trained, worse)) == 2


def test_a_baseline_without_errors_of_a_test_month_can_be_read(
    trained: Baseline, tmp_path: Path
) -> None:
    older = msgspec.to_builtins(trained)
    del older["test"]
    (tmp_path / "extra_files").mkdir()
    (tmp_path / drift.FILE).write_bytes(msgspec.json.encode(older))

    assert drift.read_baseline(str(tmp_path)).test is None


def test_implausible_predictions_are_counted(trained: Baseline, month: Rides) -> None:
    assert levels(trained, month, factor=3)["prediction"] == "drifted"
    assert drift.implausible_share(trained, month.target) == 0
    assert drift.implausible_share(trained, month.target + 100) == 1


def test_the_baseline_is_read_as_it_was_written(trained: Baseline, tmp_path: Path) -> None:
    (tmp_path / "extra_files").mkdir()
    (tmp_path / drift.FILE).write_bytes(msgspec.json.encode(trained))

    assert drift.read_baseline(str(tmp_path)) == trained


def test_shares_add_up_to_1(trained: Baseline) -> None:
    for shares in trained.shares.values():
        assert sum(shares.values()) == pytest.approx(1)
    for numbers in trained.numbers.values():
        assert sum(numbers.share) == pytest.approx(1)
        assert len(numbers.share) == len(numbers.edges) + 1


@pytest.mark.parametrize("text", [None, b"{}", b"none"])
def test_a_model_without_a_baseline_is_refused(text: bytes | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "extra_files").mkdir()
        (tmp_path / drift.FILE).write_bytes(text)

    with pytest.raises(ModelError, match=r"baseline\.json"):
        drift.read_baseline(str(tmp_path))


def archived(data: bytes) -> bytes:
    """Return a line of the archive for a record with *data*."""
    line = {"event_id": "1", "arrived_at": "2026-11-25T13:00:00Z", "partition_key": "256"}
    return json.dumps(line | {"data": b64encode(data).decode()}).encode()


def test_a_ride_without_a_time_has_that_of_its_arrival(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(archived(payload()))

    rides, rejected = drift.read_rides([tmp_path / "archive"], "duration")

    assert (rides.columns.pickup.tolist(), rejected) == ([130], 0)
    assert rides.columns.picked_up.tolist() == [datetime(2026, 11, 25, 8)]  # in New York


def test_archive_lines_are_read_as_the_service_reads_records(tmp_path: Path) -> None:
    """The archive has the original bytes of records: plain, gzipped or aggregated by the KPL."""
    lines = [payload(1), gzip.compress(payload(2)), aggregated(payload(3), payload(4))]
    (tmp_path / "archive").write_bytes(b"\n".join(map(archived, lines)))

    rides, rejected = drift.read_rides([tmp_path / "archive"], "duration")

    assert (len(rides), rejected) == (4, 0)


def test_files_may_be_gzipped_and_rejected_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(archived(payload()) + b"\nnonsense\n\n"))
    (tmp_path / "b.json").write_bytes(payload())

    rides, rejected = drift.read_rides([tmp_path / "a.gz", tmp_path / "b.json"], "duration")

    assert (rides.columns.pickup.tolist(), rejected) == ([130, 130], 1)


@pytest.mark.parametrize(("target", "known"), [("duration", [10.0, 25.0]), ("cost", [12.0, 15.0])])
def test_rides_have_the_true_values_of_their_file(
    target: Target, known: list[float], tmp_path: Path
) -> None:
    path = tmp_path / "rides.csv"
    path.write_text(
        "PULocationID,DOLocationID,trip_distance,lpep_pickup_datetime,lpep_dropoff_datetime,"
        "total_amount,tip_amount\n"
        "130,205,3.6,2021-03-01 08:15:00,2021-03-01 08:25:00,14,2\n"
        "130,205,3.6,2021-03-01 08:15:00,2021-03-01 08:40:00,1,0\n"  # too cheap to be true
        "130,205,3.6,2021-03-01 08:15:00,2021-03-02 08:15:00,9,1\n"  # too long to be true
        "130,205,3.6,2021-03-01 08:15:00,,15,0\n"
    )

    rides, rejected = drift.read_rides([path], target)

    assert (len(rides), rejected) == (4, 0)
    assert rides.target[~np.isnan(rides.target)].tolist() == known


def test_few_finished_rides_are_not_judged(trained: Baseline) -> None:
    known = msgspec.structs.replace(trained, test=TESTED)
    few = MonthErrors(drift.FILES, 999, rmse=8.0, mae=5.0, bias=-3.0, coverage=0.4)

    assert drift.slipped(known, few) == []
    assert len(drift.slipped(known, msgspec.structs.replace(few, rides=1000))) == 4


def test_a_ride_that_is_in_two_files_of_the_archive_is_read_once(tmp_path: Path) -> None:
    hour = tmp_path / "ride_events/2022/06/02/09"
    hour.mkdir(parents=True)
    lines = [
        msgspec.json.encode(
            Line(
                event_id=f"shardId-0:{number}",
                arrived_at=datetime(2022, 6, 2, 9, tzinfo=UTC),
                data=b64encode(payload(number)).decode(),
            )
        )
        for number in (1, 2, 3)
    ]
    (hour / "shardId-0-1-2.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines[:2])))
    (hour / "shardId-0-2-3.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines[1:])))
    files = sorted(hour.iterdir())

    rides, rejected = drift.read_rides([*files, *files], "duration")

    assert (len(rides), rejected) == (3, 0)


def test_files_without_valid_rides_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(payload(PULocationID=0))
    (tmp_path / "b.gz").write_bytes(gzip.compress(payload())[:-9])

    with pytest.raises(DataError, match="no valid ride events"):
        drift.read_rides([tmp_path / "a"], "duration")
    with pytest.raises(FileError, match="damaged or ends too early"):
        drift.read_rides([tmp_path / "b.gz"], "duration")
