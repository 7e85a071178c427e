"""What a deployment takes: the place of a registered model, pinned by its digest, and a copy.

An alias moves; a deployment must not.  So it is resolved here, once, and what comes out names
one model for good.

The copy goes to ``s3://<bucket>/<experiment>/<run>/artifacts/model``, which MODEL_BUCKET,
MLFLOW_EXPERIMENT_ID and RUN_ID name.  The invariant: a file there is written once and never
changed, and ``MLmodel`` is written last.  S3 writes a file whole or not at all, refuses one that
is there (``If-None-Match``), and asks for another attempt while somebody else writes it; so a copy
that was given up half way has no ``MLmodel``, nothing loads it, and the next attempt completes it,
as do two at once.  A different file that lies there is another model's, and is left alone.
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

from model_service.errors import ServiceError
from model_service.models import loader as model

from ..data.dataset import Target
from . import tracking
from .model_registry import RegistryError, Version

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PARAMETERS = {"duration": "DurationModel", "cost": "CostModel"}
"""The parameter of `template.yaml` that says where a model lies."""
LAST = "MLmodel"
ATTEMPTS = 5
"""So many times somebody else may be writing the same file."""
TAKEN, CONFLICT = 412, 409
"""What S3 answers where the file is there, and while somebody else writes it."""
PAUSE_SECONDS = 0.2
"""Before the second attempt; doubled for each further one."""


class ReleaseError(ServiceError):
    """The model cannot be copied to where functions look for it."""


@dataclass(frozen=True, slots=True)
class Release:
    """One model, for good."""

    model: str
    version: str
    run_id: str
    model_location: str
    model_sha256: str
    experiment_id: str
    parameters: dict[str, str]
    """Of `template.yaml`."""
    environment: dict[str, str]
    """The older way to say where a model lies."""


def release(version: Version, experiment_id: str, target: Target, bucket: str) -> Release:
    """Copy *version* into *bucket* (if empty, the one it lies in), and say where it is.

    Raises `ReleaseError`, or `ModelError` where the model is not the one that was registered.
    """
    own = bucket_of(version.location)
    bucket = bucket or own
    if not bucket:
        raise ReleaseError(
            f"The model lies at {version.location}, where no function can read it: name a --bucket."
        )
    served = model.load(version.location, sha256=version.sha256, field=model.FIELDS[target])
    copied = f"{experiment_id}/{version.run_id}/artifacts/model"
    copy(version.location, bucket, copied)
    model.load(f"s3://{bucket}/{copied}", sha256=served.sha256)
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
            "RUN_ID": version.run_id,
            "MODEL_SHA256": served.sha256,
        },
    )


def overrides(parameters: dict[str, str]) -> str:
    """As ``--parameter-overrides`` and the workflow's ``PARAMETERS`` take them.

    >>> overrides({"ModelBucket": "models", "DurationModel": "1/abc/artifacts/model"})
    'ModelBucket=models DurationModel=1/abc/artifacts/model'
    """
    return " ".join(f"{name}={value}" for name, value in parameters.items())


def pinned(text: str, parameters: Mapping[str, str]) -> str:
    """The text of a ``models.yaml`` with the models of *parameters*; its comments stay.

    Which bucket holds them is the environment's, and stands elsewhere.  Raises `ReleaseError` where
    *text* is none.

    >>> pinned("# Why\\n{}\\n", {"ModelBucket": "models", "CostModel": "1/abc"})
    '# Why\\nCostModel: 1/abc\\n'
    """
    comments = "".join(line for line in text.splitlines(True) if line.startswith("#"))
    try:
        known = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        known = None
    if not isinstance(known, dict):
        raise ReleaseError("The file to write to has no parameters of template.yaml: Name: value.")
    models = {name: value for name, value in parameters.items() if name != "ModelBucket"}
    return comments + yaml.safe_dump(known | models, sort_keys=False)


def write(path: Path, text: str) -> None:
    """*text* into *path*, whole or not at all: whoever reads meanwhile has the old one."""
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


def resolve(found: Version | None, model_name: str, alias: str) -> Version:
    if found is None:
        raise RegistryError(f"No version of {model_name} is called {alias}: promote one first.")
    return found


def bucket_of(location: str) -> str:
    """Empty where it is a directory."""
    return location.removeprefix("s3://").partition("/")[0] if location.startswith("s3://") else ""


def copy(location: str, bucket: str, prefix: str) -> None:
    """The files of a model to S3, each once, `LAST` last."""
    import boto3

    client: S3Client = boto3.client("s3")
    with TemporaryDirectory() as scratch:
        folder = Path(scratch, "model")
        tracking.copy(location, folder)
        names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        for name in sorted(names, key=lambda name: (name == LAST, name)):
            _put(client, bucket, f"{prefix}/{name}", (folder / name).read_bytes())


def _put(client: S3Client, bucket: str, key: str, content: bytes) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        written = _written(client, bucket, key, content)
        there = content if written else client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except (BotoCoreError, ClientError) as exc:
        raise ReleaseError(f"cannot write s3://{bucket}/{key}: {_line(exc)}") from exc
    if there != content:
        raise ReleaseError(f"s3://{bucket}/{key} is another model's; it was left alone.")


def _written(client: S3Client, bucket: str, key: str, content: bytes) -> bool:
    """False where a file is there already."""
    from botocore.exceptions import ClientError

    pauses = [PAUSE_SECONDS * 2**attempt for attempt in range(ATTEMPTS - 1)]
    while True:
        try:
            client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
            return True
        except ClientError as exc:
            status = exc.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == TAKEN:
                return False
            if status != CONFLICT or not pauses:
                raise
        time.sleep(pauses.pop(0))


def _line(exc: Any) -> str:
    return " ".join(str(exc).split())
