"""The template, as what CloudFormation makes of it: laws of a stack, each a function of it.

`tests.mutate_template` takes settings, dimensions and permissions away one by one and runs these.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from model_service import archive, decisions, stream
from model_service.archive import telemetry as archive_telemetry
from model_service.batch import schedule
from model_service.decisions import policy, sweep
from model_service.decisions import telemetry as decision_telemetry
from model_service.emf import Destination
from model_service.kinesis import telemetry
from model_service.kinesis.invocation import Invocation
from model_service.scoring import Answers, Target
from model_service.settings import (
    ArchiveSettings,
    DecisionSettings,
    ScheduleSettings,
    Settings,
)
from operate.deployed_stack import OUTPUTS, SCORER

from .. import mutate_template
from ..support import cloudwatch, stacks
from ..support.decisions import MemoryTable, prediction_bytes, rules
from ..support.factories import (
    INVOCATION,
    FakeModel,
    MemoryPublisher,
    MemoryRejects,
    batch_line,
    by_distance,
    kinesis_event,
    payload,
)
from ..support.stacks import ROOT, SAM_PYTHON, Stack

pytestmark = pytest.mark.skipif(
    not SAM_PYTHON.exists(),
    reason="needs the SAM CLI: make tools/sam/.venv/installed",
)

MODELS = ("Duration", "Cost")
NAMES = {"Duration": "ride_duration_prediction_model", "Cost": "ride_cost_prediction_model"}

METRICS = Destination("RidePredictions/rides", "ride-predictions")

NO_VARIABLES = {
    "MODEL_BUCKET": "the older way to say MODEL_LOCATION",
    "MLFLOW_EXPERIMENT_ID": "see MODEL_BUCKET",
    "RUN_ID": "see MODEL_BUCKET; a model on S3 says itself what it is",
    "KINESIS_ENDPOINT_URL": "deployed, it is AWS that is meant",
}

DIMENSIONS_OF_AWS = {
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits"): "TableName",
    ("AWS/DynamoDB", "WriteThrottleEvents"): "TableName",
    ("AWS/Lambda", "ConcurrentExecutions"): "FunctionName",
    ("AWS/Lambda", "DestinationDeliveryFailures"): "FunctionName",
    ("AWS/Lambda", "DroppedEventCount"): "EventSourceMappingUUID",
    ("AWS/Lambda", "Duration"): "FunctionName",
    ("AWS/Lambda", "Errors"): "FunctionName",
    ("AWS/Lambda", "FailedInvokeEventCount"): "EventSourceMappingUUID",
    ("AWS/Lambda", "Invocations"): "FunctionName",
    ("AWS/Lambda", "IteratorAge"): "FunctionName",
    ("AWS/Lambda", "OnFailureDestinationDeliveredEventCount"): "EventSourceMappingUUID",
    ("AWS/Lambda", "Throttles"): "FunctionName",
    ("AWS/Kinesis", "IncomingRecords"): "StreamName",
    ("AWS/Kinesis", "PutRecords.FailedRecords"): "StreamName",
    ("AWS/Kinesis", "PutRecords.ThrottledRecords"): "StreamName",
    ("AWS/Kinesis", "PutRecords.TotalRecords"): "StreamName",
    ("AWS/Kinesis", "ReadProvisionedThroughputExceeded"): "StreamName",
    ("AWS/Kinesis", "WriteProvisionedThroughputExceeded"): "StreamName",
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): "QueueName",
}

ARCHIVES = {"<RideEventsArchive>", "<PredictionsArchive>"}

READ_A_STREAM = {
    "kinesis:DescribeStream",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
}


USE_A_LOG_KEY = {
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:ReEncrypt*",
    "kms:GenerateDataKey*",
    "kms:Describe*",
}
"""What the service CloudWatch Logs, and who writes to an encrypted log group, may do with its key.

Source: CloudWatch Logs User Guide, "Encrypt log data in CloudWatch Logs using AWS KMS".
"""
LOG_KEY = "<Key.Arn> via logs.eu-west-1.amazonaws.com"


def scorer_may(model: str) -> dict[str, set[str]]:
    """The actions that the scorer of *model* is allowed, by resource."""
    prefix = f"arn:aws:s3:::models/1/{model.lower()}/*"
    return {
        "<RideEventsStream.Arn>": READ_A_STREAM | {"kinesis:DescribeStreamSummary"},
        "<PredictionsStream.Arn>": {"kinesis:PutRecords"},
        f"<RejectsBucket.Arn>/rejects/{NAMES[model]}/*": {"s3:PutObject"},  # model_service.rejects
        "<RejectsBucket.Arn>/aws/lambda/*": {"s3:PutObject"},  # the mapping, for what it gives up
        "<RejectsBucket.Arn>": {"s3:ListBucket"},  # the mapping asks for it too
        "<Key.Arn>": {"kms:Decrypt", "kms:GenerateDataKey"},
        f"<{model}Logs.Arn>": {"logs:CreateLogStream", "logs:PutLogEvents"},
        LOG_KEY: USE_A_LOG_KEY,
        prefix: {"s3:GetObject"},
        "arn:aws:s3:::models": {"s3:ListBucket"},
        "arn:aws:kms:eu-west-1:000000000000:key/models": {"kms:Decrypt"},
    }


def archive_may(stream: str, name: str) -> dict[str, set[str]]:
    """The actions that the archive's function of *stream*, which is called *name*, is allowed."""
    return {
        f"<{stream}Stream.Arn>": READ_A_STREAM | {"kinesis:DescribeStreamSummary"},
        f"<ArchiveBucket.Arn>/{name}/*": {"s3:PutObject"},
        "<RejectsBucket.Arn>/aws/lambda/*": {"s3:PutObject"},  # the mapping, for what it gives up
        "<RejectsBucket.Arn>": {"s3:ListBucket"},  # the mapping asks for it too
        "<Key.Arn>": {"kms:Decrypt", "kms:GenerateDataKey"},
        f"<{stream}ArchiveLogs.Arn>": {"logs:CreateLogStream", "logs:PutLogEvents"},
        LOG_KEY: USE_A_LOG_KEY,
    }


SHIFT = {"lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"}

