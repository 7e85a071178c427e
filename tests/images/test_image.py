"""The images, run as Lambda runs them: a read-only root, no privileges, the real runtime client.

All network traffic stays on loopback.  `make image-test` builds the images first.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.aws import server as local_aws
from local.aws.lambda_container import container, docker, invoke
from local.aws.server import Embedded

from ..support import models
from ..support.factories import kinesis_event, payload

ROOT = Path(__file__).parents[2]
ONNX, LAMBDA = "ride-predictions:onnx", "ride-predictions:lambda"
BATCH, WEB = "ride-predictions:batch", "ride-predictions:web"
IMAGES = (ONNX, LAMBDA)
TEST_RUN = {"MODEL_LOCATION": "/opt/model", "TEST_RUN": "True"}
INIT_SECONDS = 10  # the limit of Lambda
STOP_SECONDS = 3

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker, and make image"),
]

either = pytest.mark.parametrize("image", IMAGES)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear model in ONNX: five minutes a mile, and two more."""
    return readable(models.write_onnx(tmp_path_factory.mktemp("line")))


@pytest.fixture(scope="module")
def aws() -> Iterator[Embedded]:
    with local_aws.embedded() as aws:
        yield aws


def readable(directory: Path) -> Path:
    """Let the user of a container read *directory*; returns it."""
    subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
    return directory


def mounted(model: Path) -> tuple[str, str]:
    return ("--volume", f"{model}:/opt/model:ro")


def event(name: str) -> Any:
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


@either
def test_the_event_of_the_course_is_predicted(image: str, line: Path) -> None:
    sent = kinesis_event(payload(256))

    with container(image, {**TEST_RUN, "RUN_ID": "Test123"}, options=mounted(line)) as port:
        answer = invoke(port, sent)

    assert answer == {
        "batchItemFailures": [],
        "predictions": [
            {
                "model": "ride_duration_prediction_model",
                "version": "Test123",
                "prediction": {"ride_duration": pytest.approx(20.3), "ride_id": 256},
                "source": {
                    "event_id": sent["Records"][0]["eventID"],
                    "arrived_at": "2022-06-02T09:18:34.132Z",
                },
            }
        ],
    }


@either
def test_every_sample_event_is_predicted(image: str, line: Path) -> None:
    files = [path for path in (ROOT / "events").glob("*.json") if path.name != "env.json"]

    with container(image, TEST_RUN, options=mounted(line)) as port:
        answers = {path.stem: invoke(port, event(path.stem)) for path in files}

    predictions = {name: len(answer["predictions"]) for name, answer in answers.items()}
    assert predictions == {
        "one-ride": 1,
        "thousand-rides": 1000,
        "bad-among-good": 4,
        "kpl": 5,
        "gzip": 3,
    }
    assert all(answer["batchItemFailures"] == [] for answer in answers.values())


