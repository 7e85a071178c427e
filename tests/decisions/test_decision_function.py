"""The entry point of decisions, with a Kinesis, a DynamoDB and an S3 of the emulator."""

from __future__ import annotations

import importlib
import json
import sys
from types import ModuleType
from typing import Any

import pytest

from local.aws.server import Embedded
from model_service.errors import EventError, SettingsError

from ..support.decisions import COST, DURATION, create_table, prediction_bytes
from ..support.factories import kinesis_event
from .test_policy import SHIPPED

BUCKET, STREAM, TABLE = "rejects", "ride_decisions", "ride_decisions"


def start(monkeypatch: pytest.MonkeyPatch, **environment: str) -> ModuleType:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop("decision_function", None)
    return importlib.import_module("decision_function")


@pytest.fixture(scope="module")
def aws(module_aws: Embedded) -> Embedded:
    module_aws.kinesis().create_stream(StreamName=STREAM, ShardCount=1)
    module_aws.s3().create_bucket(Bucket=BUCKET)
    create_table(module_aws.dynamodb(), TABLE)
    return module_aws


def published(aws: Embedded) -> list[dict[str, Any]]:
    kinesis = aws.kinesis()
    iterator = kinesis.get_shard_iterator(
        StreamName=STREAM, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return [
        json.loads(record["Data"])
        for record in kinesis.get_records(ShardIterator=iterator)["Records"]
    ]


def test_rides_are_decided_by_a_batch_or_by_the_sweep(
    aws: Embedded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    function = start(
        monkeypatch,
        EXPECTED_MODELS=f"{DURATION}, {COST}",
        DECISION_DEADLINE_SECONDS="1",
        DECISION_POLICY=str(SHIPPED),
        REJECTS_LOCATION=f"s3://{BUCKET}/some",
        **aws.environ,
    )
    batch = kinesis_event(
        prediction_bytes(DURATION, 1), prediction_bytes(COST, 1), prediction_bytes(COST, 2), b"{}"
    )

    assert function.lambda_handler(batch, None) == {"batchItemFailures": []}
    line = json.loads(capsys.readouterr().out)
    assert (line["decided"], line["waiting"], line["rejected"]) == ([1], [1], [1])
    assert (line["flagged"], line["cold_start"], line["consumer"]) == ([0], [1], "decisions")
    [kept] = aws.s3().list_objects_v2(Bucket=BUCKET)["Contents"]
    assert kept["Key"].startswith("some/decisions/ride_events/shardId-000000000000/")

    swept = 0
    while not swept:  # a second at most, and another because deadlines are whole seconds
        swept = function.lambda_handler({"scheduled_time": "2022-06-02T08:06:00Z"}, None)["swept"]

    whole, part = published(aws)
    assert (whole["ride_id"], whole["complete"], whole["flag"]) == (1, True, None)
    assert (part["ride_id"], part["complete"], part["flag"]) == (2, False, "review")
    assert part["reasons"] == [{"rule": "model_did_not_speak", "subject": DURATION, "bound": 1.0}]
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["swept"], line["sweeps"], line["incomplete"]) == ([1], [1], [1])

    with pytest.raises(EventError):
        function.lambda_handler({"time": "a schedule of somebody else"}, None)


def test_all_faulty_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as refused:
        start(monkeypatch, DECISION_DEADLINE_SECONDS="0", DECISIONS_TABLE_NAME="a/b")

    for name in ("EXPECTED_MODELS", "REJECTS_LOCATION", "DECISION_DEADLINE", "DECISIONS_TABLE"):
        assert name in str(refused.value)
