"""Brings models to an environment's bucket, and loads each of them as its function will.

    python -m operate.models --from s3://bucket file://models.yaml ModelBucket=… Release=…

It is given what `sam deploy` gets by --parameter-overrides: of two values the later one counts, and
parameters that say nothing of models are passed over.

A model that is there is left as it is; which one it is, its SHA-256 tells.  MLmodel is copied last,
and what has none is no model: so a copy that was cut short is made anew.
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

from .aws import client
from .errors import BadInput

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FAILED, BAD_INPUT = 1, 2  # exit codes
MLMODEL = "MLmodel"


class Pinned(NamedTuple):
    """A model that a deployment names."""

    parameter: str
    prefix: str
    sha256: str


def parameters(words: Sequence[str]) -> dict[str, str]:
    """Values by name, from ``Name=value`` and ``file://….yaml``.

    Raises `BadInput`.

    >>> parameters(["CostModel=1/cost", "Release=1", "CostModel=2/cost"])
    {'CostModel': '2/cost', 'Release': '1'}
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("file://"):
            found |= _read(Path(word.removeprefix("file://")))
        elif equals and name.isalnum():
            found[name] = value
        else:
            raise BadInput(f"{word} is neither Name=value nor file://….yaml")
    return found


def _read(path: Path) -> dict[str, str]:
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise BadInput(f"{path} cannot be read as YAML: {type(exc).__name__}") from None
    if not isinstance(values, dict):
        raise BadInput(f"{path} has no parameters; where there are none, write {{}}")
    return {str(name): str(value) for name, value in values.items()}


def pinned(given: Mapping[str, str]) -> list[Pinned]:
    """The models among the parameters *given*.

    Raises `BadInput` where one has no SHA-256, since it could be any.
    """
    found = [
        Pinned(name, value.strip("/"), given.get(f"{name}Sha256", ""))
        for name, value in given.items()
        if name.endswith("Model") and name != "BakedModel" and value
    ]
    if missing := [f"{one.parameter}Sha256" for one in found if not one.sha256]:
        raise BadInput(f"{', '.join(missing)}: not given, so that any model would do")
    return found


def bring(s3: S3Client, one: Pinned, source: str, bucket: str) -> str:
    """Copies a model from the bucket *source*, where *bucket* lacks it; what was done.

    Raises `BadInput`.
    """
    if source in ("", bucket) or _keys(s3, bucket, f"{one.prefix}/{MLMODEL}"):
        return "is there"
    keys = _keys(s3, source, f"{one.prefix}/")
    mlmodel = f"{one.prefix}/{MLMODEL}"
    if mlmodel not in keys:
        raise BadInput(f"{one.parameter}: there is no model at s3://{source}/{one.prefix}")
    ordered = sorted(keys, key=lambda key: key == mlmodel)
    try:
        for key in track(ordered, f"copying {one.parameter}", disable=not sys.stdout.isatty()):
            s3.copy({"Bucket": source, "Key": key}, bucket, key)
    except (ClientError, BotoCoreError) as exc:
        raise BadInput(f"{one.parameter} cannot be copied to s3://{bucket}: {exc}") from None
    return f"was copied from s3://{source}"


def _keys(s3: S3Client, bucket: str, prefix: str) -> list[str]:
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    except (ClientError, BotoCoreError) as exc:
        raise BadInput(f"s3://{bucket} cannot be listed: {exc}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        return _run(_options(arguments))
    except BadInput as exc:
        print(f"models: {exc}", file=sys.stderr)
        return BAD_INPUT
    except ModelError as exc:
        print(f"models: this one would not start: {exc}", file=sys.stderr)
        return FAILED


def _run(options: argparse.Namespace) -> int:
    given = parameters(options.parameters)
    bucket = given.get("ModelBucket", "")
    if not bucket:
        print("No ModelBucket: the models lie in the image.")
        return 0
    models = pinned(given)
    if not models:
        raise BadInput("ModelBucket is given, and no model in it, such as DurationModel")
    s3 = client("s3")
    for one in models:
        done = bring(s3, one, options.source, bucket)
        field = loader.FIELDS.get(one.parameter.removesuffix("Model").lower(), "")
        loaded = loader.load(f"s3://{bucket}/{one.prefix}", sha256=one.sha256, field=field)
        print(f"{one.parameter} {done}: version {loaded.version}, s3://{bucket}/{one.prefix}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m operate.models",
        description="Bring models to an environment's bucket, and load each as its function will.",
        epilog="Exit codes: 0 all are there, 1 one would not start, 2 bad input.",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=lambda text: text.removeprefix("s3://").strip("/"),
        default="",
        metavar="s3://BUCKET",
        help="where they were trained to; without it nothing is copied",
    )
    parser.add_argument("parameters", nargs="*", metavar="Name=value | file://FILE.yaml")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