@either
def test_a_thousand_records_reach_the_stream_with_a_model_from_s3(
    image: str, aws: Embedded, line: Path
) -> None:
    kinesis, s3, name = aws.kinesis(), aws.s3(), image.rpartition(":")[2]
    kinesis.create_stream(StreamName=f"predictions-{name}", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(
        StreamName=f"predictions-{name}", WaiterConfig={"Delay": 1}
    )
    for bucket in (f"models-{name}", f"rejects-{name}"):
        s3.create_bucket(Bucket=bucket)
    settings = {
        **aws.environ,
        "MODEL_LOCATION": models.upload(s3, line, f"models-{name}", "1/line"),
        "PREDICTIONS_STREAM_NAME": f"predictions-{name}",
        "REJECTS_LOCATION": f"s3://rejects-{name}/rejects",
        "RETURN_PREDICTIONS": "False",
    }
    settings = {key: value for key, value in settings.items() if value}

    with container(image, settings) as port:
        answers = [invoke(port, event(name)) for name in ("thousand-rides", "bad-among-good")]

    assert answers == [{"batchItemFailures": []}] * 2
    assert len(published(kinesis, f"predictions-{name}")) == 1004
    [kept] = s3.list_objects_v2(Bucket=f"rejects-{name}")["Contents"]
    body = json.loads(s3.get_object(Bucket=f"rejects-{name}", Key=kept["Key"])["Body"].read())
    assert len(body["reasons"]) == 1


def published(kinesis: Any, stream: str) -> list[Any]:
    [shard] = kinesis.list_shards(StreamName=stream)["Shards"]
    place = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records: list[Any] = []
    while batch := (reply := kinesis.get_records(ShardIterator=place))["Records"]:
        records += [json.loads(record["Data"]) for record in batch]
        place = reply["NextShardIterator"]
    return records


def test_the_lambda_image_serves_any_mlflow_model(tmp_path: Path) -> None:
    pipeline = models.dict_pipeline()
    model = readable(models.save_sklearn(tmp_path / "model", pipeline))

    with container(LAMBDA, TEST_RUN, options=mounted(model)) as port:
        [prediction] = invoke(port, kinesis_event(payload(256)))["predictions"]

    [minutes] = pipeline.predict([{"PU_DO": "130_205", "trip_distance": 3.66}])
    assert prediction["prediction"]["ride_duration"] == pytest.approx(minutes)


def test_the_onnx_image_names_the_package_that_another_model_needs(tmp_path: Path) -> None:
    model = readable(models.save_sklearn(tmp_path / "model", models.dict_pipeline()))

    with container(ONNX, TEST_RUN, options=mounted(model)) as port:
        answer = invoke(port, kinesis_event(payload(256)))

    assert answer["errorType"] == "ModelError"
    assert "needs MLflow, which is not installed" in answer["errorMessage"]


@either
@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("/opt/model", "cannot read /opt/model/MLmodel"),
        ("s3://nothing/here", "s3://nothing/here"),
    ],
)
def test_a_missing_model_is_a_clear_error_within_the_init_time(
    image: str, aws: Embedded, location: str, said: str
) -> None:
    settings = {key: value for key, value in aws.environ.items() if value}
    with container(image, {**settings, **TEST_RUN, "MODEL_LOCATION": location}) as port:
        began = time.monotonic()
        answer = invoke(port, kinesis_event(payload(256)))
        took = time.monotonic() - began

    assert answer["errorType"] == "ModelError"
    assert said in answer["errorMessage"]
    assert took < INIT_SECONDS


@either
def test_an_image_starts_within_the_init_time(image: str, line: Path) -> None:
    with container(image, TEST_RUN, options=(*mounted(line), "--cpus", "0.3")) as port:
        began = time.monotonic()
        answer = invoke(port, kinesis_event(payload(256)))
        took = time.monotonic() - began

    assert len(answer["predictions"]) == 1
    assert took < INIT_SECONDS


def test_a_container_that_cannot_start_is_not_left_behind() -> None:
    options = ("--label", "of=this-test", "--device", "/dev/no-such-device")

    with (
        pytest.raises(subprocess.CalledProcessError),
        container(ONNX, TEST_RUN, options=options),
    ):
        pass

    assert docker("ps", "--all", "--quiet", "--filter", "label=of=this-test") == ""


@either
def test_an_image_ends_soon_after_sigterm(image: str, line: Path) -> None:
    options = ("--network", "none", *mounted(line))  # its own entry point listens everywhere
    settings = [part for item in TEST_RUN.items() for part in ("--env", "=".join(item))]
    name = docker("run", "--detach", "--read-only", *options, *settings, image).strip()
    try:
        answer = json.loads(docker("exec", name, "python", "-c", ASK, json.dumps(ONE_RIDE)))
        began = time.monotonic()
        docker("kill", "--signal", "TERM", name)
        docker("wait", name)
        took = time.monotonic() - began
    finally:
        docker("rm", "--force", name)

    assert len(answer["predictions"]) == 1
    assert took < STOP_SECONDS


