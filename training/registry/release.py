"""Releases a registered model: copies it, and returns its location and digest for a deployment.

An alias can be moved, but a deployment must not change because of that.  So the alias is resolved
once, by this module, and the result identifies one model permanently.

The copy goes to ``s3://<bucket>/<experiment>/<run>/artifacts/model``, the path that MODEL_BUCKET,
MLFLOW_EXPERIMENT_ID and RUN_ID name.  If the run has several models, the model id takes the place
of the run, so that the predictions of these models have different versions.

The invariant: a file of a copy is written once and never changed, and ``MLmodel`` is written last.
S3 writes a file as a whole or not at all.  With ``If-None-Match``, S3 refuses to overwrite a file,
and asks for a retry while another process writes the same file.  So an interrupted copy has no
``MLmodel`` and cannot be loaded, and the next copy completes it.  If the path already has a file
with other contents, the file belongs to another model and is left alone.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from model_service import storage
from model_service.errors import ServiceError
from model_service.models import description, loader

from ..data.dataset import Target
from . import tracking
from .model_registry import ModelVersion

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PARAMETERS = {"duration": "DurationModel", "cost": "CostModel"}
"""Target -> the parameter of `template.yaml` for the location of its model."""
LAST_FILE = "MLmodel"
ATTEMPTS = 5
"""The maximum number of attempts to write a file that another process is writing."""
EXISTS, CONFLICT = 412, 409
"""S3's statuses if the file exists, and if another process is writing it."""
PAUSE_SECONDS = 0.2
"""The pause before the second attempt; it doubles before each further attempt."""


class ReleaseError(ServiceError):
    """The model cannot be copied to a bucket for deployments."""


@dataclass(frozen=True, slots=True)
class Release:
    """A released model: its version, location and SHA-256, and the settings for a deployment."""

    model: str
    version: str
    run_id: str
    model_location: str
    model_sha256: str
    experiment_id: str
    parameters: dict[str, str]
    """The parameters of `template.yaml` for this model."""
    environment: dict[str, str]
    """The environment variables that identify the copy by its run id."""
    shared_version: str = ""
    """The version of its predictions with MODEL_LOCATION, if other models of its run have the same
    version; else empty."""


def release(
    version: ModelVersion,
    experiment_id: str,
    target: Target,
    bucket: str,
    models: int = 1,
) -> Release:
    """Copy the model *version* to *bucket*, and return what a deployment needs to use the copy.

    If *bucket* is empty, the model is copied within its own bucket.  *models* is the number of
    models that the run of this version has.
    Raises `ReleaseError` if the model cannot be copied, and `ModelError` if it is not the model
    that was registered.
    """
    own = bucket_of(version.location)
    bucket = bucket or own
    if not bucket:
        raise ReleaseError(
            f"Lambda functions cannot read the model at {version.location}: name a --bucket."
        )
    served = loader.load(version.location, sha256=version.sha256, field=loader.FIELDS[target])
    run_id = served.version
    if models > 1:
        described = description.read(storage.at(version.location).read("MLmodel"))
        run_id = described.own_id() or run_id
    copied = f"{experiment_id}/{run_id}/artifacts/model"
    copy(version.location, bucket, copied)
    loader.load(f"s3://{bucket}/{copied}", sha256=served.sha256)
    location = version.location if bucket == own else f"s3://{bucket}/{copied}"
    name = PARAMETERS[target]
    return Release(
        model=version.model,
        version=version.number,
        run_id=version.run_id,
        model_location=location,
        model_sha256=served.sha256,
        experiment_id=experiment_id,
        parameters={
            "ModelBucket": bucket,
            name: location.removeprefix(f"s3://{bucket}/"),
            f"{name}Sha256": served.sha256,
        },
        environment={
            "MODEL_BUCKET": bucket,
            "MLFLOW_EXPERIMENT_ID": experiment_id,
            "RUN_ID": run_id,
            "MODEL_SHA256": served.sha256,
        },
        shared_version="" if run_id == served.version else served.version,
    )


