"""The scheduled batch function, with an S3 server in a separate process."""

from __future__ import annotations

import base64
import gzip
import importlib
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from local.aws.server import Embedded
from model_service.errors import EventError, FileError, SettingsError

from ..support import models
from ..support.factories import payload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "archive"
HOUR = datetime(2026, 11, 24, 5, tzinfo=UTC)
AFTER = {"scheduled_time": "2026-11-24T06:20:00Z"}

Start = Callable[..., ModuleType]


@pytest.fixture(scope="module", autouse=True)
def level() -> Iterator[None]:
    """Restores the log level, which the function sets for all loggers."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.fixture
def s3(s3: S3Client) -> Iterator[S3Client]:
    """Deletes all objects after each test."""
    yield s3
    for key in keys(s3):
        s3.delete_object(Bucket=BUCKET, Key=key)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX model: five minutes per mile, and two more."""
    return models.write_onnx(tmp_path_factory.mktemp("line"))


@pytest.fixture
def start(module_aws: Embedded, line: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """A function that imports the entry point again, with changed settings."""

    def started(**settings: str) -> ModuleType:
        usual = {
            **module_aws.environ,
            "MODEL_LOCATION": str(line),
            "ARCHIVE_LOCATION": f"s3://{BUCKET}/ride_events",
            "OUTPUT_LOCATION": f"s3://{BUCKET}/scored",
            "BATCH_WINDOW": "hour",
        }
        for name, value in (usual | settings).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, "batch_function", raising=False)
        return importlib.import_module("batch_function")

    return started


def keys(s3: S3Client) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def contents(s3: S3Client) -> dict[str, bytes]:
    """Content of all output objects, by key."""
    return {
        key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        for key in keys(s3)
        if key.startswith("scored/")
    }


def archive(s3: S3Client, *payloads: bytes, hour: datetime = HOUR, name: str = "1") -> None:
    """Write an object of the archive as Firehose does."""
    lines = [
        {
            "event_id": f"shardId-0:{name}{n}",
            "arrived_at": hour.isoformat(),
            "partition_key": "1",
            "data": base64.b64encode(data).decode(),
        }
        for n, data in enumerate(payloads)
    ]
    body = gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())
    s3.put_object(Bucket=BUCKET, Key=f"ride_events/{hour:%Y/%m/%d/%H}/{name}.gz", Body=body)


def ran(function: ModuleType, **event: Any) -> Any:
    return function.lambda_handler({**AFTER, **event}, None)


# --- a window ---------------------------------------------------------------------------------


def test_the_hour_before_the_scheduled_time_is_scored(s3: S3Client, start: Start) -> None:
    archive(s3, payload(1), payload(2), b"{}")
    archive(s3, payload(3), hour=HOUR + timedelta(hours=1))

    answer = ran(start())

    assert answer == {
        "window": "2026/11/24/05",
        "objects": 1,
        "rows": 3,
        "scored": 2,
        "rejected": 1,
        "output": f"s3://{BUCKET}/scored/2026/11/24/05",
    }
    [rides] = [body for key, body in contents(s3).items() if "/rides/" in key]
    table = pq.read_table(io.BytesIO(rides))
    assert table["ride_id"].to_pylist() == ["1", "2"]
    assert table["ride_duration"].to_pylist() == [pytest.approx(20.3)] * 2
    [rejected] = [body for key, body in contents(s3).items() if "/rejected/" in key]
    assert pq.read_table(io.BytesIO(rejected))["data"].to_pylist() == [b"{}"]


@pytest.mark.parametrize(
    ("window", "after", "objects"),
    [
        ("day", "2026-11-25T00:20:00Z", 2),
        ("month", "2026-12-01T00:20:00Z", 3),
        ("month", "2026-12-09T00:20:00Z", 3),  # a daily check of the last month
    ],
)
def test_day_and_month_score_all_their_hours(
    s3: S3Client, start: Start, window: str, after: str, objects: int
) -> None:
    archive(s3, payload(1))
    archive(s3, payload(2), hour=HOUR.replace(hour=23))
    archive(s3, payload(3), hour=HOUR.replace(day=30))
    archive(s3, payload(4), hour=HOUR.replace(month=10))

    answer = ran(start(BATCH_WINDOW=window), scheduled_time=after)

    assert (answer["objects"], answer["scored"]) == (objects, objects)