MAY: dict[str, dict[str, set[str]]] = {
    "DurationScorerRole": scorer_may("Duration"),
    "CostScorerRole": scorer_may("Cost"),
    "RideEventsArchiveRole": archive_may("RideEvents", "ride_events"),
    "PredictionsArchiveRole": archive_may("Predictions", "ride_predictions"),
    "BatchFunctionRole": {
        "<ArchiveBucket.Arn>": {"s3:ListBucket"},
        "<ArchiveBucket.Arn>/ride_events/*": {"s3:GetObject"},
        "<ArchiveBucket.Arn>/scored/*": {
            "s3:AbortMultipartUpload",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:PutObject",
        },
        "<Key.Arn>": {"kms:Decrypt", "kms:GenerateDataKey"},
        "<BatchLogs.Arn>": {"logs:CreateLogStream", "logs:PutLogEvents"},
        LOG_KEY: USE_A_LOG_KEY,
        "<BatchGivenUpQueue.Arn>": {"sqs:SendMessage"},
        "arn:aws:s3:::models/1/duration/*": {"s3:GetObject"},
        "arn:aws:s3:::models/1/cost/*": {"s3:GetObject"},
        "arn:aws:s3:::models": {"s3:ListBucket"},
        "arn:aws:kms:eu-west-1:000000000000:key/models": {"kms:Decrypt"},
    },
    "DecisionFunctionRole": {
        "<PredictionsStream.Arn>": READ_A_STREAM | {"kinesis:DescribeStreamSummary"},
        "<DecisionsStream.Arn>": {"kinesis:PutRecords"},
        "<DecisionsTable.Arn>": {"dynamodb:PutItem", "dynamodb:UpdateItem"},
        "<DecisionsTable.Arn>/index/due": {"dynamodb:Query"},
        "<RejectsBucket.Arn>/rejects/decisions/*": {"s3:PutObject"},  # model_service.rejects
        "<RejectsBucket.Arn>/aws/lambda/*": {"s3:PutObject"},  # the mapping, for what it gives up
        "<RejectsBucket.Arn>": {"s3:ListBucket"},  # the mapping asks for it too
        "<Key.Arn>": {"kms:Decrypt", "kms:GenerateDataKey"},
        "<DecisionLogs.Arn>": {"logs:CreateLogStream", "logs:PutLogEvents"},
        LOG_KEY: USE_A_LOG_KEY,
        "arn:aws:s3:::models/decisions/policy.json": {"s3:GetObject"},
        "arn:aws:kms:eu-west-1:000000000000:key/models": {"kms:Decrypt"},
    },
    "DecisionSweepRole": {"<DecisionFunction.Arn>": {"lambda:InvokeFunction"}},
    "BatchScheduleRole": {
        "<BatchFunction.Arn>": {"lambda:InvokeFunction"},
        "<BatchGivenUpQueue.Arn>": {"sqs:SendMessage"},
    },
    "DeploymentRole": {
        "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:*": {"cloudwatch:DescribeAlarms"},
        "<DurationScorer.Arn>": SHIFT,
        "<DurationScorer.Arn>:live": SHIFT,
        "<CostScorer.Arn>": SHIFT,
        "<CostScorer.Arn>:live": SHIFT,
    },
}
"""All that each role may do, no less and no more, by resource and the service that it goes via."""

WILDCARDS = {
    ("Key", "TheAccountDecidesByIam"): "a key's own policy; * is this key, kms:* the account's due",
    ("Key", "AlarmsMayBePublished"): "a key's own policy; * is this key",
    ("Key", "LogsMayBeWritten"): "a key's own policy; * is this key",
    (LOG_KEY, ""): "the list of CloudWatch Logs itself, for one key and by way of Logs alone",
    ("RejectsBucketPolicy", "NothingWithoutTls"): "it denies",
    ("ArchiveBucketPolicy", "NothingWithoutTls"): "it denies",
}
"""Statements that need a `*`, with the reason."""


@pytest.fixture
def stack() -> Stack:
    return stacks.stack()


@cache
def archive_line() -> dict[str, Any]:
    """The log line of a batch that was archived."""
    report = archive.process(
        kinesis_event(payload(1)), store=lambda *_: frozenset(), time_left=lambda: 60.0
    )
    found: dict[str, Any] = json.loads(archive_telemetry.log_line(report, INVOCATION, METRICS))
    return found


def run_line() -> dict[str, Any]:
    """The metric line of a scheduled run, decoded."""
    found: dict[str, Any] = json.loads(
        schedule.log_line(
            done_at=datetime.now(UTC),
            scored=1,
            rejected={"a": 1},
            seconds=1.0,
            delay_seconds=2.0,
            destination=METRICS,
        )
    )
    return found


@cache
def decision_lines() -> list[dict[str, Any]]:
    """The log lines of a batch of predictions, and of a sweep."""
    by, table = rules(), MemoryTable()
    report = decisions.process(
        kinesis_event(prediction_bytes(), prediction_bytes(NAMES["Cost"])),
        rules=by,
        store=table,
        publish=MemoryPublisher(),
        keep=MemoryRejects(),
        time_left=lambda: 60.0,
    )
    swept = sweep.sweep(rules=by, store=table, publish=MemoryPublisher(), time_left=lambda: 60.0)
    return [
        json.loads(decision_telemetry.log_line(report, INVOCATION, METRICS)),
        json.loads(decision_telemetry.sweep_line(swept, INVOCATION, METRICS)),
    ]


@cache
def line(delivery: str = telemetry.STREAM) -> dict[str, Any]:
    """The metric line of the scorer for a batch with a valid and an invalid ride, decoded."""
    report = stream.process(
        kinesis_event(payload(1), b"{}"),
        model=FakeModel(),
        target=Target(),
        publish=MemoryPublisher(),
        keep=MemoryRejects(),
        time_left=lambda: 60.0,
    )
    invocation = Invocation("a-request", "7", replay=delivery == telemetry.REPLAY)
    found: dict[str, Any] = json.loads(batch_line(report, invocation, METRICS))
    return found


def each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# --- the event source mapping ---------------------------------------------------------------


def test_every_setting_of_the_mapping_is_explicit(stack: Stack) -> None:
    mappings = stack.of_type("AWS::Lambda::EventSourceMapping")
    assert {name for name in mappings if name.endswith("Rides")} == {
        f"{model}ScorerRides" for model in MODELS
    }

    for model in MODELS:
        assert mappings[f"{model}ScorerRides"] == {
            "EventSourceArn": "<RideEventsStream.Arn>",
            "FunctionName": f"<{model}ScorerAliaslive>",
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": 1000,
            "MaximumBatchingWindowInSeconds": 1,
            "ParallelizationFactor": 1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "BisectBatchOnFunctionError": True,
            "MaximumRetryAttempts": -1,
            "MaximumRecordAgeInSeconds": 6 * 60 * 60,
            "DestinationConfig": {"OnFailure": {"Destination": "<RejectsBucket.Arn>"}},
            "MetricsConfig": {"Metrics": ["EventCount"]},
        }


def test_a_batch_is_given_up_before_the_stream_retention_ends(stack: Stack) -> None:
    mapping = stack.of_type("AWS::Lambda::EventSourceMapping")["DurationScorerRides"]
    rides = stack.of_type("AWS::Kinesis::Stream")["RideEventsStream"]

    assert mapping["MaximumRecordAgeInSeconds"] < rides["RetentionPeriodHours"] * 60 * 60


# --- the functions --------------------------------------------------------------------------


def test_every_setting_is_a_variable_or_deliberately_omitted(stack: Stack) -> None:
    functions = stack.of_type("AWS::Lambda::Function")
    settings = {field.name.upper() for field in fields(Settings)}
    assert NO_VARIABLES.keys() < settings

    for model in MODELS:
        variables = functions[f"{model}Scorer"]["Environment"]["Variables"]
        assert variables.keys() == settings - NO_VARIABLES.keys()


def test_the_function_starts_with_its_variables(stack: Stack) -> None:
    for model in MODELS:
        function = stack.of_type("AWS::Lambda::Function")[f"{model}Scorer"]
        variables = stacks.deployed(function["Environment"]["Variables"])

        settings = Settings.from_env(variables)

        assert settings.model_path == f"s3://models/1/{model.lower()}"
        assert settings.model_name == NAMES[model]
        assert settings.predictions_stream_name == "PredictionsStream"
        assert settings.rejects_location == "s3://rejectsbucket/rejects"
        assert not settings.test_run
        assert not settings.return_predictions


