"""A deployment starts only if all its models were copied and can be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from local.aws.server import REGION, Embedded
from model_service.models import loader
from operate import models as tool
from operate import replay, smoke

from ..support import models

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).parents[2]
TRAINED, PREFIX = "trained", "models/m-1/artifacts"
LOCATION = f"s3://{TRAINED}/{PREFIX}"


@pytest.fixture
def s3(module_aws: Embedded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Client]:
    """A client for two buckets: one with a trained model, and an empty one for production."""
    for name, value in module_aws.environ.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    client = boto3.client("s3")
    for bucket in (TRAINED, "production"):
        client.create_bucket(Bucket=bucket)
    models.upload(client, models.write_onnx(tmp_path / "line"), TRAINED, PREFIX)
    yield client
    for bucket in (TRAINED, "production"):
        for key in keys(client, bucket):
            client.delete_object(Bucket=bucket, Key=key)
        client.delete_bucket(Bucket=bucket)


def keys(s3: S3Client, bucket: str) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def given(sha256: str = "", bucket: str = "production") -> list[str]:
    """Return the parameters that `sam deploy` receives."""
    digest = sha256 or loader.load(LOCATION).sha256
    return [
        f"ModelBucket={bucket}",
        f"DurationModel={PREFIX}",
        f"DurationModelSha256={digest}",
        "Release=1",
    ]


def test_a_model_of_another_target_is_refused(
    s3: S3Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_cost = models.write_onnx(tmp_path / "cost", metadata={"target": "cost"})
    models.upload(s3, of_cost, TRAINED, PREFIX)

    assert tool.main(["--from", f"s3://{TRAINED}", *given()]) == 1
    assert "predicts a ride's cost" in capsys.readouterr().err


def test_a_model_is_copied_and_loaded_from_the_deployment_bucket(
    s3: S3Client, capsys: pytest.CaptureFixture[str]
) -> None:
    code = tool.main(["--from", f"s3://{TRAINED}", *given()])

    assert code == 0
    assert keys(s3, "production") == keys(s3, TRAINED)
    assert loader.load(f"s3://production/{PREFIX}").sha256 == loader.load(LOCATION).sha256
    assert f"was copied from s3://{TRAINED}" in capsys.readouterr().out


def test_an_existing_model_is_not_copied_again(
    s3: S3Client, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--from", f"s3://{TRAINED}", *given()]
    tool.main(arguments)
    before = s3.list_objects_v2(Bucket="production")["Contents"]
    capsys.readouterr()

    assert tool.main(arguments) == 0
    assert s3.list_objects_v2(Bucket="production")["Contents"] == before
    assert "is already there" in capsys.readouterr().out


def test_an_existing_model_is_loaded_without_a_source_bucket(s3: S3Client) -> None:
    assert tool.main(given(bucket=TRAINED)) == 0


def test_an_interrupted_copy_starts_again(s3: S3Client) -> None:
    s3.put_object(Bucket="production", Key=f"{PREFIX}/model.onnx", Body=b"half")

    assert tool.main(["--from", f"s3://{TRAINED}", *given()]) == 0


def test_mlmodel_is_copied_last(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(s3, "copy", lambda source, bucket, key: copied.append(key))
    one = tool.PinnedModel("DurationModel", PREFIX, "")

    tool.copy(s3, one, TRAINED, "production")

    assert len(copied) > 1
    assert copied[-1] == f"{PREFIX}/MLmodel"


def test_a_model_with_another_sha256_is_refused(
    s3: S3Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(["--from", f"s3://{TRAINED}", *given(64 * "0")]) == 1
    assert "is not the expected one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ModelBucket=production"], "without a model"),
        (["ModelBucket=production", "CostModel=1/cost"], "CostModelSha256 is missing"),
        (["nonsense"], "nonsense is neither"),
        (["file://no/such.yaml"], "no/such.yaml cannot be read"),
        (
            ["ModelBucket=production", "CostModel=no/such", "CostModelSha256=1"],
            f"CostModel: there is no model at s3://{TRAINED}/no/such",
        ),
        (["ModelBucket=none", "CostModel=1", "CostModelSha256=1"], "s3://none cannot be listed"),
    ],
)
def test_bad_input_prints_one_line_and_exits_with_2(
    s3: S3Client, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert tool.main(["--from", f"s3://{TRAINED}", *arguments]) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_missing_profile_prints_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "none-of-this-name")

    codes = [tool.main(given("1")), replay.main(["s3://rejects/x"]), smoke.main(["--stack", "x"])]

    assert codes == [2, 2, 2]
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["models", "replay", "smoke"]
    assert all("AWS cannot be reached" in line for line in lines)


def test_nothing_is_copied_if_the_image_contains_the_models(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tool.main(["BakedModel=build/model", "Release=1"]) == 0
    assert "the image contains the models" in capsys.readouterr().out


def test_the_later_value_counts_and_files_may_be_json(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text('{"DurationModel": "1/a", "DurationModelSha256": "0"}')

    found = tool.parameters([f"file://{tmp_path}/models.yaml", "DurationModel=1/b"])

    assert found == {"DurationModel": "1/b", "DurationModelSha256": "0"}


def test_models_yaml_of_the_project_can_be_read() -> None:
    assert isinstance(tool.parameters([f"file://{ROOT}/models.yaml"]), dict)
