"""Copies models to an environment's bucket, and loads each one in the same way as its function.

    python -m operate.models --from s3://bucket file://models.yaml ModelBucket=… Release=…

The command takes the same arguments as `sam deploy --parameter-overrides`.  If a parameter is given
twice, the later value counts.  Parameters that do not describe a model are ignored.  A model that
the bucket already has is not copied again, but its SHA-256 is checked.  MLmodel is copied last, and
a directory without MLmodel is not a model, so the next run repeats a copy that was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml
from botocore.exceptions import BotoCoreError, ClientError
from rich.progress import track

from model_service.errors import ModelError
from model_service.models import loader

from . import command
from .aws import client
from .command import FAILED, CommandError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MLMODEL = "MLmodel"


class PinnedModel(NamedTuple):
    """A model in the parameters of a deployment: parameter, prefix in the bucket, and SHA-256."""

    parameter: str
    prefix: str
    sha256: str


def parameters(words: Sequence[str]) -> dict[str, str]:
    """Return the values of all parameters by name.

    Each of *words* is ``Name=value`` or ``file://….yaml``.  Raises `CommandError` if a word is
    neither of the two, or if a file cannot be read.

    >>> parameters(["CostModel=1/cost", "Release=1", "CostModel=2/cost"])
    {'CostModel': '2/cost', 'Release': '1'}
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("file://"):
            found |= _read_yaml(Path(word.removeprefix("file://")))
        elif equals and name.isalnum():
            found[name] = value
        else:
            raise CommandError(f"{word} is neither Name=value nor file://….yaml")
    return found


def _read_yaml(path: Path) -> dict[str, str]:
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise CommandError(f"{path} cannot be read as YAML: {type(exc).__name__}") from None
    if not isinstance(values, dict):
        raise CommandError(f"{path} has no parameters; write {{}} if there are none")
    return {str(name): str(value) for name, value in values.items()}


def pinned_models(given: Mapping[str, str]) -> list[PinnedModel]:
    """Return the models in *given*, the parameters of a deployment (name -> value).

    Raises `CommandError` if a model has no SHA-256, because any model would then be accepted.
    """
    found = [
        PinnedModel(name, value.strip("/"), given.get(f"{name}Sha256", ""))
        for name, value in given.items()
        if name.endswith("Model") and name != "BakedModel" and value
    ]
    if missing := [f"{model.parameter}Sha256" for model in found if not model.sha256]:
        raise CommandError(f"{', '.join(missing)} is missing: without it any model is accepted")
    return found


def copy(s3: S3Client, model: PinnedModel, source: str, bucket: str) -> str:
    """Copy *model* from the bucket *source* to *bucket*, unless *bucket* already has it.

    Returns the end of a sentence about the model, such as "is already there".

    Raises `CommandError` if the source has no such model, or the copy fails.
    """
    mlmodel = f"{model.prefix}/{MLMODEL}"
    if source in ("", bucket) or _keys(s3, bucket, mlmodel):
        return "is already there"
    keys = _keys(s3, source, f"{model.prefix}/")
    if mlmodel not in keys:
        raise CommandError(f"{model.parameter}: there is no model at s3://{source}/{model.prefix}")
    ordered = sorted(keys, key=lambda key: key == mlmodel)
    try:
        for key in track(ordered, f"copying {model.parameter}", disable=not sys.stdout.isatty()):
            s3.copy({"Bucket": source, "Key": key}, bucket, key)
    except (ClientError, BotoCoreError) as exc:
        raise CommandError(f"{model.parameter} cannot be copied to s3://{bucket}: {exc}") from None
    return f"was copied from s3://{source}"


def _keys(s3: S3Client, bucket: str, prefix: str) -> list[str]:
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    except (ClientError, BotoCoreError) as exc:
        raise CommandError(f"s3://{bucket} cannot be listed: {exc}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    *arguments* are those of the command line; None for those of this process.
    """
    options = _options(arguments)
    return command.run("models", lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Copy and load the models that *options* name, and return the exit code.

    Raises `CommandError` if the parameters are wrong or a bucket cannot be used.
    """
    given = parameters(options.parameters)
    bucket = given.get("ModelBucket", "")
    if not bucket:
        print("There is no ModelBucket: the image contains the models.")
        return 0
    models = pinned_models(given)
    if not models:
        raise CommandError("ModelBucket is given without a model, such as DurationModel")
    s3 = client("s3")
    for model in models:
        done = copy(s3, model, options.source, bucket)
        location = f"s3://{bucket}/{model.prefix}"
        field = loader.FIELDS.get(model.parameter.removesuffix("Model").lower(), "")
        try:
            loaded = loader.load(location, sha256=model.sha256, field=field)
        except ModelError as exc:
            print(f"models: the function would not start with this model: {exc}", file=sys.stderr)
            return FAILED
        print(f"{model.parameter} {done}: version {loaded.version}, {location}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m operate.models",
        description="Copy models to an environment's bucket, and load each as its function will.",
        epilog="Exit codes: 0 done, 1 a function would not start with a model, 2 bad input.",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=lambda text: text.removeprefix("s3://").strip("/"),
        default="",
        metavar="s3://BUCKET",
        help="bucket to copy from; nothing is copied without it",
    )
    parser.add_argument("parameters", nargs="*", metavar="Name=value | file://FILE.yaml")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