def test_the_log_level_does_not_drop_metrics(stack: Stack) -> None:
    for function in stack.of_type("AWS::Lambda::Function").values():
        assert function["LoggingConfig"]["LogFormat"] == "JSON"
        assert function["LoggingConfig"]["ApplicationLogLevel"] in ("TRACE", "DEBUG", "INFO")


def test_logs_have_a_retention_period(stack: Stack) -> None:
    groups = stack.of_type("AWS::Logs::LogGroup")
    for function in stack.of_type("AWS::Lambda::Function").values():
        group = groups[function["LoggingConfig"]["LogGroup"].strip("<>")]
        assert group["RetentionInDays"] == 30
        assert group["KmsKeyId"] == "<Key.Arn>"


GATES = ("Errors", "Rejects", "ToRetry", "Latency", "CanaryMean")
"""The alarms that refuse a new version or roll it back."""


def test_a_new_version_takes_over_gradually_and_alarms_roll_it_back(stack: Stack) -> None:
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    groups = stack.of_type("AWS::CodeDeploy::DeploymentGroup")
    for model in MODELS:
        group = groups[f"{model}ScorerDeploymentGroup"]
        named = {alarm["Name"].strip("<>") for alarm in group["AlarmConfiguration"]["Alarms"]}

        assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent10Minutes"
        assert named == {f"{model}{name}" for name in GATES}
        assert named < alarms.keys()
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]


def test_the_runbook_names_the_alarms_that_block_a_new_version(stack: Stack) -> None:
    runbook = (ROOT / "docs/runbook.md").read_text()
    [sentence] = re.findall(r"\*\*While (.*?) is on, CodeDeploy refuses", runbook)

    group = stack.of_type("AWS::CodeDeploy::DeploymentGroup")["DurationScorerDeploymentGroup"]
    refusing = {alarm["Name"].strip("<>") for alarm in group["AlarmConfiguration"]["Alarms"]}
    assert {f"Duration{name}" for name in re.findall(r"`(\w+)`", sentence)} == refusing


def test_snapstart_is_off_by_default(stack: Stack) -> None:
    assert stack.resources["DurationScorer"]["Properties"]["SnapStart"] == {"ApplyOn": "None"}


# --- permissions ----------------------------------------------------------------------------


def test_each_role_has_only_the_permissions_that_it_needs(stack: Stack) -> None:
    may: dict[str, dict[str, set[str]]] = {}
    for role, statement in stack.statements():
        assert statement["Effect"] == "Allow"
        for resource in each(statement["Resource"]):
            where = resource + via(statement)
            may.setdefault(role, {}).setdefault(where, set()).update(each(statement["Action"]))

    assert may == MAY


def via(statement: dict[str, Any]) -> str:
    """The service through which a key may be used; empty if the statement does not limit it."""
    service = statement.get("Condition", {}).get("StringEquals", {}).get("kms:ViaService")
    return f" via {service}" if service else ""


def test_whoever_writes_to_an_encrypted_log_group_may_use_its_key(stack: Stack) -> None:
    """Otherwise no line is stored, no line makes a metric, and every alarm stays green."""
    allowed: dict[str, set[str]] = {}
    writers = set()
    for role, statement in stack.statements():
        if "logs:PutLogEvents" in each(statement["Action"]):
            writers.add(role)
        for resource in each(statement["Resource"]):
            if resource + via(statement) == LOG_KEY:
                allowed.setdefault(role, set()).update(each(statement["Action"]))
    groups = stack.of_type("AWS::Logs::LogGroup").values()

    assert {group["KmsKeyId"] for group in groups} == {"<Key.Arn>"}
    assert len(writers) == 6
    assert allowed == dict.fromkeys(writers, USE_A_LOG_KEY)


def test_roles_are_assumed_only_by_their_services(stack: Stack) -> None:
    services = {
        "BatchFunctionRole": "lambda.amazonaws.com",
        "BatchScheduleRole": "scheduler.amazonaws.com",
        "CostScorerRole": "lambda.amazonaws.com",
        "DurationScorerRole": "lambda.amazonaws.com",
        "DecisionFunctionRole": "lambda.amazonaws.com",
        "DecisionSweepRole": "scheduler.amazonaws.com",
        "DeploymentRole": "codedeploy.amazonaws.com",
        "PredictionsArchiveRole": "lambda.amazonaws.com",
        "RideEventsArchiveRole": "lambda.amazonaws.com",
    }
    for name, role in stack.of_type("AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role
        [statement] = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": services.pop(name)}
    assert not services


def test_rejects_and_models_are_in_buckets_of_this_account(stack: Stack) -> None:
    """Otherwise, the next owner of the name of a deleted bucket could provide the models."""
    checked = 0
    for role, statement in stack.statements():
        if not role.endswith(("ScorerRole", "ArchiveRole", "FunctionRole")):
            continue
        conditions = statement.get("Condition", {}).get("StringEquals", {})
        resources = each(statement["Resource"])
        if any(r.startswith(("<RejectsBucket", "arn:aws:s3:::models")) for r in resources):
            assert conditions["s3:ResourceAccount"] == "000000000000"
            checked += 1
    of_decisions = 3  # rejects twice, and the policy
    assert checked == 2 * len(MODELS) + 2 * (len(MODELS) + 1) + 2 * len(ARCHIVES) + of_decisions


def test_models_are_listed_by_prefix(stack: Stack) -> None:
    listed = {
        role: each(statement["Condition"]["StringEquals"]["s3:prefix"])
        for role, statement in stack.statements()
        if "arn:aws:s3:::models" in each(statement["Resource"])
    }

    assert listed == {
        "DurationScorerRole": ["1/duration/"],
        "CostScorerRole": ["1/cost/"],
        "BatchFunctionRole": ["1/duration/", "1/cost/"],
    }


def test_wildcards_are_used_only_where_unavoidable(stack: Stack) -> None:
    found = {
        (name if "Sid" in statement else statement["Resource"] + via(statement), sid(statement))
        for name, statement in all_statements(stack)
        if any("*" in action for action in each(statement["Action"]))
        or "*" in each(statement.get("Resource", []))
    }

    assert found == WILDCARDS.keys()


def sid(statement: dict[str, Any]) -> str:
    return str(statement.get("Sid", ""))


def all_statements(stack: Stack) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from stack.statements()
    for kind, field in (
        ("AWS::S3::BucketPolicy", "PolicyDocument"),
        ("AWS::SNS::TopicPolicy", "PolicyDocument"),
        ("AWS::KMS::Key", "KeyPolicy"),
    ):
        for name, properties in stack.of_type(kind).items():
            for statement in properties[field]["Statement"]:
                yield name, statement


# --- decisions ------------------------------------------------------------------------------


def test_the_predictions_are_read_as_rides_are(stack: Stack) -> None:
    mappings = stack.of_type("AWS::Lambda::EventSourceMapping")
    rides = mappings["DurationScorerRides"]

    assert mappings["DecisionFunctionPredictions"] == rides | {
        "EventSourceArn": "<PredictionsStream.Arn>",
        "FunctionName": "<DecisionFunction>",
        "BatchSize": 10_000,
        "MaximumBatchingWindowInSeconds": 10,
    }


def test_the_function_of_decisions_starts_with_its_variables(stack: Stack) -> None:
    function = stack.of_type("AWS::Lambda::Function")["DecisionFunction"]
    variables = stacks.deployed(function["Environment"]["Variables"])

    settings = DecisionSettings.from_env(variables)

    assert function["ImageConfig"]["Command"] == ["decision_function.lambda_handler"]
    assert variables.keys() == {field.name.upper() for field in fields(DecisionSettings)} - {
        "KINESIS_ENDPOINT_URL"
    }
    assert settings.expected_models == {*NAMES.values()}
    assert settings.decision_policy == "s3://models/decisions/policy.json"
    assert settings.decision_deadline_seconds == 60
    assert settings.decisions_table_name == "DecisionsTable"
    assert settings.decisions_stream_name == "DecisionsStream"
    assert settings.rejects_location == "s3://rejectsbucket/rejects"


@pytest.mark.slow
def test_the_policy_in_the_image_is_the_default() -> None:
    function = stacks.stack(DecisionPolicy="").of_type("AWS::Lambda::Function")["DecisionFunction"]

    assert policy.load(function["Environment"]["Variables"]["DECISION_POLICY"]).rules


def test_the_table_is_encrypted_on_demand_and_can_be_restored(stack: Stack) -> None:
    table = stack.of_type("AWS::DynamoDB::Table")["DecisionsTable"]

    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["SSESpecification"] == {
        "SSEEnabled": True,
        "SSEType": "KMS",
        "KMSMasterKeyId": "<Key.Arn>",
    }
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    [index] = table["GlobalSecondaryIndexes"]
    assert (index["IndexName"], index["Projection"]) == ("due", {"ProjectionType": "ALL"})


def test_a_failed_sweep_is_left_to_the_next_one(stack: Stack) -> None:
    configs = stack.of_type("AWS::Lambda::EventInvokeConfig").values()

    [config] = [one for one in configs if one["FunctionName"] == "<DecisionFunction>"]
    assert config == {
        "FunctionName": "<DecisionFunction>",
        "Qualifier": "$LATEST",
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {},
    }


def test_a_sweep_runs_every_minute_and_the_function_knows_its_event(stack: Stack) -> None:
    found = stack.of_type("AWS::Scheduler::Schedule")["DecisionSweep"]

    assert found == {
        "Description": "Decides the rides whose deadline has passed",
        "ScheduleExpression": "rate(1 minute)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "State": "ENABLED",
        "Target": {
            "Arn": "<DecisionFunction.Arn>",
            "RoleArn": "<DecisionSweepRole.Arn>",
            "Input": '{"scheduled_time": "<aws.scheduler.scheduled-time>"}',
            "RetryPolicy": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60},
        },
    }
    assert 'SCHEDULED = "scheduled_time"' in (ROOT / "decision_function.py").read_text()