ONE_RIDE = kinesis_event(payload(256))
ASK = """\
import sys, time, urllib.request
for _ in range(100):
    try:
        url = "http://127.0.0.1:8080/2015-03-31/functions/function/invocations"
        print(urllib.request.urlopen(url, sys.argv[1].encode(), 60).read().decode())
        break
    except OSError:
        time.sleep(0.1)
"""


def test_the_archive_function_stores_records_on_s3(aws: Embedded) -> None:
    aws.s3().create_bucket(Bucket="records")
    settings = {key: value for key, value in aws.environ.items() if value}
    settings["ARCHIVE_LOCATION"] = "s3://records"

    with container(ONNX, settings, handler="archive_function.lambda_handler") as port:
        answer = invoke(port, kinesis_event(payload(256), b"no ride"))

    assert answer == {"batchItemFailures": []}
    [found] = aws.s3().list_objects_v2(Bucket="records")["Contents"]
    body = aws.s3().get_object(Bucket="records", Key=found["Key"])["Body"].read()
    assert len(gzip.decompress(body).splitlines()) == 2


def test_a_window_of_the_archive_is_scored_from_s3_to_s3(aws: Embedded, line: Path) -> None:
    s3 = aws.s3()
    s3.create_bucket(Bucket="archived")
    data = base64.b64encode(payload(256)).decode()
    archived = {"event_id": "1", "arrived_at": "2026-11-24T05:00:00Z", "data": data}
    body = gzip.compress(json.dumps(archived).encode() + b"\n")
    s3.put_object(Bucket="archived", Key="ride_events/2026/11/24/05/1.gz", Body=body)
    settings = {
        **{key: value for key, value in aws.environ.items() if value},
        "MODEL_LOCATION": "/opt/model",
        "ARCHIVE_LOCATION": "s3://archived/ride_events",
        "OUTPUT_LOCATION": "s3://archived/scored",
        "BATCH_WINDOW": "day",
    }

    with container(
        BATCH, settings, options=mounted(line), handler="batch_function.lambda_handler"
    ) as port:
        answer = invoke(port, {"scheduled_time": "2026-11-25T00:20:00Z"})

    assert (answer.get("window"), answer.get("scored")) == ("2026/11/24", 1), answer
    s3.head_object(Bucket="archived", Key="scored/2026/11/24/_SUCCESS")


@pytest.mark.parametrize("image", [*IMAGES, BATCH])
def test_all_files_of_an_image_are_compiled_and_readable(image: str) -> None:
    faults = json.loads(inside(image, FAULTS, user="root"))  # root can list every folder

    assert faults == {"unreadable": [], "not compiled": []}


FAULTS = """\
import os, json
from importlib.util import cache_from_source
found = [(at, at, 0o005) for root in ("/var/task", "/opt/model") for at, _, _ in os.walk(root)]
found += [
    (at, os.path.join(at, name), 0o004) for at, _, _ in found for name in os.listdir(at)
    if os.path.isfile(os.path.join(at, name))
]
code = [file for _, file, _ in found if file.endswith(".py") and "/tests/" not in file]
print(json.dumps({
    "unreadable": [file for _, file, mode in found if os.stat(file).st_mode & mode != mode],
    "not compiled": [file for file in code if not os.path.exists(cache_from_source(file))],
}))
"""


@either
def test_an_image_has_its_packages_and_no_tools(image: str) -> None:
    found = json.loads(inside(image, INSTALLED))

    pyfunc = ["mlflow", "sklearn", "pandas", "skops"] if image == LAMBDA else []
    assert found["modules"] == ["boto3", "onnxruntime", "archive_function", *pyfunc]
    assert found["boto3"].startswith("/var/task/")  # the version of the lock, not of the base image


