from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import polars as pl
import pytest
import skops.io
from moto.server import ThreadedMotoServer

from model_service.features import columns
from model_service.models import flavours, loader, trust
from model_service.rides import Ride
from tests.support.training_factories import QUICK, ride, write_month
from training import __main__ as command
from training import pipeline
from training.data import dataset, simulation
from training.data.dataset import DataError
from training.pipeline import Plan, Result
from training.registry import tracking
from training.registry.tracking import TrackingError

RIDES = columns([Ride(130, 205, 3.66), Ride(1, 2, 0.0)])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    simulation.write(directory / "rides", ["2021-01", "2021-02", "2021-03"], 2_000, seed=0)
    return directory


@pytest.fixture(scope="module")
def plan(directory: Path) -> Plan:
    return Plan(
        data=directory / "rides",
        train=("2021-01",),
        test="2021-02",
        target="duration",
        tracking_uri=f"sqlite:///{directory / 'new' / 'mlflow.db'}",
        artifacts=str(directory / "artifacts"),
        parameters=QUICK,
    )


@pytest.fixture(scope="module")
def steps() -> list[str]:
    return []


@pytest.fixture(scope="module")
def result(plan: Plan, steps: list[str]) -> Result:
    return pipeline.train(plan, step=steps.append)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    boto3.client("s3").create_bucket(Bucket="models")
    yield "s3://models/runs"
    server.stop()


def test_each_long_step_is_announced(result: Result, steps: list[str]) -> None:
    assert steps[:2] == ["reading 2021-01", "reading 2021-02"]
    assert len(steps) == 9


def test_the_model_is_where_the_service_looks(result: Result) -> None:
    served = loader.load(result.model_location, sha256=result.model_sha256)

    assert served.flavour == "onnx"
    assert served.version == result.run_id
    assert np.isfinite(served.predict(RIDES).values).all()


def test_mlflow_itself_gives_the_same_answers(result: Result) -> None:
    through_mlflow = flavours.pyfunc(Path(result.model_location))(RIDES)

    served = loader.load(result.model_location).predict(RIDES)

    assert np.allclose(through_mlflow.values, served.values, atol=1e-3)


def test_mlflow_reads_both_flavours(result: Result) -> None:
    import mlflow.models

    info = mlflow.models.get_model_info(result.model_location)

    assert set(info.flavors) == {"onnx", "sklearn", "python_function"}
    assert info.run_id == result.run_id
    assert info.metadata == {"target": "duration"}  # what the service compares


def test_the_skops_file_asks_for_no_more_trust_than_the_service_gives(result: Result) -> None:
    file = Path(result.model_location) / "model.skops"

    assert set(skops.io.get_untrusted_types(file=file)) <= trust.TRUSTED_TYPES


def test_the_run_has_parameters_and_metrics(result: Result, plan: Plan) -> None:
    import mlflow

    logged = mlflow.MlflowClient(plan.tracking_uri).get_run(result.run_id)

    assert logged.info.status == "FINISHED"
    assert logged.data.params["train"] == "2021-01"
    assert logged.data.params["target"] == "duration"
    test = result.metrics["test"]
    assert logged.data.metrics["test_rmse_minutes"] == pytest.approx(test["rmse_minutes"])
    assert "baseline_linear_mae_minutes" in logged.data.metrics


def test_the_run_says_which_rows_were_dropped_and_why(result: Result, plan: Plan) -> None:
    import mlflow

    client = mlflow.MlflowClient(plan.tracking_uri)
    table = client.load_table(
        client.get_run(result.run_id).info.experiment_id, "dropped.json", [result.run_id]
    )

    assert list(table.columns) == tracking.DROPPED
    assert set(table["use"]) == {"training", "test"}
    for month in ("2021-01", "2021-02"):
        _, tally = dataset.read_counted(plan.data, month, plan.target)
        of_month = table[table["month"] == month]
        assert dict(zip(of_month["reason"], of_month["rows"], strict=True)) == tally.dropped


