"""The entry point of the archive, with an S3 of moto."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from types import ModuleType

import pytest

from local.aws.server import Embedded
from model_service.errors import SettingsError

from ..support.factories import SHARD, kinesis_event, payload

BUCKET = "archive"


def start(monkeypatch: pytest.MonkeyPatch, **environment: str) -> ModuleType:
    monkeypatch.delenv("ARCHIVE_LOCATION", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop("archive_function", None)
    return importlib.import_module("archive_function")


def test_a_batch_is_stored_and_logged(
    module_aws: Embedded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = module_aws.s3()
    s3.create_bucket(Bucket=BUCKET)
    function = start(monkeypatch, ARCHIVE_LOCATION=f"s3://{BUCKET}", **module_aws.environ)

    answer = function.lambda_handler(kinesis_event(payload(1), b"no ride"), None)

    [found] = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert found["Key"].startswith(f"ride_events/2022/06/02/09/{SHARD}-")
    body = s3.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read()
    assert len(gzip.decompress(body).splitlines()) == 2
    assert answer == {"batchItemFailures": []}
    line = json.loads(capsys.readouterr().out)
    assert (line["archived"], line["archive_to_retry"], line["archive_objects"]) == ([2], [0], [1])
    assert line["archive_bytes"] == [len(body)]
    assert (line["stream"], line["shard"], line["checkpoint"]) == ("ride_events", SHARD, None)


def test_a_location_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^ARCHIVE_LOCATION is not set$"):
        start(monkeypatch)