INSTALLED = """\
import json, sys
from importlib.util import find_spec
sys.path.insert(0, "/var/task")
names = ["boto3", "onnxruntime", "archive_function", "mlflow", "sklearn", "pandas", "skops"]
names += ["pipenv", "training", "local", "tests", "operate", "moto", "pytest", "skl2onnx"]
found = [name for name in names if find_spec(name)]
print(json.dumps({"modules": found, "boto3": find_spec("boto3").origin}))
"""


FOLDERS = {
    ONNX: {"models", "kinesis", "stream", "archive", "decisions"},
    LAMBDA: {"models", "kinesis", "stream", "archive", "decisions"},
    BATCH: {"models", "datasets", "batch"},
    WEB: {"models", "kinesis", "decisions", "web"},
}


@pytest.mark.parametrize("image", FOLDERS)
def test_an_image_holds_only_the_folders_of_model_service_that_it_needs(image: str) -> None:
    assert set(json.loads(inside(image, SERVICE_FOLDERS))) == FOLDERS[image]


SERVICE_FOLDERS = """\
import json, os
[package] = [at for at in ("/var/task/model_service", "/srv/model_service") if os.path.isdir(at)]
names = [entry.name for entry in os.scandir(package) if entry.is_dir()]
print(json.dumps([name for name in names if name != "__pycache__"]))
"""


@pytest.fixture(scope="module")
def bills() -> Path:
    """The directory that `make sbom` writes to."""
    done = made("sbom")
    assert done.returncode == 0, done.stderr
    return ROOT / "build/sbom"


@either
def test_the_bill_of_materials_lists_the_installed_packages(image: str, bills: Path) -> None:
    bill = json.loads((bills / f"{image.rpartition(':')[2]}.json").read_text())
    components = {part["name"]: part["version"] for part in bill["components"]}
    assert json.loads(inside(image, DISTRIBUTIONS)) == components


@either
def test_the_packages_of_the_base_system_are_listed(image: str, bills: Path) -> None:
    listed = json.loads((bills / f"{image.rpartition(':')[2]}-system.json").read_text())
    names = [one["name"] for one in listed["components"]]
    assert {"bash", "ca-certificates"} <= set(names)


DISTRIBUTIONS = """\
import json, re
from importlib.metadata import distributions
print(json.dumps({
    re.sub("[-_.]+", "-", found.name).lower(): found.version
    for found in distributions(path=["/var/task"])
}))
"""


def inside(image: str, script: str, user: str = "993:990") -> str:
    options = ("--rm", "--network", "none", "--user", user, "--entrypoint", "python")
    return docker("run", *options, image, "-c", script)


@either
def test_an_image_is_labelled_with_version_and_revision(image: str) -> None:
    [found] = json.loads(docker("image", "inspect", image))

    labels = found["Config"]["Labels"]
    revision = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    assert labels["org.opencontainers.image.version"] == "0.1.0"
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") == revision
    assert found["Config"]["Cmd"] == ["lambda_function.lambda_handler"]


def test_a_model_is_baked_in_and_invoked_by_sam() -> None:
    answer = made("invoke", "EVENT=events/one-ride.json")

    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout.splitlines()[-1])
    [prediction] = said["predictions"]
    assert prediction["prediction"]["ride_id"] == 256
    assert 1 < prediction["prediction"]["ride_duration"] < 60


def test_make_invoke_fails_if_the_function_fails(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"Records": "none"}')

    answer = made("invoke", f"EVENT={tmp_path / 'event.json'}")

    assert answer.returncode != 0
    assert json.loads(answer.stdout.splitlines()[-1])["errorType"] == "EventError"
    assert "The function failed with EventError" in answer.stderr


def test_a_missing_model_cannot_be_baked_in() -> None:
    answer = made("image", "MODEL=build/no-model")

    said = answer.stdout + answer.stderr
    assert answer.returncode != 0
    assert "There is no MLflow model in build/no-model: run make model" in said


def made(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