def test_of_too_many_rides_a_share_is_trained_on_and_that_is_said(plan: Plan) -> None:
    import mlflow

    two = replace(plan, train=("2021-01", "2021-02"), test="2021-03", most=1000)

    result = pipeline.train(replace(two, experiment="few", card=False), step=lambda _: None)

    client = mlflow.MlflowClient(plan.tracking_uri)
    logged = client.get_run(result.run_id)
    table = client.load_table(logged.info.experiment_id, "dropped.json", [result.run_id])
    left_out = table[table["reason"] == "more rides than are trained on"]
    assert 800 < int(logged.data.params["rides"]) < 1000
    assert left_out["month"].tolist() == ["2021-01", "2021-02"]
    rows = sum(table[table["use"] == "training"]["rows"])
    assert int(logged.data.params["rides"]) + rows == 2 * 2_000
    assert result.metrics["test"]["rides"] == len(dataset.read(plan.data, "2021-03", "duration"))


def test_the_result_carries_the_test_month(result: Result, plan: Plan) -> None:
    month = dataset.read(plan.data, plan.test, plan.target)

    assert np.array_equal(result.true, month.target)
    assert np.array_equal(result.hour, month.columns.hour)
    assert result.metrics["test"]["rides"] == len(result.predicted) == len(month)


def test_a_copy_is_the_same_model(result: Result, directory: Path) -> None:
    target = directory / "copied" / "model"

    tracking.copy(result.model_location, target)
    tracking.copy(result.model_location, target)  # over what was there

    assert loader.load(str(target), sha256=result.model_sha256).version == result.run_id


