from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
import skops.io
from sklearn.linear_model import LinearRegression

from local.aws.server import Embedded
from model_service.features import columns
from model_service.models import flavours, loader, trust
from model_service.models.description import TrainingRides
from model_service.rides import Ride
from tests.support.training_factories import QUICK, ride, write_month
from training import __main__ as command
from training import pipeline
from training.data import dataset
from training.data.dataset import DataError
from training.pipeline import TrainingResult
from training.plan import TrainingPlan
from training.registry import tracking
from training.registry.tracking import Destination, RunRecord, TrackingError
from training.registry.two_flavour_model import TwoFlavourModel

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RIDES = columns([Ride(130, 205, 3.66), Ride(1, 2, 0.0)])


BUCKET = "models"


@pytest.fixture
def runs(module_aws: Embedded, s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> str:
    """The location of artifacts on S3; clients in this process use the embedded AWS."""
    for name, value in module_aws.environ.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/runs"


def test_each_step_is_announced_before_it_begins(result: TrainingResult, steps: list[str]) -> None:
    assert steps[:2] == ["reading 2021-01", "reading 2021-02"]
    assert steps.index("logging to MLflow") < steps.index("loading the model as the service does")


def test_the_service_loads_the_logged_model(result: TrainingResult) -> None:
    served = loader.load(result.model_location, sha256=result.model_sha256)

    assert served.flavour == "onnx"
    assert served.version == result.run_id
    assert np.isfinite(served.predict(RIDES).values).all()


def test_mlflow_itself_predicts_the_same(result: TrainingResult) -> None:
    through_mlflow = flavours.pyfunc(Path(result.model_location))(RIDES)

    served = loader.load(result.model_location).predict(RIDES)

    assert np.allclose(through_mlflow.values, served.values, atol=1e-3)


def test_mlflow_reads_both_flavours(result: TrainingResult) -> None:
    import mlflow.models

    info = mlflow.models.get_model_info(result.model_location)

    assert set(info.flavors) == {"onnx", "sklearn", "python_function"}
    assert info.run_id == result.run_id
    assert info.metadata["target"] == "duration"  # the service compares it with its own target


def test_the_model_names_the_rides_on_which_it_was_trained(
    result: TrainingResult, plan: TrainingPlan
) -> None:
    rides = dataset.read(plan.data, "2021-01", "duration")

    known = loader.load(result.model_location).training_rides

    assert known is not None
    assert (known.source, known.months) == ("simulated", ("2021-01",))
    assert known.rides == len(rides)
    longer = np.mean(rides.columns.distance > known.longest_miles)
    assert 0.001 < longer < 0.01


def test_the_skops_file_has_only_types_that_the_service_trusts(result: TrainingResult) -> None:
    file = Path(result.model_location) / "model.skops"

    assert set(skops.io.get_untrusted_types(file=file)) <= trust.TRUSTED_TYPES


def test_the_run_has_parameters_and_metrics(result: TrainingResult, plan: TrainingPlan) -> None:
    import mlflow

    logged = mlflow.MlflowClient(plan.tracking_uri).get_run(result.run_id)

    assert logged.info.status == "FINISHED"
    assert logged.data.params["train"] == "2021-01"
    assert logged.data.params["target"] == "duration"
    test = result.metrics["test"]
    assert logged.data.metrics["test_rmse_minutes"] == pytest.approx(test["rmse_minutes"])
    assert "baseline_linear_mae_minutes" in logged.data.metrics


def test_the_run_has_a_table_of_dropped_rows(result: TrainingResult, plan: TrainingPlan) -> None:
    import mlflow

    client = mlflow.MlflowClient(plan.tracking_uri)
    table = client.load_table(
        client.get_run(result.run_id).info.experiment_id, "dropped.json", [result.run_id]
    )

    assert list(table.columns) == tracking.DROPPED
    assert set(table["use"]) == {"training", "test"}
    for month in ("2021-01", "2021-02"):
        _, tally = dataset.read_with_counts(plan.data, month, plan.target)
        of_month = table[table["month"] == month]
        assert dict(zip(of_month["reason"], of_month["rows"], strict=True)) == tally.dropped


def test_training_samples_rides_above_the_limit_and_records_it(plan: TrainingPlan) -> None:
    import mlflow

    two = replace(plan, train=("2021-01", "2021-02"), test="2021-03", most=250)

    result = pipeline.train(replace(two, experiment="few"), on_step=lambda _: None)

    client = mlflow.MlflowClient(plan.tracking_uri)
    logged = client.get_run(result.run_id)
    table = client.load_table(logged.info.experiment_id, "dropped.json", [result.run_id])
    left_out = table[table["reason"] == "more rides than are trained on"]
    assert 200 < int(logged.data.params["rides"]) < 250
    assert left_out["month"].tolist() == ["2021-01", "2021-02"]
    rows = sum(table[table["use"] == "training"]["rows"])
    assert int(logged.data.params["rides"]) + rows == 2 * 250
    assert result.metrics["test"]["rides"] == len(dataset.read(plan.data, "2021-03", "duration"))


def test_the_result_has_the_predictions_for_the_test_month(
    result: TrainingResult, plan: TrainingPlan
) -> None:
    month = dataset.read(plan.data, plan.test, plan.target)

    assert np.array_equal(result.true, month.target)
    assert np.array_equal(result.hour, month.columns.hour)
    assert result.metrics["test"]["rides"] == len(result.predicted) == len(month)


def test_a_copy_is_the_same_model(result: TrainingResult, tmp_path: Path) -> None:
    target = tmp_path / "copied" / "model"

    tracking.copy_model(result.model_location, target)
    tracking.copy_model(result.model_location, target)  # replaces an existing model

    assert loader.load(str(target), sha256=result.model_sha256).version == result.run_id


def test_a_model_can_be_copied_to_the_working_directory(
    result: TrainingResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    tracking.copy_model(result.model_location, Path())

    assert loader.load(str(tmp_path / "here"), sha256=result.model_sha256)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_second_process_waits_for_the_database(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with tracking.locked(tmp_path):
            order.append("second")

    with ThreadPoolExecutor() as pool:
        with tracking.locked(tmp_path):
            waiting = pool.submit(second)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
            order.append("first")
        waiting.result(timeout=10)

    assert order == ["first", "second"]


def test_an_unwritable_output_path_is_not_reported_as_an_error_of_mlflow(
    result: TrainingResult, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FileExistsError):
        tracking.copy_model(result.model_location, tmp_path / "file" / "model")


def test_a_directory_with_other_files_is_left_alone(result: TrainingResult, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(TrackingError, match="left alone"):
        tracking.copy_model(result.model_location, tmp_path)

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_model_of_cost_is_logged_to_s3(plan: TrainingPlan, runs: str, tmp_path: Path) -> None:
    calibrated = replace(plan, calibrate="2021-02", test="2021-03")
    to_s3 = replace(calibrated, target="cost", artifacts=runs, experiment="cost")

    result = pipeline.train(to_s3, on_step=lambda _: None)
    tracking.copy_model(result.model_location, tmp_path / "model")

    assert result.model_location.startswith("s3://models/runs/")
    assert set(result.metrics["test"]) == {
        "rmse_dollars", "mae_dollars", "median_dollars", "close", "rides",
    }  # fmt: skip
    assert loader.load(str(tmp_path / "model"), sha256=result.model_sha256)


TRAINED_ON = TrainingRides("simulated", ("2021-01",), rides=1, longest_miles=1.0)
MODEL = TwoFlavourModel("duration", LinearRegression(), b"", TRAINED_ON)
RECORD = RunRecord({}, {}, {}, Path(), months=(), dropped=())


@pytest.mark.usefixtures("runs")
def test_a_missing_bucket_is_reported(plan: TrainingPlan) -> None:
    lost = Destination(plan.tracking_uri, "lost", "s3://nowhere/runs")

    with pytest.raises(TrackingError, match="MLflow cannot use"):
        tracking.log(MODEL, RECORD, lost)


def test_an_experiment_with_other_artifacts_is_refused(
    result: TrainingResult, plan: TrainingPlan, tmp_path: Path
) -> None:
    moved = Destination(plan.tracking_uri, plan.experiment, str(tmp_path))

    with pytest.raises(TrackingError, match="keeps its artifacts at"):
        tracking.log(MODEL, RECORD, moved)


def test_artifacts_that_the_service_cannot_load_are_refused(plan: TrainingPlan) -> None:
    unreadable = Destination(plan.tracking_uri, "unreadable", "mlflow-artifacts:/")

    with pytest.raises(TrackingError, match="cannot load models from mlflow-artifacts"):
        tracking.log(MODEL, RECORD, unreadable)


def test_bad_data_logs_nothing_to_mlflow(plan: TrainingPlan, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"

    with pytest.raises(DataError):
        pipeline.train(
            replace(plan, test="2021-09", tracking_uri=f"sqlite:///{database}"),
            on_step=lambda _: None,
        )

    assert not database.exists()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run the command in an empty directory; return its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def training(*arguments: str) -> tuple[int, str, str]:
        code = command.main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return training


def test_without_data_rides_are_simulated(
    training: Run, tmp_path: Path, new_database: Callable[[Path], str]
) -> None:
    new_database(tmp_path / "build" / "mlflow.db")
    (tmp_path / "quick.json").write_text(json.dumps({"parameters": QUICK}))

    code, out, err = training(
        "train", "--rides", "300", "--json", "out/summary.json", "--output", "build/model",
        "--parameters", "quick.json", "--no-card",
    )  # fmt: skip

    summary: dict[str, Any] = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert code == 0
    assert json.loads(out) == summary
    assert set(summary) == {"run_id", "model_location", "model_sha256", "metrics"}
    assert set(summary["metrics"]) == {"test", "baseline_linear"}
    assert "fitting a model" in err
    assert loader.load("build/model", sha256=summary["model_sha256"])


def test_months_can_be_simulated_without_training(training: Run, tmp_path: Path) -> None:
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
        (["train", "--test", "February"], "a month must be in the form YYYY-MM"),
        (["train", "--calibrate", "March"], "a month must be in the form YYYY-MM"),
        (["train", "--train", "2021-03..2021-01"], "2021-03 is after 2021-01"),
        (
            ["tune", "--train", "2021-03", "--validate", "next"],
            "a month must be in the form YYYY-MM",
        ),
        (
            ["train", "--data", ".", "--train", "2021-03", "--test", "2021-04"],
            "There are 1 rides to train on; at least 100 are needed.",
        ),
        (
            ["simulate", "--output", "x", "--months", "2021-13"],
            "a month must be in the form YYYY-MM",
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


def test_an_interrupt_prints_one_word_and_leaves_no_month(
    training: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
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
        (["train", "--rides", "0"], "must be an integer from 1 to 10000000"),
        (["train", "--rides", "9" * 400], "must be an integer from 1 to 10000000"),
        (["train", "--seed", "x"], "must be an integer from 0 to 4294967295"),
        (["compare", "--seed", "-1"], "must be an integer from 0 to 4294967295"),
        (["tune", "--seed", "4294967296"], "must be an integer from 0 to 4294967295"),
        (["backtest", "--window", "1.7"], "must be an integer from 1 to 120"),
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


def test_the_calibration_month_must_be_between_training_and_test(plan: TrainingPlan) -> None:
    for month, said in (
        ("2021-01", "2021-01 cannot calibrate a model that is trained on 2021-01"),
        ("2021-02", "2021-02 cannot test a model that is trained on 2021-02"),
    ):
        with pytest.raises(DataError, match=said):
            pipeline.train(replace(plan, calibrate=month), on_step=lambda _: None)


def test_the_test_month_must_be_after_the_training_months(plan: TrainingPlan) -> None:
    for test in ("2021-01", "2020-12"):
        with pytest.raises(DataError, match="cannot test a model that is trained on 2021-01"):
            pipeline.train(replace(plan, test=test), on_step=lambda _: None)