def test_success_marker_holds_the_response(s3: S3Client, start: Start) -> None:
    archive(s3, payload(1))

    answer = ran(start())

    assert json.loads(contents(s3)["scored/2026/11/24/05/_SUCCESS"]) == answer


def test_hour_without_rides_gets_a_success_marker(s3: S3Client, start: Start) -> None:
    answer = ran(start())

    assert answer["rows"] == 0
    assert list(contents(s3)) == ["scored/2026/11/24/05/_SUCCESS"]


# --- repeated runs -----------------------------------------------------------------------------


def test_retry_and_late_run_leave_the_same_files(s3: S3Client, start: Start) -> None:
    archive(s3, payload(1), b"{}")
    function = start()
    first = ran(function)
    before = contents(s3)

    again, forced = ran(function), ran(start(), force=True)

    assert again == forced == first
    assert contents(s3) == before


def test_late_object_is_added(s3: S3Client, start: Start) -> None:
    archive(s3, payload(1))
    function = start()
    ran(function)
    before = contents(s3)
    archive(s3, payload(2), name="2")

    answer = ran(function)

    assert (answer["objects"], answer["scored"]) == (2, 2)
    kept = {name: body for name, body in contents(s3).items() if name in before}
    changed = {name for name, body in kept.items() if body != before[name]}
    assert changed == {"scored/2026/11/24/05/_SUCCESS"}


def test_damaged_object_fails_the_run_after_the_others_are_scored(
    s3: S3Client, start: Start
) -> None:
    archive(s3, payload(1))
    s3.put_object(Bucket=BUCKET, Key="ride_events/2026/11/24/05/2.gz", Body=gzip.compress(b"{")[:9])

    with pytest.raises(FileError, match=r"1 of 2 objects cannot be read: .*2\.gz"):
        ran(start())

    assert [key for key in contents(s3) if "/rides/" in key]
    assert "scored/2026/11/24/05/_SUCCESS" not in contents(s3)


def test_late_damaged_object_removes_the_success_marker(s3: S3Client, start: Start) -> None:
    archive(s3, payload(1))
    ran(start())
    s3.put_object(Bucket=BUCKET, Key="ride_events/2026/11/24/05/2.gz", Body=gzip.compress(b"{")[:9])

    with pytest.raises(FileError):
        ran(start())

    assert "scored/2026/11/24/05/_SUCCESS" not in contents(s3)


# --- metrics and errors ------------------------------------------------------------------------


def test_run_prints_one_line_of_metrics(
    s3: S3Client, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    archive(s3, payload(1), payload(2), b"{}")

    ran(start())

    [printed] = capsys.readouterr().out.splitlines()
    line = json.loads(printed)
    counts = ("batch_runs", "batch_rows", "batch_scored", "batch_rejected")
    assert [line[name] for name in counts] == [[1], [3], [2], [1]]
    assert line["rejections"] == [{"reason": "Object missing required field `ride`", "rides": 1}]
    since = datetime.now(UTC) - datetime.fromisoformat(AFTER["scheduled_time"])
    assert line["batch_delay_seconds"] == [pytest.approx(since.total_seconds(), abs=60)]


@pytest.mark.parametrize(
    "event", [{}, {"scheduled_time": "soon"}, {"scheduled_time": "2026-11-24T06:20:00"}]
)
def test_malformed_event_is_refused(start: Start, event: dict[str, Any]) -> None:
    with pytest.raises(EventError, match="not an event of the schedule"):
        start().lambda_handler(event, None)


def test_error_names_every_missing_setting(start: Start) -> None:
    with pytest.raises(SettingsError) as caught:
        start(ARCHIVE_LOCATION="", OUTPUT_LOCATION="here", BATCH_WINDOW="week")

    for name in ("ARCHIVE_LOCATION", "OUTPUT_LOCATION", "BATCH_WINDOW"):
        assert name in str(caught.value)