@pytest.mark.slow
def test_without_expected_models_there_are_no_decisions(stack: Stack) -> None:
    none = stacks.stack(ExpectedModels="")

    missing = stack.resources.keys() - none.resources.keys()
    assert missing
    assert all(name.startswith("Decision") for name in missing)
    assert not [name for name in none.resources if name.startswith("Decision")]


# --- what is kept ---------------------------------------------------------------------------


def test_streams_are_encrypted(stack: Stack) -> None:
    for properties in stack.of_type("AWS::Kinesis::Stream").values():
        assert properties["StreamEncryption"] == {"EncryptionType": "KMS", "KeyId": "<Key.Arn>"}


def test_buckets_are_encrypted_and_private_and_expire_objects(stack: Stack) -> None:
    days = {"RejectsBucket": 30, "ArchiveBucket": 90}
    policies = stack.of_type("AWS::S3::BucketPolicy")
    for name, bucket in stack.of_type("AWS::S3::Bucket").items():
        [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"] == {
            "SSEAlgorithm": "aws:kms",
            "KMSMasterKeyID": "<Key.Arn>",
        }
        assert list(bucket["PublicAccessBlockConfiguration"].values()) == [True] * 4
        [forget] = bucket["LifecycleConfiguration"]["Rules"]
        assert (forget["Status"], forget["ExpirationInDays"]) == ("Enabled", days.pop(name))
        [deny] = policies[f"{name}Policy"]["PolicyDocument"]["Statement"]
        assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
        assert deny["Resource"] == [f"<{name}.Arn>", f"<{name}.Arn>/*"]
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": False}}
    assert not days


def test_resources_with_data_are_retained(stack: Stack) -> None:
    kinds = {"AWS::S3::Bucket", "AWS::Kinesis::Stream", "AWS::KMS::Key", "AWS::DynamoDB::Table"}
    for resource in stack.resources.values():
        if resource["Type"] in kinds:
            assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
            assert resource["UpdateReplacePolicy"] == "Retain"


STATEFUL = {
    "AlarmTopic": "AWS::SNS::Topic",  # whose subscriptions somebody confirmed
    "ArchiveBucket": "AWS::S3::Bucket",
    "DecisionsStream": "AWS::Kinesis::Stream",
    "DecisionsTable": "AWS::DynamoDB::Table",
    "Key": "AWS::KMS::Key",
    "PredictionsStream": "AWS::Kinesis::Stream",
    "RejectsBucket": "AWS::S3::Bucket",
    "RideEventsStream": "AWS::Kinesis::Stream",
}
"""Resources with data.  Their logical ids stay: another id would be a resource without the data."""


def test_resources_with_data_keep_their_logical_ids(stack: Stack) -> None:
    kinds = {*STATEFUL.values()}
    found = {name: it["Type"] for name, it in stack.resources.items() if it["Type"] in kinds}

    assert found == STATEFUL


def test_both_streams_are_archived(stack: Stack) -> None:
    functions = stack.of_type("AWS::Lambda::Function")
    for which in ("RideEvents", "Predictions"):
        function = functions[f"{which}Archive"]
        environment = stacks.deployed(function["Environment"]["Variables"])

        assert function["ImageConfig"]["Command"] == ["archive_function.lambda_handler"]
        assert function["Role"] == f"<{which}ArchiveRole.Arn>"
        settings = ArchiveSettings.from_env(environment)
        assert settings.archive_location == "s3://archivebucket"
        assert environment.keys() == {field.name.upper() for field in fields(ArchiveSettings)}


def test_the_archive_loses_no_record_and_does_not_divide_a_shard(stack: Stack) -> None:
    """Readers tell from the names which lines two objects share; so a shard must not be divided."""
    mappings = stack.of_type("AWS::Lambda::EventSourceMapping")
    for which in ("RideEvents", "Predictions"):
        assert mappings[f"{which}ArchiveRecords"] == {
            "EventSourceArn": f"<{which}Stream.Arn>",
            "FunctionName": f"<{which}Archive>",
            "StartingPosition": "TRIM_HORIZON",
            "Enabled": True,
            "BatchSize": 10_000,
            "MaximumBatchingWindowInSeconds": 300,
            "ParallelizationFactor": 1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "BisectBatchOnFunctionError": True,
            "MaximumRetryAttempts": -1,
            "MaximumRecordAgeInSeconds": 6 * 60 * 60,
            "DestinationConfig": {"OnFailure": {"Destination": "<RejectsBucket.Arn>"}},
            "MetricsConfig": {"Metrics": ["EventCount"]},
        }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("archive", "archived"),
    [
        ("Both", {"RideEvents", "Predictions"}),
        ("RideEvents", {"RideEvents"}),
        ("Predictions", {"Predictions"}),
        ("None", set()),
    ],
)
def test_a_parameter_says_which_streams_are_archived(archive: str, archived: set[str]) -> None:
    mappings = stacks.stack(Archive=archive, Batch="Off").of_type("AWS::Lambda::EventSourceMapping")

    turned_on = {
        name.removesuffix("ArchiveRecords")
        for name, mapping in mappings.items()
        if name.endswith("ArchiveRecords") and mapping["Enabled"]
    }
    assert turned_on == archived