def test_a_copy_goes_to_where_one_stands(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    tracking.copy(result.model_location, Path())

    assert loader.load(str(tmp_path / "here"), sha256=result.model_sha256)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_who_comes_second_waits_for_the_database(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with tracking._alone(tmp_path):
            order.append("second")

    with ThreadPoolExecutor() as pool:
        with tracking._alone(tmp_path):
            waiting = pool.submit(second)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
            order.append("first")
        waiting.result(timeout=10)

    assert order == ["first", "second"]


def test_a_place_that_takes_no_copy_is_not_blamed_on_mlflow(result: Result, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FileExistsError):
        tracking.copy(result.model_location, tmp_path / "file" / "model")


def test_a_directory_with_something_else_is_left_alone(result: Result, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(TrackingError, match="left alone"):
        tracking.copy(result.model_location, tmp_path)

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_model_of_cost_is_logged_to_s3(plan: Plan, s3: str, tmp_path: Path) -> None:
    calibrated = replace(plan, calibrate="2021-02", test="2021-03")
    to_s3 = replace(calibrated, target="cost", artifacts=s3, experiment="cost")

    result = pipeline.train(to_s3, step=lambda _: None)
    tracking.copy(result.model_location, tmp_path / "model")

    assert result.model_location.startswith("s3://models/runs/")
    assert set(result.metrics["test"]) == {"rmse_dollars", "mae_dollars", "rides"}
    assert loader.load(str(tmp_path / "model"), sha256=result.model_sha256)


def test_a_bucket_that_is_not_there_is_said(plan: Plan, s3: str) -> None:
    lost = replace(plan, artifacts="s3://nowhere/runs", experiment="lost")

    with pytest.raises(TrackingError, match="MLflow cannot use"):
        pipeline.train(lost, step=lambda _: None)


def test_an_experiment_does_not_move(result: Result, plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="keeps its artifacts at"):
        pipeline.train(replace(plan, artifacts=str(tmp_path)), step=lambda _: None)


def test_artifacts_that_the_service_could_not_read_are_refused(plan: Plan) -> None:
    unreadable = replace(plan, artifacts="mlflow-artifacts:/", experiment="unreadable")

    with pytest.raises(TrackingError, match="cannot read models from mlflow-artifacts"):
        pipeline.train(unreadable, step=lambda _: None)


def test_bad_data_leaves_no_trace_in_mlflow(plan: Plan, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"

    with pytest.raises(DataError):
        pipeline.train(
            replace(plan, test="2021-09", tracking_uri=f"sqlite:///{database}"),
            step=lambda _: None,
        )

    assert not database.exists()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The command line in an empty directory: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def training(*arguments: str) -> tuple[int, str, str]:
        code = command.main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return training


def test_without_data_rides_are_simulated(training: Run, tmp_path: Path) -> None:
    code, out, err = training(
        "train", "--rides", "1500", "--json", "out/summary.json", "--output", "build/model"
    )

    summary: dict[str, Any] = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert code == 0
    assert json.loads(out) == summary
    assert set(summary) == {"run_id", "model_location", "model_sha256", "metrics"}
    assert set(summary["metrics"]) == {"test", "baseline_linear"}
    assert "fitting a model" in err
    assert loader.load("build/model", sha256=summary["model_sha256"])


def test_months_can_be_simulated_by_themselves(training: Run, tmp_path: Path) -> None:
    code, _, _ = training(
        "simulate", "--output", "rides", "--months", "2023-01", "2023-02", "--rides", "50"
    )

    assert code == 0
    assert dataset.months(tmp_path / "rides") == ["2023-01", "2023-02"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "nowhere"], "There is no directory nowhere."),
        (["train", "--data", "."], "There is no month 2021-01 in .: it has 2021-03, 2021-04."),
        (["train", "--test", "February"], "'February' is no month: write YYYY-MM."),
        (["train", "--calibrate", "March"], "'March' is no month: write YYYY-MM."),
        (["train", "--train", "2021-03..2021-01"], "There is no month from 2021-03 to 2021-01."),
        (
            ["tune", "--train", "2021-03", "--validate", "next"],
            "'next' is no month: write YYYY-MM.",
        ),
        (
            ["train", "--data", ".", "--train", "2021-03", "--test", "2021-04"],
            "There are 1 rides to train on; it takes 100.",
        ),
        (
            ["simulate", "--output", "x", "--months", "2021-13"],
            "'2021-13' is no month: write YYYY-MM.",
        ),
        (["simulate", "--output", "a-file", "--months", "2021-01"], "a-file: File exists."),
    ],
)
def test_bad_input_is_one_sentence(
    training: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_month(tmp_path, ride())
    write_month(tmp_path, ride(), month="2021-04")
    (tmp_path / "a-file").touch()

    code, out, err = training(*arguments)

    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == message
    assert "Traceback" not in err


def test_an_interrupt_is_one_word_and_leaves_no_month(
    training: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.DataFrame, "write_parquet", interrupted)

    code, out, err = training("simulate", "--output", "rides", "--months", "2021-01")

    assert (code, out, err) == (130, "", "Interrupted.\n")
    assert list((tmp_path / "rides").iterdir()) == []


@pytest.mark.parametrize("argument", ["--rides=0", "--rides=many", "--seed=-1"])
def test_numbers_are_checked(training: Run, argument: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        training("train", argument)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--rides", "0"], "it takes a whole number, 1 to 10000000"),
        (["train", "--rides", "9" * 400], "it takes a whole number, 1 to 10000000"),
        (["train", "--seed", "x"], "it takes a whole number, 0 to 4294967295"),
        (["compare", "--seed", "-1"], "it takes a whole number, 0 to 4294967295"),
        (["tune", "--seed", "4294967296"], "it takes a whole number, 0 to 4294967295"),
        (["backtest", "--window", "1.7"], "it takes a whole number, 1 to 120"),
        (["train", "--target", "speed"], "invalid choice: 'speed'"),
        (["simulate"], "--output, --months"),
    ],
)
def test_a_wrong_option_gets_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        command.main(arguments)

    assert exit.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_only_a_month_between_can_calibrate(plan: Plan) -> None:
    for month, said in (
        ("2021-01", "2021-01 cannot calibrate what is trained on 2021-01"),
        ("2021-02", "2021-02 cannot test what is trained on 2021-02"),
    ):
        with pytest.raises(DataError, match=said):
            pipeline.train(replace(plan, calibrate=month), step=lambda what: None)


def test_only_a_later_month_can_test(plan: Plan) -> None:
    for test in ("2021-01", "2020-12"):
        with pytest.raises(DataError, match="cannot test what is trained on 2021-01"):
            pipeline.train(replace(plan, test=test), step=lambda what: None)