def overrides(parameters: dict[str, str]) -> str:
    """Return *parameters* as the value of the option ``sam deploy --parameter-overrides``.

    >>> overrides({"ModelBucket": "models", "DurationModel": "1/abc/artifacts/model"})
    'ModelBucket=models DurationModel=1/abc/artifacts/model'
    """
    return " ".join(f"{name}={value}" for name, value in parameters.items())


def pinned(text: str, parameters: Mapping[str, str]) -> str:
    """Return *text*, the content of a ``models.yaml``, updated with *parameters*; comments stay.

    The bucket is left out, because it is a setting of the deployment's environment.  Raises
    `ReleaseError` if *text* is not a YAML mapping.

    >>> pinned("# Why\\n{}\\n", {"ModelBucket": "models", "CostModel": "1/abc"})
    '# Why\\nCostModel: 1/abc\\n'
    """
    comments = "".join(line for line in text.splitlines(True) if line.startswith("#"))
    try:
        known = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        known = None
    if not isinstance(known, dict):
        raise ReleaseError(
            'The output file does not hold parameters of template.yaml as "Name: value".'
        )
    models = {name: value for name, value in parameters.items() if name != "ModelBucket"}
    return comments + yaml.safe_dump(known | models, sort_keys=False)


def write(path: Path, text: str) -> None:
    """Write *text* to *path* atomically, so that readers see either the old or the new text."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text)
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def bucket_of(location: str) -> str:
    """Return the bucket of *location*, an ``s3://`` URL; an empty text for a path on disk."""
    return storage.split(location)[0] if location.startswith(storage.SCHEME) else ""


def copy(location: str, bucket: str, prefix: str) -> None:
    """Copy the files of the model at *location* to ``s3://<bucket>/<prefix>``.

    Raises `ReleaseError` if a file cannot be written.
    """
    import boto3

    with TemporaryDirectory() as scratch:
        folder = Path(scratch, "model")
        tracking.copy_model(location, folder)
        upload(boto3.client("s3"), folder, bucket, prefix)


def upload(client: S3Client, folder: Path, bucket: str, prefix: str) -> None:
    """Write the files of *folder* to ``s3://<bucket>/<prefix>``, `LAST_FILE` after all others.

    A file that S3 already has is not written again.  Raises `ReleaseError` if a file cannot be
    written, or if S3 has it with other contents.
    """
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    for name in sorted(names, key=lambda name: (name == LAST_FILE, name)):
        _put(client, bucket, f"{prefix}/{name}", (folder / name).read_bytes())


def _put(client: S3Client, bucket: str, key: str, content: bytes) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        written = _written(client, bucket, key, content)
        there = content if written else client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except (BotoCoreError, ClientError) as exc:
        raise ReleaseError(f"cannot write s3://{bucket}/{key}: {_line(exc)}") from exc
    if there != content:
        raise ReleaseError(
            f"s3://{bucket}/{key} belongs to another model; it was left alone. If a run has several"
            ' models, log each of them with metadata={"version": "model_id"}.'
        )


def _written(client: S3Client, bucket: str, key: str, content: bytes) -> bool:
    """Write a file that does not exist yet and return True; return False if the file exists."""
    from botocore.exceptions import ClientError

    pauses = [PAUSE_SECONDS * 2**attempt for attempt in range(ATTEMPTS - 1)]
    while True:
        try:
            reply = client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
            if not reply.get("ETag"):
                raise ReleaseError(
                    f"s3://{bucket}/{key} cannot be written: the reply did not come from S3"
                )
            return True
        except ClientError as exc:
            status = exc.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == EXISTS:
                return False
            if status != CONFLICT or not pauses:
                raise
        time.sleep(pauses.pop(0))


def _line(exc: Any) -> str:
    return " ".join(str(exc).split())