# --- what operators see ---------------------------------------------------------------------


def test_a_stack_has_metrics_of_its_own(stack: Stack) -> None:
    """Two stacks of one account may not share metrics: the faults of one would roll back the other.

    The functions write to the namespace with the stack's name, and nothing else is looked at.
    """
    functions = stack.of_type("AWS::Lambda::Function")
    kinds: dict[str, type[Settings | ScheduleSettings | ArchiveSettings | DecisionSettings]] = {
        "DurationScorer": Settings,
        "CostScorer": Settings,
        "BatchFunction": ScheduleSettings,
        "RideEventsArchive": ArchiveSettings,
        "PredictionsArchive": ArchiveSettings,
        "DecisionFunction": DecisionSettings,
    }
    for name, kind in kinds.items():
        variables = stacks.deployed(functions[name]["Environment"]["Variables"])
        settings = kind.from_env(variables)
        assert (
            Destination(settings.powertools_metrics_namespace, settings.powertools_service_name)
            == METRICS
        )
    namespaces = {namespace for _, _, namespace, _, _ in watched(stack)}
    assert {name for name in namespaces if not name.startswith("AWS/")} == {METRICS.namespace}
    bodies = [
        board["DashboardBody"] for board in stack.of_type("AWS::CloudWatch::Dashboard").values()
    ]
    searched = {name for body in bodies for name in re.findall(r"SEARCH\('{(.*?),service", body)}
    assert searched == {f'\\"{METRICS.namespace}\\"'}


@pytest.mark.slow
def test_the_namespace_of_metrics_is_a_parameter() -> None:
    other = stacks.stack(MetricsNamespace="Taxis")

    variables = other.resources["DurationScorer"]["Properties"]["Environment"]["Variables"]
    assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "Taxis/rides"
    namespaces = {namespace for _, _, namespace, _, _ in watched(other)}
    assert {name for name in namespaces if not name.startswith("AWS/")} == {"Taxis/rides"}


def test_alarms_and_dashboards_name_metrics_that_exist_by_their_dimensions(stack: Stack) -> None:
    written = [line(), line(telemetry.REPLAY), run_line(), *decision_lines()]

    for where, model, namespace, metric, dimensions in watched(stack):
        if namespace.startswith("AWS/"):
            [(name, value)] = dimensions.items()
            assert name == DIMENSIONS_OF_AWS[namespace, metric], where
            assert value in watchable(name, model or where), where
        elif "stream" in dimensions:
            stream_name = f"<{where.partition('Archive')[0]}Stream>"
            assert dimensions == {"service": METRICS.service, "stream": stream_name}, where
            of_the_line = dimensions | {"stream": archive_line()["stream"]}
            assert cloudwatch.values([archive_line()], namespace, metric, of_the_line), where
        elif model:
            assert dimensions["model"] == NAMES[model], where
            of_the_line = dimensions | {"model": line()["model"]}
            if version := dimensions.get("function_version"):
                assert re.fullmatch(rf"<{model}ScorerVersion\w+\.Version>", version), where
                of_the_line["function_version"] = line()["function_version"]
            assert cloudwatch.values(written, namespace, metric, of_the_line), where
        else:
            assert cloudwatch.values(written, namespace, metric, dimensions), where


def test_a_replay_sets_off_no_alarm(stack: Stack) -> None:
    """Its rides are old, so their latency is an hour, and rides that are still invalid are many."""
    for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
        for metric in alarm_metrics(alarm):
            dimensions = {d["Name"]: d["Value"] for d in metric.get("Dimensions", [])}
            seen = [
                value
                for model in NAMES.values()
                for value in cloudwatch.values(
                    [line(telemetry.REPLAY) | {"model": model}],
                    metric["Namespace"],
                    metric["MetricName"],
                    dimensions,
                )
            ]
            assert bool(seen) == name.endswith("ReplaysUnseen"), name


def watchable(dimension: str, model: str) -> set[str]:
    """The values that *dimension* may have in an alarm or dashboard of *model*, or of a stream."""
    return {
        "FunctionName": {
            f"<{model}Scorer>",
            "<BatchFunction>",
            "<DecisionFunction>",
            *ARCHIVES,
        },
        "TableName": {"<DecisionsTable>"},
        "QueueName": {"<BatchGivenUpQueue.QueueName>"},
        "EventSourceMappingUUID": {
            f"<{model}ScorerRides>",
            "<RideEventsArchiveRecords>",
            "<PredictionsArchiveRecords>",
            "<DecisionFunctionPredictions>",
        },
        "StreamName": {"<RideEventsStream>", "<PredictionsStream>", "<DecisionsStream>"},
    }[dimension]


def watched(stack: Stack) -> Iterator[tuple[str, str, str, str, dict[str, str]]]:
    """Where, of which model, namespace, metric and dimensions."""
    for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
        for metric in alarm_metrics(alarm):
            dimensions = {d["Name"]: d["Value"] for d in metric.get("Dimensions", [])}
            yield name, model_of(name), metric["Namespace"], metric["MetricName"], dimensions
    for name, dashboard in stack.of_type("AWS::CloudWatch::Dashboard").items():
        for widget in json.loads(dashboard["DashboardBody"])["widgets"]:
            for row in widget["properties"].get("metrics", []):
                if isinstance(row[0], str):
                    namespace, metric, *rest = row[:-1]
                    dimensions = dict(zip(rest[::2], rest[1::2], strict=True))
                    yield name, model_of(name), namespace, metric, dimensions


def model_of(name: str) -> str:
    return next((model for model in MODELS if name.startswith(model)), "")


