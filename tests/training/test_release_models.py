"""Promotion, release and drift of trained models, through the command line and S3."""

from __future__ import annotations

import errno
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
import yaml

from local.aws.server import Embedded
from model_service.models import loader
from model_service.settings import Settings
from tests.support.training_factories import FEW_BINS, QUICK, QUICK_SPREAD, write_yellow_month
from training import __main__ as command
from training import drift, pipeline
from training.data import simulation
from training.pipeline import TrainingResult
from training.plan import TrainingPlan
from training.registry import model_registry, release
from training.registry.model_registry import ModelVersion
from training.registry.release import ReleaseError
from training.reports import model_card

from ..support import models as support
from ..support.operate_fakes import client_error

MONTHS = ["2021-01", "2021-02", "2021-03"]


@pytest.fixture(scope="module")
def aws(module_aws: Embedded) -> Iterator[Embedded]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in module_aws.environ.items():
            patch.setenv(name, value)
        for bucket in ("models", "production"):
            module_aws.s3().create_bucket(Bucket=bucket)
        yield module_aws


@pytest.fixture(autouse=True)
def to_the_emulator(aws: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables again for each test, because `tests/conftest.py` clears them."""
    for name, value in aws.environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[Path], str]) -> Path:
    place = tmp_path_factory.mktemp("release")
    simulation.write(place / "rides", MONTHS[:2], 500, seed=0)
    simulation.write(place / "rides", MONTHS[2:], 2_500, seed=0)
    new_database(place / "mlflow.db")
    return place


@pytest.fixture(scope="module")
def models(place: Path, aws: Embedded) -> dict[str, TrainingResult]:
    """Return a poor model and a good one."""
    good = TrainingPlan(
        data=place / "rides",
        train=("2021-01", "2021-02"),
        test="2021-03",
        target="duration",
        tracking_uri=f"sqlite:///{place / 'mlflow.db'}",
        artifacts="s3://models/runs",
        experiment="rides",
        parameters={**QUICK, **FEW_BINS},
        spread_parameters=QUICK_SPREAD,
    )
    plans = {"poor": replace(good, train=("2021-01",), most=150), "good": good}
    return {name: pipeline.train(plan, on_step=lambda _: None) for name, plan in plans.items()}


def _where(place: Path) -> list[str]:
    return ["--tracking-uri", f"sqlite:///{place / 'mlflow.db'}"]


Capture = pytest.CaptureFixture[str]
Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; return its exit code, the JSON that it printed, and its messages."""

    def run(name: str, *arguments: str) -> tuple[int, Any, str]:
        code = command.main([name, *_where(place), *arguments])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out.startswith("{") else out, err

    return run


@pytest.fixture
def promote(run: Run, place: Path, models: dict[str, TrainingResult]) -> Run:
    def promote(name: str, *arguments: str) -> tuple[int, Any, str]:
        return run(
            "promote", "--data", str(place / "rides"), "--experiment", "rides",
            "--run", models[name].run_id, *arguments,
        )  # fmt: skip

    return promote


def test_a_model_goes_from_candidate_to_champion_and_back(
    run: Run, promote: Run, models: dict[str, TrainingResult]
) -> None:
    code, found, err = promote("poor")
    assert (code, found["champion"], found["reasons"]) == (0, None, [])
    assert 0.75 <= found["coverage"]["candidate"] <= 0.85
    assert found["ratio_to_linear"] < 1
    assert "is the first champion." in err

    code, _, err = run("rollback")
    assert (code, "is the first champion" in err) == (2, True)

    code, found, err = promote("good")
    assert (code, found["promoted"]) == (0, True)
    assert found["gain"]["rmse"]["confidence"] >= 0.95
    assert found["rmse"]["candidate"] < found["rmse"]["champion"]

    code, found, err = promote("poor")
    assert (code, found["promoted"]) == (1, False)
    assert "it does not beat the champion by more than noise" in err

    code, found, err = run("release")
    assert (code, found["models"][0]["run_id"]) == (0, models["good"].run_id)

    code, found, err = run("rollback")
    assert (code, err.count("is the champion of ride-duration again")) == (0, 1)
    code, found, err = run("release")
    assert found["models"][0]["model_sha256"] == models["poor"].model_sha256

    code, _, err = promote("good")
    assert (code, "it was rolled back at" in err) == (1, True)


def test_a_training_month_cannot_be_the_test_month_of_a_promotion(promote: Run) -> None:
    code, _, err = promote("good", "--month", "2021-02")

    assert code == 1
    assert "2021-02 cannot judge: the candidate was trained on 2021-02" in err


def test_a_model_is_compared_on_the_kind_of_taxis_that_it_was_trained_on(
    promote: Run, place: Path, models: dict[str, TrainingResult]
) -> None:
    write_yellow_month(place / "rides", "2021-03")

    code, out, err = promote("good", "--kind", "yellow")

    run_id = models["good"].run_id
    assert (code, out) == (2, "")
    assert err == f"The run {run_id} was trained on green taxis: use --kind green.\n"


def test_drift_reads_yellow_months(
    models: dict[str, TrainingResult],
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_yellow_month(place / "rides", "2021-03").rename(
        tmp_path / "yellow_tripdata_2021-03.parquet"
    )
    location = models["good"].model_location

    code = command.main(["drift", "--model", location, "--data", str(tmp_path), "--kind", "yellow"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["rides"] > 2_000


def test_the_service_loads_the_released_model(
    run: Run, promote: Run, place: Path, models: dict[str, TrainingResult]
) -> None:
    promote("poor")

    pinned = place / "models.yaml"
    pinned.write_text("# Why\nCostModel: 1/abc\nDurationModel: 1/old\n")

    _, found, _ = run("release", "--output", str(pinned))

    parameters, [released] = found["parameters"], found["models"]
    location = f"s3://{parameters['ModelBucket']}/{parameters['DurationModel']}"
    assert pinned.read_text().startswith("# Why\n")
    assert yaml.safe_load(pinned.read_text()) == {
        "CostModel": "1/abc",
        "DurationModel": parameters["DurationModel"],
        "DurationModelSha256": parameters["DurationModelSha256"],
    }
    assert location == released["model_location"] == models["poor"].model_location
    loaded = loader.load(location, sha256=parameters["DurationModelSha256"])
    assert loaded.version == released["run_id"]


def test_the_copy_is_at_the_path_of_its_run_id(run: Run, promote: Run) -> None:
    promote("poor")

    _, found, _ = run("release", "--bucket", "production")

    of = found["models"][0]["environment"]
    older = f"{of['MLFLOW_EXPERIMENT_ID']}/{of['RUN_ID']}/artifacts/model"
    assert found["parameters"]["DurationModel"] == older
    assert (
        loader.load(f"s3://production/{older}", sha256=of["MODEL_SHA256"]).version == of["RUN_ID"]
    )
    assert drift.read_baseline(f"s3://production/{older}").target == "duration"


def test_overrides_are_one_line(run: Run, promote: Run) -> None:
    promote("poor")

    code, line, _ = run("release", "--format", "overrides")

    assert code == 0
    assert re.fullmatch(
        r"ModelBucket=models DurationModel=\S+ DurationModelSha256=[0-9a-f]{64}\n", line
    )


def test_an_unknown_alias_is_refused(run: Run, models: dict[str, TrainingResult]) -> None:
    code, out, err = run("release", "--alias", "heir")

    assert (code, out) == (2, "")
    assert "No version of ride-duration has the alias heir: promote one." in err


def test_a_version_is_released_by_its_number(run: Run, promote: Run) -> None:
    promote("poor")

    released = [run("release", *which)[1] for which in ([], ["--version", "1"])]
    unknown = run("release", "--version", "99")
    other = run("release", "--name", "other-rides", "--version", "1")
    two = run("release", "--version", "1", "--target", "duration", "cost")

    assert released[0] == released[1]
    assert released[0]["models"][0]["version"] == "1"
    assert [code for code, _, _ in (unknown, other, two)] == [2, 2, 2]
    assert "version 99" in unknown[2].lower() or "version=99" in unknown[2].lower()
    assert "other-rides" in other[2]
    assert "name one --target" in two[2]


def test_an_interrupted_copy_is_completed(aws: Embedded, models: dict[str, TrainingResult]) -> None:
    location, s3 = models["good"].model_location, boto3.client("s3")
    graph = s3.get_object(Bucket="models", Key=key(location, "model.onnx"))["Body"].read()
    s3.put_object(Bucket="production", Key="half/model.onnx", Body=graph)

    release.copy(location, "production", "half")

    assert loader.load("s3://production/half", sha256=models["good"].model_sha256)


def test_the_description_of_a_model_is_written_last(tmp_path: Path) -> None:
    for name in ("MLmodel", "model.onnx", "python_env.yaml", "extra_files/baseline.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    s3: Any = RecordingS3()

    release.upload(s3, tmp_path, "production", "model")

    assert s3.written[-1] == "model/MLmodel"
    assert set(s3.written[:-1]) == {
        "model/model.onnx",
        "model/python_env.yaml",
        "model/extra_files/baseline.json",
    }


def test_the_files_of_another_model_are_left_alone(
    aws: Embedded, models: dict[str, TrainingResult]
) -> None:
    release.copy(models["good"].model_location, "production", "taken")

    with pytest.raises(ReleaseError, match="belongs to another model; it was left alone"):
        release.copy(models["poor"].model_location, "production", "taken")

    assert loader.load("s3://production/taken", sha256=models["good"].model_sha256)


def test_two_models_of_one_run_are_released_under_their_model_ids(
    aws: Embedded, tmp_path: Path
) -> None:
    """The run id cannot tell their predictions apart."""
    released = []
    for model_id, constant in (("m-1", "5.0"), ("m-2", "6.0")):
        path = support.write_onnx(
            tmp_path / model_id,
            support.LINE.replace("5.0", constant),
            model_id=model_id,
            metadata={"target": "duration", "version": "model_id"},
        )
        location = support.upload(aws.s3(), path, "models", f"7/models/{model_id}/artifacts")
        registered = ModelVersion(
            "ride-duration", model_id, support.RUN_ID, location, sha256="", after="", rolled_back=""
        )
        released.append(release.release(registered, "7", "duration", "production"))

    assert [one.environment["RUN_ID"] for one in released] == ["m-1", "m-2"]
    for one in released:
        settings = Settings.from_env({**one.environment, "TEST_RUN": "True"})
        served = loader.load(settings.model_path, sha256=settings.model_sha256)
        assert served.version == settings.run_id == one.environment["RUN_ID"]
        assert one.parameters["DurationModel"] == f"7/{served.version}/artifacts/model"


def test_models_of_one_run_are_released_under_their_model_ids_without_metadata_too(
    aws: Embedded, tmp_path: Path
) -> None:
    path = support.write_onnx(tmp_path, support.LINE, model_id="m-3")
    location = support.upload(aws.s3(), path, "models", "7/models/m-3/artifacts")
    registered = ModelVersion(
        "ride-duration", "1", support.RUN_ID, location, sha256="", after="", rolled_back=""
    )

    released = release.release(registered, "7", "duration", "production", models=2)

    assert released.environment["RUN_ID"] == "m-3"
    assert released.parameters["DurationModel"] == "7/m-3/artifacts/model"
    assert released.shared_version == support.RUN_ID


def test_a_run_with_several_models_is_released_by_the_id_of_the_model(
    run: Run, promote: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote("poor")
    monkeypatch.setattr(model_registry, "models_of", lambda client, run_id: ["m-1", "m-2"])

    code, found, err = run("release", "--bucket", "production")

    [released], of = found["models"], found["models"][0]["environment"]
    assert code == 0
    assert of["RUN_ID"].startswith("m-")
    copied = f"s3://production/{of['MLFLOW_EXPERIMENT_ID']}/{of['RUN_ID']}/artifacts/model"
    assert released["model_location"] == copied
    assert released["shared_version"] == released["run_id"] == loader.load(copied).version
    assert loader.load(copied, run_id=of["RUN_ID"]).version == of["RUN_ID"]
    said = "has 2 models. With MODEL_LOCATION, the predictions of each have the version {RUN} "
    assert said.replace("{RUN} ", released["run_id"]) in err
    assert f"set RUN_ID={of['RUN_ID']}" in err


class RecordingS3:
    """A client that records the keys in the order in which they are written."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str) -> dict[str, str]:
        self.written.append(Key)
        return {"ETag": '"1"'}


class BusyS3:
    """A client for a bucket where another process writes the same file during *busy* attempts."""

    def __init__(self, busy: int, *, theirs: bytes | None = None) -> None:
        self.busy = busy
        self.there = theirs

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str) -> dict[str, str]:
        if self.busy:
            self.busy -= 1
            raise client_error("ConditionalRequestConflict", 409)
        if self.there is not None:
            raise client_error("PreconditionFailed", 412)
        self.there = Body
        return {"ETag": '"1"'}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        if self.there == b"secret":
            raise client_error("AccessDenied", 403)
        return {"Body": io.BytesIO(self.there or b"")}


def model(folder: Path) -> Path:
    """Return a folder with one file of a model."""
    (folder / "MLmodel").write_bytes(b"ours")
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "PAUSE_SECONDS", 0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("theirs", [None, b"ours"], ids=["gave up", "wrote the same"])
def test_a_file_that_another_process_is_writing_is_retried(
    theirs: bytes | None, tmp_path: Path
) -> None:
    s3: Any = BusyS3(release.ATTEMPTS - 1, theirs=theirs)

    release.upload(s3, model(tmp_path), "production", "model")

    assert s3.there == b"ours"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("busy", "theirs", "said"),
    [
        (
            1,
            b"another",
            "s3://production/model/MLmodel belongs to another model; it was left alone",
        ),
        (1, b"secret", "cannot write s3://production/model/MLmodel: .*AccessDenied"),
        (99, None, "cannot write s3://production/model/MLmodel: .*ConditionalRequestConflict"),
    ],
)
def test_a_file_of_another_process_with_other_contents_is_left_alone(
    busy: int, theirs: bytes | None, said: str, tmp_path: Path
) -> None:
    s3: Any = BusyS3(busy, theirs=theirs)

    with pytest.raises(ReleaseError, match=said):
        release.upload(s3, model(tmp_path), "production", "model")

    assert s3.there == theirs


def test_the_file_of_pinned_models_is_replaced_atomically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = tmp_path / "models.yaml"
    pins.write_text("DurationModel: 1/old\n")
    pins.chmod(0o640)
    seen: list[str] = []

    def full(path: Path, text: str) -> int:
        path.write_bytes(text[:9].encode())
        seen.append(pins.read_text())
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            release.write(pins, "DurationModel: 1/new\n")
    assert seen == [pins.read_text()] == ["DurationModel: 1/old\n"]

    release.write(pins, "DurationModel: 1/new\n")
    assert pins.read_text() == "DurationModel: 1/new\n"
    assert pins.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [pins]


@pytest.mark.parametrize("text", ["- 1/old\n", "DurationModel: [1/old\n"])
def test_an_output_file_without_parameters_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError, match="does not hold parameters"):
        release.pinned(text, {"DurationModel": "1/new"})


def test_a_missing_bucket_is_reported(aws: Embedded, models: dict[str, TrainingResult]) -> None:
    with pytest.raises(ReleaseError, match="cannot write s3://nowhere/"):
        release.copy(models["good"].model_location, "nowhere", "model")


def key(location: str, name: str) -> str:
    return f"{location.removeprefix('s3://models/')}/{name}"


def test_drift_needs_only_the_model_and_rides(
    models: dict[str, TrainingResult], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    location = models["good"].model_location

    code = command.main(["drift", "--model", location, "--data", str(place / "rides")])

    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {shift["level"] for shift in found["shifts"]} <= {"steady", "moved"}
    assert found["errors"] == found["errors_when_trained"]  # the month given is the test month
    assert (found["errors"]["month"], found["slipped"]) == ("2021-03", [])
    low, high = found["mean_of_an_hour"]
    assert low < found["mean"] < high


def test_drift_of_a_model_whose_error_has_grown_sets_the_exit_code(
    models: dict[str, TrainingResult], place: Path, tmp_path: Path, capsys: Capture
) -> None:
    month = tmp_path / "green_tripdata_2021-03.parquet"
    longer = pl.col("lpep_dropoff_datetime") + pl.duration(minutes=4)
    rides = pl.read_parquet(place / "rides" / month.name)
    rides.with_columns(longer.alias("lpep_dropoff_datetime")).write_parquet(month)
    location = models["good"].model_location

    code = command.main(["drift", "--model", location, "--data", str(tmp_path)])

    out, err = capsys.readouterr()
    found = json.loads(out)
    assert code == 1
    assert {shift["level"] for shift in found["shifts"]} <= {"steady", "moved"}
    assert any("The bias is -" in reason for reason in found["slipped"])
    assert any(reason.startswith("RMSE is ") for reason in found["slipped"])
    assert "test month, 2021-03" in err


def test_drift_of_events_sets_the_exit_code(
    models: dict[str, TrainingResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ride = {"PULocationID": 264, "DOLocationID": 264, "trip_distance": 90.5}
    (tmp_path / "rides").write_text(
        "".join(json.dumps({"ride": ride, "ride_id": i}) + "\n" for i in range(500)) + "nonsense\n"
    )

    location = models["good"].model_location
    code = command.main(["drift", "--model", location, "--events", str(tmp_path / "rides")])

    out, err = capsys.readouterr()
    assert (code, json.loads(out)["rides"]) == (1, 500)
    assert "1 ride events were rejected." in err


@pytest.mark.parametrize("written", ["parquet", "json"])
def test_drift_of_events_with_true_values_judges_the_errors(
    written: str,
    models: dict[str, TrainingResult],
    place: Path,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    rides = pl.read_parquet(place / "rides" / "green_tripdata_2021-03.parquet")
    path = tmp_path / "rides"
    if written == "json":
        rides.write_ndjson(path)
    else:
        rides.write_parquet(path)
    location = models["good"].model_location

    codes = [
        command.main(["drift", "--model", location, *source])
        for source in (["--data", str(place / "rides")], ["--events", str(path)])
    ]

    month, events = _both(capsys.readouterr().out)
    assert codes == [0, 0]
    assert events["errors"]["month"] == "files"
    assert events["errors"]["rides"] == month["errors"]["rides"] > 2_000
    for name in ("rmse", "mae", "bias", "coverage"):
        assert events["errors"][name] == pytest.approx(month["errors"][name])


def test_drift_of_events_whose_error_has_grown_sets_the_exit_code(
    models: dict[str, TrainingResult], place: Path, tmp_path: Path, capsys: Capture
) -> None:
    longer = pl.col("lpep_dropoff_datetime") + pl.duration(minutes=4)
    rides = pl.read_parquet(place / "rides" / "green_tripdata_2021-03.parquet")
    rides.with_columns(longer.alias("lpep_dropoff_datetime")).write_csv(tmp_path / "rides")
    location = models["good"].model_location

    code = command.main(["drift", "--model", location, "--events", str(tmp_path / "rides")])

    assert code == 1
    assert "The bias is -" in capsys.readouterr().err


def _both(out: str) -> list[dict[str, Any]]:
    """Return the two JSON documents in *out*."""
    first, end = json.JSONDecoder().raw_decode(out)
    return [first, json.loads(out[end:])]


@pytest.fixture
def made(models: dict[str, TrainingResult], place: Path, tmp_path: Path) -> Path:
    """Return the folder with the card of the good model, downloaded from its run."""
    from training.registry import tracking

    with tracking.client(f"sqlite:///{place / 'mlflow.db'}") as client:
        client.download_artifacts(models["good"].run_id, "card", str(tmp_path))
    return tmp_path / "card"


def test_a_card_is_complete_and_names_its_model(
    made: Path, models: dict[str, TrainingResult]
) -> None:
    text = (made / model_card.TEXT).read_text()
    files = {str(path.relative_to(made)) for path in made.rglob("*")}

    assert model_card.gaps(text, files) == []
    assert models["good"].model_sha256 in text
    assert f"{models['good'].metrics['test']['rmse_minutes']:.2f} minutes" in text
    assert "| median | p90 | within 2 minutes or 20% | bias |" in text
    assert f"{QUICK['min_samples_leaf']} or more rides with similar zones and times" in " ".join(
        text.split()
    )
    assert "$" not in text


def test_the_gaps_of_a_card_are_named(made: Path) -> None:
    text = (made / model_card.TEXT).read_text()
    files = {str(path.relative_to(made)) for path in made.rglob("*")}
    hollow = re.sub(r"(## Limits\n).*?(?=\n## )", r"\1", text, flags=re.DOTALL)

    assert model_card.gaps(hollow, files) == ["section “Limits” is empty"]
    assert model_card.gaps(text.replace("## Origin", "## Source"), files) == [
        "section “Origin” is missing"
    ]
    assert model_card.gaps(text, files - {"pictures/importance.svg", "card.html"}) == [
        "plot pictures/importance.svg is missing",
        "card.html is missing",
    ]


def test_the_page_loads_no_other_file(made: Path) -> None:
    asked: list[str] = []

    class Page(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            asked.extend(value or "" for name, value in attrs if name in ("src", "href"))

    page = (made / model_card.PAGE).read_text()
    Page().feed(page)

    assert page.count("<svg") == len(list((made / "pictures").iterdir())) >= len(model_card.PLOTS)
    assert all(link.startswith("#") for link in asked)


def test_a_run_has_metrics_of_every_hour_and_its_origin(
    models: dict[str, TrainingResult], place: Path
) -> None:
    from training.registry import tracking

    with tracking.client(f"sqlite:///{place / 'mlflow.db'}") as client:
        run = client.get_run(models["good"].run_id)
        hours = client.get_metric_history(run.info.run_id, "hour/rmse_minutes")

    assert {metric.step for metric in hours} >= set(range(6, 23))
    assert "month/2021-03/mae_minutes" in run.data.metrics
    assert re.fullmatch("[0-9a-f]{64}", run.data.tags["data_sha256"])
    assert run.data.tags["python"].startswith("3.13")
    used = {(of.dataset.name, of.tags[0].value) for of in run.inputs.dataset_inputs}
    assert used == {
        ("green_tripdata_2021-01.parquet", "training"),
        ("green_tripdata_2021-02.parquet", "training"),
        ("green_tripdata_2021-03.parquet", "test"),
    }
