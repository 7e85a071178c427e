from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local.aws.server import Embedded
from model_service import storage
from model_service.errors import ModelError, OutputError
from model_service.models import loader as model
from model_service.storage import plain_name

from ..support import models

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = models.MLFLOW_IMPORT

BUCKET = "models"


@pytest.fixture
def operations(
    module_aws: Embedded, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """The names of all S3 operations that the test makes."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("copies")))
    names: list[str] = []
    for name, value in module_aws.environ.items():
        monkeypatch.setenv(name, value)
    session = boto3.session.Session()
    session.events.register("before-call.s3", lambda model, **_: names.append(model.name))
    monkeypatch.setattr(boto3.session, "Session", lambda: session)
    return names


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory of two files, one in a subdirectory."""
    (tmp_path / "extra").mkdir()
    (tmp_path / "MLmodel").write_bytes(b"flavors: {}\n")
    (tmp_path / "extra" / "weights").write_bytes(bytes(range(256)))
    return tmp_path


@pytest.mark.usefixtures("operations")
@pytest.mark.parametrize("name", ["MLmodel", "extra/weights"])
def test_directory_and_prefix_have_the_same_bytes(s3: S3Client, directory: Path, name: str) -> None:
    location = models.upload(s3, directory, BUCKET, "same")

    from_disk, from_s3 = storage.at(str(directory)).read(name), storage.at(location).read(name)

    assert from_disk == from_s3 == (directory / name).read_bytes()


def test_a_private_copy_has_the_same_files_and_no_other_reader(directory: Path) -> None:
    copy = storage.private_copy(_files(directory))

    assert _files(copy) == _files(directory)
    assert copy.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("operations")
@pytest.mark.parametrize("end", ["", "/"])
def test_model_may_be_at_the_root_of_a_bucket(s3: S3Client, directory: Path, end: str) -> None:
    s3.create_bucket(Bucket="of-its-own")
    for name, data in _files(directory).items():
        s3.put_object(Bucket="of-its-own", Key=name, Body=data)

    files = storage.at(f"s3://of-its-own{end}")

    assert files.read("MLmodel") == b"flavors: {}\n"
    assert set(files.names()) == set(_files(directory))


def test_prefix_that_begins_alike_is_not_listed(
    s3: S3Client, operations: list[str], directory: Path
) -> None:
    location = models.upload(s3, directory, BUCKET, "v1")
    models.upload(s3, directory, BUCKET, "v10")

    names = storage.at(location).names()

    assert set(names) == set(_files(directory))
    assert "ListObjectsV2" in operations


def test_onnx_model_needs_only_get_object(
    s3: S3Client, operations: list[str], tmp_path: Path
) -> None:
    location = models.upload(s3, models.write_onnx(tmp_path / "model"), BUCKET, "onnx")

    loaded = model.load(location)

    assert loaded.flavour == "onnx"
    assert operations == ["GetObject", "GetObject"]


def test_skops_model_needs_only_get_object(
    s3: S3Client, operations: list[str], tmp_path: Path
) -> None:
    saved = models.save_sklearn(tmp_path / "model", models.dict_pipeline())
    location = models.upload(s3, saved, BUCKET, "skops")

    loaded = model.load(location)

    assert loaded.flavour == "sklearn"
    assert set(operations) == {"GetObject"}


def test_model_with_unknown_file_names_is_listed(
    s3: S3Client, operations: list[str], tmp_path: Path
) -> None:
    saved = models.save_python(tmp_path / "model", lambda rides: [7.0] * len(rides))
    location = models.upload(s3, saved, BUCKET, "python")

    loaded = model.load(location, allow_pickled=True)

    assert loaded.flavour == "python_function"
    assert set(operations) == {"GetObject", "ListObjectsV2"}


@pytest.mark.usefixtures("operations")
def test_code_of_a_model_is_copied_too(
    s3: S3Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # MLflow puts the code there
    saved = models.save_with_code(tmp_path)
    location = models.upload(s3, saved, BUCKET, "code")

    loaded = model.load(location, allow_pickled=True)

    assert loaded.predict(models.rides(3)).values.tolist() == [7.0, 7.0, 7.0]


def test_error_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*/model.onnx: No such file or directory$"):
        storage.at(str(tmp_path)).read("model.onnx")


def test_error_names_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*/nowhere/MLmodel: No such file"):
        model.load(str(tmp_path / "nowhere"))


@pytest.mark.usefixtures("operations")
@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (f"s3://{BUCKET}/nowhere", f"cannot read s3://{BUCKET}/nowhere/MLmodel: .*NoSuchKey"),
        ("s3://no-bucket/model", "cannot read s3://no-bucket/model/MLmodel: .*NoSuchBucket"),
        (
            "s3://No_Bucket!/model",
            "cannot read s3://No_Bucket!/model/MLmodel: [^\n]*Invalid bucket",
        ),
        ("s3:///model", "cannot read s3:///model/MLmodel: [^\n]*Invalid bucket"),
    ],
)
def test_error_names_a_missing_object(location: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        model.load(location)


@pytest.mark.usefixtures("operations")
def test_error_names_a_bucket_that_cannot_be_listed() -> None:
    with pytest.raises(ModelError, match=r"cannot list s3://no-bucket/model/: .*NoSuchBucket"):
        storage.at("s3://no-bucket/model").names()


@pytest.mark.usefixtures("operations")
def test_missing_credentials_are_a_model_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(ModelError, match=f"cannot read s3://{BUCKET}/m/MLmodel: .*credentials"):
        model.load(f"s3://{BUCKET}/m")


@pytest.mark.parametrize(
    ("alias", "command"),
    [
        ("models:/ride-duration@champion", "release --target duration --alias champion"),
        ("models:/ride-cost@next", "release --target cost --alias next"),
        ("models:/ride-cost/3", "release --target cost --version 3"),
        ("models:/ride-duration", "release --target duration --alias champion"),
        (
            "models:/my model@two words",
            "release --target duration --name 'my model' --alias 'two words'",
        ),
        ("models:/rides/12", "release --target duration --name rides --version 12"),
        (
            "runs:/e1efc53e9bd149078b0c12aeaa6365df/model",
            "promote --run e1efc53e9bd149078b0c12aeaa6365df && python -m training release",
        ),
        ("file:///tmp/model", "release --bucket BUCKET"),
        ("mlflow-artifacts:/1/models/m-7/artifacts", "release --bucket BUCKET"),
        ("https://example.org/model", "release --bucket BUCKET"),
    ],
)
def test_alias_is_refused_with_the_command_that_prints_a_location(alias: str, command: str) -> None:
    """A function must not follow an alias, which can move; the command resolves it once."""
    with pytest.raises(ModelError) as refusal:
        model.load(alias)

    assert str(refusal.value).startswith(f"{alias} is not a location of files: give s3://")
    assert str(refusal.value).endswith(f": python -m training {command}")


def test_id_of_a_model_is_refused_with_the_command_that_copies_the_model() -> None:
    with pytest.raises(ModelError) as refusal:
        model.load(f"models:/m-{32 * '7'}")

    command = (
        f"mlflow artifacts download --artifact-uri models:/m-{32 * '7'} --dst-path build/model"
    )
    assert str(refusal.value).endswith(f"This command copies the model to build/model: {command}")


@pytest.mark.parametrize(
    "name",
    [
        *["../model.onnx", "a/../../model.onnx", "/etc/passwd", "", ".", None, 7, ["model.onnx"]],
        *["//etc/passwd", "///etc/passwd", "a//b", "a/", "a\0b", "a\0b/c", "\x1b[2J", "a\nb"],
    ],
)
def test_name_that_leads_outside_the_directory_is_refused(name: object) -> None:
    with pytest.raises(ModelError, match="names no file, or a file outside the model's directory"):
        plain_name(name)


@pytest.mark.parametrize("name", ["model.onnx", "extra/model.onnx", "..model"])
def test_name_within_the_directory_is_accepted(name: str) -> None:
    assert plain_name(name) == name


def test_model_cannot_name_a_file_outside_its_directory(tmp_path: Path) -> None:
    models.write_onnx(tmp_path)
    beside = models.write_onnx(tmp_path / "model")
    models.edit_mlmodel(beside, "onnx", data="../model.onnx")

    with pytest.raises(ModelError, match="outside the model's directory"):
        model.load(str(beside))


@pytest.mark.usefixtures("operations")
@pytest.mark.parametrize("key", ["/tmp/escaped", "//tmp/escaped", "artifacts//escaped"])
def test_object_whose_key_leads_outside_the_directory_is_refused(
    s3: S3Client, tmp_path: Path, key: str
) -> None:
    """S3 keys may contain two slashes in a row, and a path on disk would lose one of them."""
    saved = models.save_python(tmp_path / "model", lambda rides: [7.0] * len(rides))
    location = models.upload(s3, saved, BUCKET, f"escape{len(key)}")
    s3.put_object(Bucket=BUCKET, Key=f"escape{len(key)}/{key}", Body=b"")

    with pytest.raises(ModelError, match="outside the model's directory"):
        model.load(location, allow_pickled=True)


@pytest.mark.parametrize("name", ["/tmp/escaped", "//tmp/escaped", "../escaped"])
def test_a_private_copy_writes_nothing_outside_itself(name: str) -> None:
    with pytest.raises(ModelError, match="outside the model's directory"):
        storage.private_copy({name: b""})


def test_a_link_that_leads_outside_the_directory_is_not_read(tmp_path: Path) -> None:
    """The path is resolved before it is compared with the directory."""
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.onnx").symlink_to(tmp_path / "secret")

    with pytest.raises(ModelError, match=r"model\.onnx is a link to a file outside the directory"):
        storage.at(str(tmp_path / "model")).read("model.onnx")


def test_a_link_within_the_directory_is_read(tmp_path: Path) -> None:
    """Kubernetes mounts files as such links; the directory itself may be a link as well."""
    (tmp_path / "model" / "data").mkdir(parents=True)
    (tmp_path / "model" / "data" / "file").write_bytes(b"weights")
    (tmp_path / "model" / "model.onnx").symlink_to("data/file")
    (tmp_path / "linked").symlink_to(tmp_path / "model")

    assert storage.at(str(tmp_path / "linked")).read("model.onnx") == b"weights"


def test_files_of_a_linked_folder_are_listed(tmp_path: Path) -> None:
    """A model's digest covers all files that MLflow can open."""
    (tmp_path / "model" / "one").mkdir(parents=True)
    (tmp_path / "model" / "one" / "file").write_bytes(b"weights")
    (tmp_path / "model" / "two").symlink_to("one")

    assert storage.at(str(tmp_path / "model")).names() == ["one/file", "two/file"]


def _files(directory: Path) -> dict[str, bytes]:
    return {
        file.relative_to(directory).as_posix(): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }


class LyingS3:
    """An S3 client behind a proxy that answers every upload with a 200 and stores nothing."""

    def upload_file(self, *_: Any) -> None:
        pass

    def head_object(self, **_: Any) -> dict[str, Any]:
        return {}


def test_an_upload_that_s3_does_not_have_keeps_the_local_file(tmp_path: Path) -> None:
    file = tmp_path / "part"
    file.write_bytes(b"rides")
    folder = storage.S3Folder(LyingS3(), "bucket", "", OutputError)  # type: ignore[arg-type]

    with pytest.raises(OutputError, match="S3 does not have the file"):
        folder.move(file, "part")

    assert file.exists()
