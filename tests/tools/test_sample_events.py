"""The files in events/ are current, and the function handles each as its name says."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from aws_kinesis_agg.deaggregator import deaggregate_records

from event_source_mapping.records import PAYLOAD_BYTES
from model_service.kinesis.accounting import BatchReport
from model_service.scoring import Target
from model_service.settings import Settings
from model_service.stream import processor
from model_service.stream.predictions import Prediction
from tools import sample_events

from ..support.factories import FakeModel, MemoryPublisher, MemoryRejects

FOLDER = Path(__file__).parents[2] / "events"


def event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def processed(name: str) -> BatchReport[Prediction]:
    return processor.process(
        event(name),
        model=FakeModel(),
        target=Target(),
        publish=MemoryPublisher(),
        keep=MemoryRejects(),
        time_left=lambda: 60.0,
    )


def test_the_files_are_current() -> None:
    assert sample_events.main(["--check", str(FOLDER)]) == 0, "run make events"
    assert {path.name for path in FOLDER.iterdir()} == set(sample_events.documents())


@pytest.mark.parametrize(
    ("name", "published"),
    [("one-ride", 1), ("thousand-rides", 1000), ("kpl", 5), ("gzip", 3), ("bad-among-good", 4)],
)
def test_the_rides_of_an_event_are_predicted(name: str, published: int) -> None:
    report = processed(name)

    assert len(report.published) == published
    assert report.checkpoint is None


def test_the_bad_ride_among_good_ones_is_rejected_with_its_reason() -> None:
    [rejection] = processed("bad-among-good").rejected

    assert rejection.reason == "Object missing required field `trip_distance` - at `$.ride`"
    assert rejection.record.raw == event("bad-among-good")["Records"][1]


def test_no_other_ride_is_rejected() -> None:
    names = {path.stem for path in FOLDER.glob("*.json")} - {"env", "bad-among-good"}

    assert [name for name in names if processed(name).rejected] == []


def test_the_reference_implementation_reads_the_aggregates() -> None:
    users = deaggregate_records(event("kpl")["Records"])

    assert len(users) == 5


def test_a_thousand_rides_are_within_the_limit_of_lambda() -> None:
    assert (FOLDER / "thousand-rides.json").stat().st_size < PAYLOAD_BYTES / 6


def test_the_environment_file_has_settings_of_the_function() -> None:
    [(function, environment)] = event("env").items()
    names = {field.name.upper() for field in fields(Settings)}

    assert function == "DurationScorer"
    assert set(environment) <= names
    assert Settings.from_env(environment).test_run


def test_check_fails_if_a_file_is_out_of_date(tmp_path: Path, capsys: Any) -> None:
    assert sample_events.main([str(tmp_path / "events")]) == 0
    (tmp_path / "events" / "gzip.json").write_text("{}")

    assert sample_events.main(["--check", str(tmp_path / "events")]) == 1
    assert "gzip.json; run make events" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--check"], ["--force", "x"], ["a", "b"]])
def test_wrong_arguments_print_the_usage(arguments: list[str], capsys: Any) -> None:
    assert sample_events.main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: ")