def alarm_metrics(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    if "Metrics" not in alarm:
        return [alarm]
    return [entry["MetricStat"]["Metric"] for entry in alarm["Metrics"] if "MetricStat" in entry]


ALARMS = {
    "IteratorAge": {"IteratorAge"},
    "Errors": {"Errors"},
    "Throttles": {"Throttles"},
    "GivenUp": {"OnFailureDestinationDeliveredEventCount"},
    "Dropped": {"DroppedEventCount"},
    "DestinationFailures": {"DestinationDeliveryFailures"},
    "ToRetry": {"to_retry"},
    "Latency": {"latency_ms"},
    "Rejects": {"received", "rejected"},
    "MeanPrediction": {"prediction_mean"},
    "CanaryMean": {"prediction_mean"},
    "Invoked": {"Invocations"},
    "Unseen": {"received"},
    "ReplaysUnseen": {"received"},
}
PARTS = {
    "RidesArrive",
    *(f"{model}{name}" for model in MODELS for name in ("Invoked", "Unseen", "ReplaysUnseen")),
}
"""The alarms that only composite alarms look at."""
COMPOSITES = {
    "Silence": 'ALARM("<RidesArrive>") AND ALARM("<{}Unseen>") AND NOT ALARM("<{}Invoked>")',
    "LogsDark": 'ALARM("<{}Invoked>") AND ALARM("<{}Unseen>") AND ALARM("<{}ReplaysUnseen>")',
}
OF_STREAMS = {
    "Throttled": {"WriteProvisionedThroughputExceeded": "<{}Stream>"},
    "ReadThrottled": {"ReadProvisionedThroughputExceeded": "<{}Stream>"},
    "ArchiveLate": {"IteratorAge": "<{}Archive>"},
    "ArchiveFails": {"Errors": "<{}Archive>", "archive_to_retry": "<{}Stream>"},
    "ArchiveGivenUp": {"OnFailureDestinationDeliveredEventCount": "<{}ArchiveRecords>"},
    "ArchiveDropped": {"DroppedEventCount": "<{}ArchiveRecords>"},
    "ArchiveDestinationFailures": {"DestinationDeliveryFailures": "<{}Archive>"},
}
"""Alarm of a stream -> its metrics, and the resource in the last dimension of each."""
OF_RIDES = {"RidesArrive", "ProducersSilent"}
"""The alarms of the rides on the stream, whatever the model."""
OF_RUNS = {
    "BatchMissing": {"batch_runs"},
    "BatchLate": {"batch_delay_seconds"},
    "BatchRejects": {"batch_rows", "batch_rejected"},
    "BatchGivenUp": {"ApproximateNumberOfMessagesVisible"},
    "DecisionsIteratorAge": {"IteratorAge"},
    "DecisionsErrors": {"Errors"},
    "DecisionsThrottles": {"Throttles"},
    "DecisionsGivenUp": {"OnFailureDestinationDeliveredEventCount"},
    "DecisionsToRetry": {"to_retry"},
    "DecisionsRejects": {"received", "rejected"},
    "DecisionsIncomplete": {"decided", "swept"},
    "DecisionsSweepMissing": {"sweeps"},
}
"""The alarms of scheduled runs and of decisions, and their metrics."""
SILENT = {"BatchMissing", "DecisionsSweepMissing", "ProducersSilent"}
"""The alarms that are about silence, besides those whose name ends with ``Unseen``."""


def test_every_alarm_monitors_the_metric_of_its_name(stack: Stack) -> None:
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    expected = {f"{model}{name}" for model in MODELS for name in ALARMS}
    expected |= {f"{which}{name}" for which in ("RideEvents", "Predictions") for name in OF_STREAMS}
    assert alarms.keys() == expected | OF_RUNS.keys() | OF_RIDES
    for name in OF_RIDES:
        assert alarms[name]["MetricName"] == "IncomingRecords"
        assert alarms[name]["Dimensions"][0]["Value"] == "<RideEventsStream>"

    for model in MODELS:
        for name, metrics in ALARMS.items():
            found = {metric["MetricName"] for metric in alarm_metrics(alarms[f"{model}{name}"])}
            assert found == metrics
        compared = [
            {dimension["Name"] for dimension in metric["Dimensions"]}
            for metric in alarm_metrics(alarms[f"{model}CanaryMean"])
        ]
        assert compared == [{"service", "model"}, {"service", "model", "function_version"}]
    for name, metrics in OF_RUNS.items():
        assert {metric["MetricName"] for metric in alarm_metrics(alarms[name])} == metrics
    for which in ("RideEvents", "Predictions"):
        for name, expected_metrics in OF_STREAMS.items():
            found_metrics = {
                metric["MetricName"]: metric["Dimensions"][-1]["Value"]
                for metric in alarm_metrics(alarms[f"{which}{name}"])
            }
            assert found_metrics == {
                metric: resource.format(which) for metric, resource in expected_metrics.items()
            }


def test_every_alarm_notifies_and_is_documented(stack: Stack) -> None:
    runbook = (ROOT / "docs/runbook.md").read_text()
    headings = {name.lower() for name in re.findall(r"^### (\w+)", runbook, re.MULTILINE)}
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    composites = stack.of_type("AWS::CloudWatch::CompositeAlarm")

    for name, alarm in (alarms | composites).items():
        if name in PARTS:
            assert not alarm.keys() & {"AlarmActions", "OKActions"}, name
        else:
            assert alarm["AlarmActions"] == alarm["OKActions"] == ["<AlarmTopic>"], name
        anchor = alarm["AlarmDescription"].rpartition("docs/runbook.md#")[2]
        assert anchor in headings, name
        assert name.lower().endswith(anchor) or name in PARTS
    for name, alarm in alarms.items():
        silent = name in SILENT or name.endswith("Unseen")
        assert alarm["TreatMissingData"] == ("breaching" if silent else "notBreaching"), name


def test_a_silent_function_and_dark_logs_are_noticed_without_any_earlier_metric(
    stack: Stack,
) -> None:
    """An alarm that takes missing data for breaching needs no metric that has ever existed."""
    composites = stack.of_type("AWS::CloudWatch::CompositeAlarm")
    assert composites.keys() == {f"{model}{name}" for model in MODELS for name in COMPOSITES}

    for model in MODELS:
        for name, rule in COMPOSITES.items():
            assert composites[f"{model}{name}"]["AlarmRule"] == rule.replace("{}", model)
    for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
        if name not in PARTS:
            continue
        assert (alarm["Period"], alarm["EvaluationPeriods"]) == (60, 5)
        if name.endswith("Unseen"):
            assert (alarm["Statistic"], alarm["ComparisonOperator"]) == (
                "SampleCount",
                "LessThanThreshold",
            )
            assert alarm["Threshold"] == 1
        else:  # a single minute with rides may be over before its line is a metric
            assert alarm["DatapointsToAlarm"] == 3


def test_alarm_thresholds_follow_the_parameters(stack: Stack) -> None:
    alarms = stack.of_type("AWS::CloudWatch::Alarm")

    assert alarms["DurationLatency"]["Threshold"] == 15000
    assert alarms["DurationLatency"]["ExtendedStatistic"] == "p99"
    assert alarms["DurationRejects"]["Threshold"] == 5
    assert alarms["DurationIteratorAge"]["Threshold"] == 60_000
    for name, alarm in alarms.items():
        if name not in SILENT and not name.endswith("Unseen"):
            assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        names = {entry["Id"] for entry in alarm.get("Metrics", []) if "MetricStat" in entry}
        for entry in alarm.get("Metrics", []):
            used = set(re.findall(r"\b[a-z]+\b", entry.get("Expression", "")))
            assert used <= names, "an expression of metrics that the alarm has"


def test_silent_producers_are_noticed_after_the_minutes_of_a_parameter(stack: Stack) -> None:
    silent = stack.of_type("AWS::CloudWatch::Alarm")["ProducersSilent"]

    assert (silent["Statistic"], silent["ComparisonOperator"]) == ("Sum", "LessThanThreshold")
    assert (silent["Period"], int(silent["EvaluationPeriods"]), silent["Threshold"]) == (60, 60, 1)


@pytest.mark.slow
def test_what_counts_as_silence_is_a_parameter() -> None:
    night = stacks.stack(SilentMinutes="480").of_type("AWS::CloudWatch::Alarm")
    never = stacks.stack(SilentMinutes="0").of_type("AWS::CloudWatch::Alarm")

    assert night["ProducersSilent"]["EvaluationPeriods"] == "480"
    assert "ProducersSilent" not in never


def canary_minute(factor: float) -> list[dict[str, Any]]:
    """The lines of a minute in which one batch of ten goes to a version that answers differently.

    Version 7 answers *factor* times what version 6 answers.
    """

    def answered(version: str, factor: float) -> dict[str, Any]:
        model = FakeModel(ask=lambda rides: Answers(factor * by_distance(rides).values))
        report = stream.process(
            kinesis_event(payload(1), payload(2, trip_distance=1.5)),
            model=model,
            target=Target(),
            publish=MemoryPublisher(),
            keep=MemoryRejects(),
            time_left=lambda: 60.0,
        )
        found: dict[str, Any] = json.loads(
            batch_line(report, Invocation("a-request", version), METRICS)
        )
        return found

    return [answered("6", 1.0) for _ in range(9)] + [answered("7", factor)]


@pytest.mark.parametrize(
    ("factor", "stopped"), [(0.5, True), (2.0, True), (1.0, False), (0.8, False), (1.25, False)]
)
def test_a_version_that_answers_half_or_double_does_not_pass_the_canary(
    factor: float, stopped: bool
) -> None:
    alarm = stacks.stack().of_type("AWS::CloudWatch::Alarm")["DurationCanaryMean"]
    lines = canary_minute(factor)

    averages: dict[str, float] = {}
    for entry in (entry for entry in alarm["Metrics"] if "MetricStat" in entry):
        assert (entry["MetricStat"]["Stat"], entry["MetricStat"]["Period"]) == ("Average", 60)
        metric = entry["MetricStat"]["Metric"]
        dimensions = {d["Name"]: d["Value"] for d in metric["Dimensions"]}
        if "function_version" in dimensions:
            dimensions["function_version"] = "7"
        values = cloudwatch.values(lines, metric["Namespace"], metric["MetricName"], dimensions)
        averages[entry["Id"]] = sum(values) / len(values)
    [expression] = [entry["Expression"] for entry in alarm["Metrics"] if "Expression" in entry]

    assert cloudwatch.condition(expression, averages) == stopped
    assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (5, 3)


def test_the_canary_alarm_knows_its_version_before_traffic_moves() -> None:
    """The alias waits for its deployment group, that for its alarms, and they for the version."""
    template = stacks.transformed(stacks.PARAMETERS)["Resources"]
    for model in MODELS:
        alias = template[f"{model}ScorerAliaslive"]
        group = template[f"{model}ScorerDeploymentGroup"]
        [version] = [
            name
            for name, resource in template.items()
            if resource["Type"] == "AWS::Lambda::Version" and name.startswith(model)
        ]
        shift = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert shift["DeploymentGroupName"] == {"Ref": f"{model}ScorerDeploymentGroup"}
        assert {"Name": {"Ref": f"{model}CanaryMean"}} in (
            group["Properties"]["AlarmConfiguration"]["Alarms"]
        )
        newest = json.dumps(template[f"{model}CanaryMean"]["Properties"]["Metrics"])
        assert json.dumps({"Fn::GetAtt": [version, "Version"]}) in newest


@pytest.mark.slow
def test_an_emergency_deployment_needs_neither_codedeploy_nor_silent_alarms() -> None:
    """CloudFormation moves the alias itself, from whatever version it points to."""
    emergency = stacks.stack(Deployment="Emergency")

    kinds = {resource["Type"] for resource in emergency.resources.values()}
    assert not [kind for kind in kinds if kind.startswith("AWS::CodeDeploy::")]
    for model in MODELS:
        alias = emergency.resources[f"{model}ScorerAliaslive"]
        assert "UpdatePolicy" not in alias
        mapping = emergency.resources[f"{model}ScorerRides"]["Properties"]
        assert mapping["FunctionName"] == f"<{model}ScorerAliaslive>"


def test_alarms_may_publish_and_the_topic_has_subscribers(stack: Stack) -> None:
    [statement] = stack.resources["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert (statement["Action"], statement["Resource"]) == ("sns:Publish", "<AlarmTopic>")
    assert stack.resources["AlarmTopic"]["Properties"]["KmsMasterKeyId"] == "<Key.Arn>"
    assert stack.resources["AlarmMail"]["Properties"]["Endpoint"] == "night@example.org"

    key = stack.resources["Key"]["Properties"]["KeyPolicy"]["Statement"]
    by_sid = {part["Sid"]: part for part in key}
    alarms = by_sid["AlarmsMayBePublished"]
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert set(alarms["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}
    of_this_account = {"StringEquals": {"aws:SourceAccount": "000000000000"}}
    assert alarms["Condition"] == statement["Condition"] == of_this_account
    logs = by_sid["LogsMayBeWritten"]
    assert logs["Principal"] == {"Service": "logs.eu-west-1.amazonaws.com"}
    assert set(logs["Action"]) == USE_A_LOG_KEY
    [pattern] = logs["Condition"]["ArnLike"].values()
    for group in stack.of_type("AWS::Logs::LogGroup").values():
        assert group["LogGroupName"].startswith(pattern.rpartition("log-group:")[2].rstrip("*"))


def test_a_dashboard_follows_the_data_flow_from_top_to_bottom(stack: Stack) -> None:
    names = {
        alarm["AlarmName"]
        for kind in ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
        for name, alarm in stack.of_type(kind).items()
        if name not in PARTS
    }
    for model in MODELS:
        body = stack.of_type("AWS::CloudWatch::Dashboard")[f"{model}Dashboard"]["DashboardBody"]
        widgets = json.loads(body)["widgets"]
        headings = [w["properties"]["markdown"] for w in widgets if w["type"] == "text"]

        assert [w["y"] for w in widgets] == sorted(w["y"] for w in widgets)
        assert [heading[:4] for heading in headings] == [f"## {n}" for n in range(1, 6)]
        shown = set(re.findall(r'alarm:([\w-]+)"', body))
        assert shown <= names
        assert {name for name in names if f"-{model}" in name} <= shown
        of_streams = re.findall(r'[<-](?:RideEvents|Predictions)(\w+)(?:\.Arn>)?"', body)
        of_streams = [name for name in of_streams if not name.startswith("Stream")]
        assert Counter(of_streams) == dict.fromkeys(OF_STREAMS, 2)


# --- other parameters -----------------------------------------------------------------------


@pytest.mark.slow
def test_one_model_is_the_default_and_a_parameter_adds_another(stack: Stack) -> None:
    one = stacks.stack(Models="Duration")

    assert "CostScorerRides" not in one.of_type("AWS::Lambda::EventSourceMapping")
    duration = {name for name in stack.resources if not name.startswith("Cost")}
    assert duration == one.resources.keys()


@pytest.mark.slow
def test_another_release_publishes_new_versions(stack: Stack) -> None:
    other = stacks.stack(Release="1669154401")

    versions = set(stack.of_type("AWS::Lambda::Version"))
    assert len(versions) == len(MODELS)
    assert not versions & set(other.of_type("AWS::Lambda::Version"))


REFUSED: list[tuple[dict[str, str], str]] = [
    ({"Release": "0000000000"}, "Set Release to a new value"),
    ({"DurationModelSha256": ""}, "Set DurationModelSha256"),
    ({"CostModelSha256": ""}, "Set CostModelSha256"),
    ({"Models": "Duration,Costs"}, "Set Models to Duration, Cost or Duration,Cost"),
    ({"CostModel": ""}, "Models contains Cost, so set CostModel"),
    ({"DurationModel": ""}, "Models contains Duration, so set DurationModel"),
    ({"Models": "Cost", "DurationModel": ""}, "Batch scores durations, so set DurationModel"),
    ({"ModelBucket": ""}, "The image contains one model, so two models need ModelBucket"),
    ({"PredictionsStreamName": "ride_events"}, "to different names"),
    ({"DecisionsStreamName": "ride_events"}, "Set DecisionsStreamName to a name of its own"),
    ({"DecisionsStreamName": "ride_predictions"}, "Set DecisionsStreamName to a name of its own"),
    ({"ModelBucket": ""}, "DecisionPolicy is a key in ModelBucket"),
    ({"ExpectedModels": "one, two"}, "ExpectedModels"),
    ({"DecisionDeadlineSeconds": "0"}, "DecisionDeadlineSeconds"),
    ({"RecordAgeSeconds": "86400"}, "RecordAgeSeconds is not less than StreamRetentionHours"),
    (
        {"RecordAgeSeconds": "604800", "StreamRetentionHours": "168"},
        "RecordAgeSeconds is not less than StreamRetentionHours",
    ),
    ({"RecordAgeSeconds": "30"}, "RecordAgeSeconds"),
    ({"LatencyMilliseconds": "0"}, "LatencyMilliseconds"),
    ({"LatencyMilliseconds": "1000"}, "LatencyMilliseconds is not more than BatchWindowSeconds"),
    ({"BatchWindowSeconds": "60"}, "LatencyMilliseconds is not more than BatchWindowSeconds"),
    ({"RejectsPercent": "100"}, "RejectsPercent"),
    ({"DurationModel": "1/duration/"}, "DurationModel"),
    ({"Archive": "Predictions"}, "batches on a schedule read the archive of rides"),
    ({"Archive": "None"}, "batches on a schedule read the archive of rides"),
    ({"Archive": "Rides"}, "Archive"),
]


@pytest.mark.parametrize(("parameters", "reason"), REFUSED)
def test_parameters_that_cannot_work_are_refused(parameters: dict[str, str], reason: str) -> None:
    assert any(reason in each for each in stacks.refusals(**PINNED | parameters))


def test_every_assertion_of_the_rules_has_a_case(stack: Stack) -> None:
    asserted = [
        assertion["AssertDescription"]
        for rule in stack.rules.values()
        for assertion in rule["Assertions"]
    ]

    assert asserted
    for description in asserted:
        assert any(reason in description for _, reason in REFUSED), description


PINNED = {"DurationModelSha256": "0" * 64, "CostModelSha256": "f" * 64}


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"Models": "Duration", "CostModel": "", "CostModelSha256": ""},
        {
            "Models": "Duration",
            "ModelBucket": "",
            "DurationModel": "",
            "Batch": "Off",
            "DecisionPolicy": "",
        },
        {"ExpectedModels": ""},
        {"RecordAgeSeconds": "604800", "StreamRetentionHours": "192"},
        {"BatchWindowSeconds": "300", "LatencyMilliseconds": "600000"},
        {"RejectsPercent": "0"},
        {"Archive": "RideEvents"},
        {"Archive": "None", "Batch": "Off"},
    ],
)
def test_parameters_that_work_are_accepted(parameters: dict[str, str]) -> None:
    assert stacks.refusals(**PINNED | parameters) == []


def test_rules_refuse_every_record_age_and_latency_without_sense() -> None:
    declared = stacks.transformed(stacks.PARAMETERS)["Parameters"]

    def pairs(one: str, other: str) -> Iterator[tuple[int, int]]:
        for first in declared[one]["AllowedValues"]:
            yield from ((first, second) for second in declared[other]["AllowedValues"])

    for age, hours in pairs("RecordAgeSeconds", "StreamRetentionHours"):
        refused = stacks.refusals(
            **PINNED, RecordAgeSeconds=str(age), StreamRetentionHours=str(hours)
        )
        assert bool(refused) == (age >= hours * 3600), (age, hours)
    for window, latency in pairs("BatchWindowSeconds", "LatencyMilliseconds"):
        refused = stacks.refusals(
            **PINNED, BatchWindowSeconds=str(window), LatencyMilliseconds=str(latency)
        )
        assert bool(refused) == (latency <= window * 1000), (window, latency)


@pytest.mark.slow
def test_a_model_inside_the_image_needs_no_bucket() -> None:
    baked = stacks.stack(ModelBucket="", DecisionPolicy="")

    variables = baked.resources["DurationScorer"]["Properties"]["Environment"]["Variables"]
    assert variables["MODEL_LOCATION"] == "/opt/model"
    resources = [r for _, statement in baked.statements() for r in each(statement["Resource"])]
    assert not [resource for resource in resources if "models" in resource]


@pytest.mark.slow
def test_streams_can_be_provisioned_and_concurrency_reserved() -> None:
    other = stacks.stack(StreamMode="PROVISIONED", ShardCount="3", ReservedConcurrency="7")

    rides = other.resources["RideEventsStream"]["Properties"]
    assert (rides["StreamModeDetails"], rides["ShardCount"]) == ({"StreamMode": "PROVISIONED"}, "3")
    scorer = other.resources["DurationScorer"]["Properties"]
    assert scorer["ReservedConcurrentExecutions"] == "7"


def test_on_demand_streams_have_no_shards_to_count(stack: Stack) -> None:
    assert "ShardCount" not in stack.resources["RideEventsStream"]["Properties"]


@pytest.mark.slow
def test_removing_any_resource_fails_a_test() -> None:
    survivors = [what for what, law in mutate_template.tried() if law is None]

    assert survivors == []


def test_a_smoke_test_finds_its_streams_and_bucket_in_the_outputs(stack: Stack) -> None:
    assert set(OUTPUTS) <= stack.outputs
    assert {name for name in stack.outputs if SCORER.fullmatch(name)} == {
        f"{model}FunctionName" for model in MODELS
    }


def test_every_function_runs_the_image_that_make_builds() -> None:
    text, makefile = (
        (stacks.ROOT / "template.yaml").read_text(),
        (stacks.ROOT / "Makefile").read_text(),
    )

    functions = text.count("Type: AWS::Serverless::Function")
    images = re.findall(r"ImageUri: ride-predictions:(\w+)", text)
    assert len(images) == functions
    assert sorted(set(images)) == ["batch", "lambda", "onnx"]
    for image in set(images):
        assert f"-t ride-predictions:{image} " in makefile


def test_dockerignore_admits_every_file_that_the_images_copy() -> None:
    ignored = (stacks.ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copies = re.findall(
        r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )

    copied = {name.partition("/")[0] for line in copies for name in line.split()} - {"."}

    assert "batch_function.py" in copied
    assert copied <= let_in
