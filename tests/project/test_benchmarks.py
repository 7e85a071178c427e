"""Benchmarks predict every ride; `make bench` measures how fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks import (
    handler,
    image,
    mapping,
    memory,
    quote,
    reading,
    results,
    rivals,
    web,
    workers,
)
from benchmarks.tutorial import features
from model_service import rides as ride_events
from model_service.features import columns
from model_service.models import loader as model
from model_service.models.served import Models, Served
from model_service.rides import Ride
from model_service.scoring import Target
from model_service.web import quotes
from tests.support.golden import GoldenModel
from training.model import champion

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("contender", list(handler.STARTS))
def test_each_contender_predicts_every_ride(contender: str, golden_model: GoldenModel) -> None:
    environ = {**os.environ, **handler.ENVIRONMENT, "MODEL_LOCATION": golden_model.model_location}
    command = [sys.executable, "-m", "benchmarks.handler", "--turn", contender]

    found = json.loads(subprocess.check_output(command, cwd=ROOT, env=environ))

    assert found
    assert all(milliseconds > 0 for milliseconds in found)


def test_handler_benchmark_without_a_model_prints_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.handler", "--model", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.endswith("run make model\n")


def test_a_benchmark_keeps_the_figures_of_others(tmp_path: Path) -> None:
    path = tmp_path / "bench" / "results.json"
    for name, figure in (("handler", 1.0), ("images", 2.0), ("handler", 3.0)):
        results.save(name, {"figure": figure}, path)

    found = json.loads(path.read_text())
    assert {name: found[name]["figure"] for name in found} == {"handler": 3.0, "images": 2.0}


def test_the_tutorial_gets_the_base_and_the_versions_of_ours() -> None:
    lock = json.loads((ROOT / "Pipfile.lock").read_text())
    dockerfile = (ROOT / "benchmarks/tutorial/Dockerfile").read_text()

    constraints = image.constraints(lock).splitlines()
    for name in ("mlflow", "scikit-learn", "skops", "boto3"):
        assert name in dockerfile
        assert any(line.startswith(f"{name}==") for line in constraints)
    assert f"FROM {image.BASE}\n" in dockerfile
    assert f"={image.BASE}\n" in (ROOT / "Dockerfile").read_text()


def test_the_table_has_the_share_of_the_tutorial() -> None:
    figures = {
        "onnx": {"added_mb": 200.0, "start_ms_all": 500.0, "start_ms_0.3": 2000.0},
        "tutorial": {"added_mb": 800.0, "start_ms_all": 5000.0, "start_ms_0.3": 20000.0},
    }

    assert image.table(figures).splitlines()[2:] == [
        "| `onnx`, ONNX | 200 MB (0.25) | 0.50 s (0.10) | 2.00 s (0.10) |",
        "| the tutorial's, scikit-learn | 800 MB | 5.00 s | 20.00 s |",
    ]


def test_a_champion_without_onnx_is_left_to_mlflow(
    golden_model: GoldenModel, tmp_path: Path
) -> None:
    copy = image.without_onnx(Path(golden_model.model_location), tmp_path / "copy")

    assert model.load(str(copy)).flavour == "sklearn"


def test_without_a_model_images_are_not_measured(tmp_path: Path) -> None:
    assert image.fault(tmp_path) == f"there is no model in {tmp_path}: run make model"


def test_reading_benchmark_reads_the_same_events_in_both_ways() -> None:
    plain, with_point = (
        [event for record in reading.records(with_point=point)
         for _, event, *_ in ride_events.read(record, "shard:1", reading.NOW)]
        for point in (False, True)
    )  # fmt: skip

    assert plain == with_point
    assert all(isinstance(event, ride_events.RideEvent) for event in plain)


RIVALS = {"constant": rivals.constant, "bare": rivals.bare, "tutorial": rivals.tutorial}


@pytest.mark.slow
@pytest.mark.parametrize("rival", list(RIVALS))
def test_each_web_benchmark_rival_predicts_a_ride(
    rival: str, golden_model: GoldenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_LOCATION", golden_model.model_location)
    client = RIVALS[rival]().test_client()

    answer = client.post("/predict", json=web.rides()[0])

    assert answer.status_code == 200
    assert 0 < answer.get_json()["duration"] < 120


@pytest.mark.slow
@pytest.mark.skipif(bool(web.missing_tools()), reason="needs wrk and hey")
def test_web_benchmark_measures_throughput_latency_and_memory(golden_model: GoldenModel) -> None:
    model = Path(golden_model.model_location)

    with web.run_server(web.CONTENDERS["one"], model, model) as server:
        turn = web.turn(server, 1)
        before, after = memory.memory(server.pid), memory.memory(server.pid)

    assert turn.per_second > 10
    assert turn.cpu_us > 10
    assert 0 < turn.p50_ms <= turn.p99_ms
    assert 0 < after.workers_alone < after.pss < after.rss
    assert abs(after.rss - before.rss) < 50


def test_web_benchmark_sends_mlflow_the_columns_of_the_signature(golden_model: GoldenModel) -> None:
    [body] = web.split(Path(golden_model.model_location), web.rides()[:1])
    asked = json.loads(body)["dataframe_split"]

    assert asked["columns"] == list(champion.INPUTS)
    assert len(asked["data"][0]) == len(champion.INPUTS)


def test_web_benchmark_compares_servers_within_a_round() -> None:
    found = {
        "one": [web.Turn(100, 10, 1, 2), web.Turn(300, 10, 1, 2), web.Turn(300, 10, 1, 2)],
        "constant": [web.Turn(200, 5, 1, 2), web.Turn(400, 5, 1, 2), web.Turn(400, 5, 1, 2)],
    }

    figures = web.figures(found)

    assert figures["one"]["of_constant"] == 0.75
    assert figures["one"]["of_constant_by_cpu"] == 0.5
    assert web.table(figures).splitlines()[2:] == [
        "| this service, one model | 300 | 10 µs | 1.0 ms | 2.0 ms |  |  |",
        "| fixed response | 400 | 5 µs | 1.0 ms | 2.0 ms | 0.75 (0.50) |  |",
    ]


@pytest.mark.slow
@pytest.mark.skipif(bool(web.missing_tools()), reason="needs wrk and hey")
def test_worker_benchmark_measures_each_figure(
    golden_model: GoldenModel, golden_cost_model: GoldenModel
) -> None:
    models = Path(golden_model.model_location), Path(golden_cost_model.model_location)

    [found] = workers.measure(*models, ["gevent"], rounds=1, seconds=1).values()

    figures = workers.figures(found)
    assert figures["answered_beside_slow_heads"] > 0
    assert figures["answered_beside_slow_bodies"] > 0
    assert figures["stop_answered"] > 0
    assert workers.table({"gevent": figures}).splitlines()[-1].startswith("| gevent | ")


def test_web_benchmark_says_whether_the_goals_are_met() -> None:
    figures = {"two": {"of_tutorial": 8.5, "of_mlflow": 12.0, "p99_ms": 9.0}}

    assert [line.rpartition(" ")[2] for line in web.goals(figures)] == ["met", "MET", "met"]


def test_quote_benchmark_times_each_part(golden_model: GoldenModel) -> None:
    served = Served(model.load(golden_model.model_location), Target())
    parts = quote.parts(Models(served, served))
    asked = quotes.decode(json.dumps(web.rides()[0]).encode(), datetime.now(UTC))

    [one], [two] = (parts[f"a quote, {models}"](asked) for models in ("one model", "two models"))

    assert two.duration == two.cost == one.duration
    assert all(quote.microseconds(part, [asked]) > 0 for part in parts.values())


def test_mapping_benchmark_delivers_rides_to_a_handler_that_does_nothing() -> None:
    assert mapping.per_second(2_000, shards=2, batch_size=100, factor=2) > 0


def test_web_benchmark_reports_a_missing_model(tmp_path: Path) -> None:
    assert web.setup_error(tmp_path, tmp_path) == f"no model in {tmp_path}: run make model"


def test_the_tutorial_makes_the_features_that_the_champion_was_trained_on() -> None:
    ride = {"PULocationID": 130, "DOLocationID": 132, "trip_distance": 3.66}
    moment = datetime(2021, 3, 1, 8, 15)

    row = features.row(ride, moment, features.places(handler.ZONES))

    expected = champion.frame(columns([Ride(130, 132, 3.66, moment)])).iloc[0].to_dict()
    assert row == pytest.approx(expected, abs=1e-5)
