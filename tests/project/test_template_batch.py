"""The template's batches on a schedule: laws of a stack, as in `test_template`."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest

from model_service.batch.schedule import LENGTHS, last_window
from model_service.settings import BatchSettings, ScheduleSettings

from ..support import stacks
from ..support.stacks import SAM_PYTHON, Stack
from .test_template import each

pytestmark = pytest.mark.skipif(
    not SAM_PYTHON.exists(),
    reason="needs the SAM CLI: make tools/sam/.venv/installed",
)

ARCHIVE_SECONDS = 5 * 60 + 60  # the batching window, and the timeout of the function
SCHEDULES = {
    "Hourly": ("cron(20 * * * ? *)", "hour", 3),
    "Daily": ("cron(20 0 * * ? *)", "day", 26),
    "Monthly": ("cron(20 0 * * ? *)", "month", 26),
}


@pytest.fixture
def stack() -> Stack:
    return stacks.stack()


def test_every_setting_of_the_schedule_is_explicit(stack: Stack) -> None:
    schedule = stack.of_type("AWS::Scheduler::Schedule")["BatchSchedule"]

    assert schedule == {
        "Description": "Scores the last complete hour, day or month of the archive",
        "ScheduleExpression": "cron(20 0 * * ? *)",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "State": "ENABLED",
        "Target": {
            "Arn": "<BatchFunction.Arn>",
            "RoleArn": "<BatchScheduleRole.Arn>",
            "Input": '{"scheduled_time": "<aws.scheduler.scheduled-time>"}',
            "RetryPolicy": {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 3600},
            "DeadLetterConfig": {"Arn": "<BatchGivenUpQueue.Arn>"},
        },
    }


def test_a_failed_run_is_retried_and_then_queued(stack: Stack) -> None:
    configs = stack.of_type("AWS::Lambda::EventInvokeConfig").values()

    [config] = [one for one in configs if one["FunctionName"] == "<BatchFunction>"]
    assert config == {
        "FunctionName": "<BatchFunction>",
        "Qualifier": "$LATEST",
        "MaximumRetryAttempts": 2,
        "MaximumEventAgeInSeconds": 3600,
        "DestinationConfig": {"OnFailure": {"Destination": "<BatchGivenUpQueue.Arn>"}},
    }
    queue = stack.of_type("AWS::SQS::Queue")["BatchGivenUpQueue"]
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60


def test_only_schedules_of_this_account_may_start_a_run(stack: Stack) -> None:
    role = stack.of_type("AWS::IAM::Role")["BatchScheduleRole"]

    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "000000000000"}}


def test_the_function_may_list_only_the_archive_and_its_output(stack: Stack) -> None:
    conditions = {
        resource: statement.get("Condition")
        for role, statement in stack.statements()
        for resource in each(statement["Resource"])
        if role == "BatchFunctionRole" and each(statement["Action"]) == ["s3:ListBucket"]
    }

    assert conditions == {
        "<ArchiveBucket.Arn>": {"StringLike": {"s3:prefix": ["ride_events/*", "scored/*"]}},
        "arn:aws:s3:::models": {
            "StringEquals": {
                "s3:ResourceAccount": "000000000000",
                "s3:prefix": ["1/duration/", "1/cost/"],
            }
        },
    }


def test_the_function_has_the_batch_image_and_the_maximum_timeout(stack: Stack) -> None:
    function = stack.of_type("AWS::Lambda::Function")["BatchFunction"]

    assert function["Timeout"] == 900
    assert function["LoggingConfig"]["LogGroup"] == "<BatchLogs>"
    metadata = stack.resources["BatchFunction"]["Metadata"]
    assert (metadata["DockerBuildTarget"], metadata["DockerTag"]) == ("batch", "batch")


def test_the_variables_of_the_function_are_its_settings(stack: Stack) -> None:
    function = stack.of_type("AWS::Lambda::Function")["BatchFunction"]
    variables = stacks.deployed(function["Environment"]["Variables"])
    settings = [*fields(BatchSettings), *fields(ScheduleSettings)]
    assert variables.keys() == {field.name.upper() for field in settings}

    scoring, schedule = BatchSettings.from_env(variables), ScheduleSettings.from_env(variables)

    assert scoring.model_location == "s3://models/1/duration"
    assert scoring.cost_model_location == "s3://models/1/cost"
    assert schedule.archive_location == "s3://archivebucket/ride_events"
    assert schedule.output_location == "s3://archivebucket/scored"
    assert schedule.batch_window == "day"


def test_a_missing_run_raises_an_alarm(stack: Stack) -> None:
    missing = stack.of_type("AWS::CloudWatch::Alarm")["BatchMissing"]

    assert (missing["ComparisonOperator"], missing["Threshold"]) == ("LessThanThreshold", 1)
    assert missing["TreatMissingData"] == "breaching"
    assert missing["Statistic"] == "Sum"
    hours = missing["EvaluationPeriods"] * missing["Period"] / 3600
    assert 24 < hours <= 7 * 24, "a day between two runs, and a week is all that an alarm sees"


def test_a_late_run_and_mostly_rejected_rides_raise_alarms(stack: Stack) -> None:
    alarms = stack.of_type("AWS::CloudWatch::Alarm")

    assert (alarms["BatchLate"]["Threshold"], alarms["BatchLate"]["Statistic"]) == (3600, "Maximum")
    assert alarms["BatchRejects"]["Threshold"] == 50
    [percent] = [m for m in alarms["BatchRejects"]["Metrics"] if "Expression" in m]
    assert percent["Expression"] == "100 * rejected / rows"
    assert alarms["BatchGivenUp"]["Threshold"] == 0


def test_the_batch_dashboard_shows_the_alarms_of_batch_and_archive(stack: Stack) -> None:
    body = stack.of_type("AWS::CloudWatch::Dashboard")["BatchDashboard"]["DashboardBody"]
    widgets = json.loads(body)["widgets"]

    alarms = stack.of_type("AWS::CloudWatch::Alarm").items()
    ours = ("Batch", "RideEventsArchiveFails")
    names = {alarm["AlarmName"] for name, alarm in alarms if name.startswith(ours)}
    assert set(re.findall(r'alarm:([\w-]+)"', body)) == names
    of_archive = [
        f"RideEventsArchive{alarm}"
        for alarm in ("Late", "GivenUp", "Dropped", "DestinationFailures")
    ]
    assert re.findall(r'"<(\w+)\.Arn>"', body) == of_archive
    assert [w["y"] for w in widgets] == sorted(w["y"] for w in widgets)


@pytest.mark.slow
@pytest.mark.parametrize("often", SCHEDULES)
def test_a_schedule_runs_after_its_window_is_archived(often: str) -> None:
    stack = stacks.stack(Batch=often)
    expression, window, hours = SCHEDULES[often]

    schedule = stack.of_type("AWS::Scheduler::Schedule")["BatchSchedule"]
    assert schedule["ScheduleExpression"] == expression
    variables = stack.of_type("AWS::Lambda::Function")["BatchFunction"]["Environment"]["Variables"]
    assert variables["BATCH_WINDOW"] == window
    assert window in LENGTHS
    missing = stack.of_type("AWS::CloudWatch::Alarm")["BatchMissing"]
    assert missing["EvaluationPeriods"] == hours
    minutes = int(re.findall(r"\d+", expression)[0])
    assert minutes * 60 > ARCHIVE_SECONDS
    at = datetime(2026, 3, 1, 0, minutes, tzinfo=UTC)
    assert last_window(at, window).start < at


@pytest.mark.slow
def test_no_batch_resources_exist_without_a_schedule(stack: Stack) -> None:
    off = stacks.stack(Batch="Off")

    gone = stack.resources.keys() - off.resources.keys()
    assert gone == {name for name in stack.resources if name.startswith("Batch")}
    assert not any("<Batch" in json.dumps(resource) for resource in off.resources.values())


@pytest.mark.slow
def test_one_model_in_the_image_needs_no_bucket() -> None:
    baked = stacks.stack(ModelBucket="")

    variables: dict[str, Any] = baked.of_type("AWS::Lambda::Function")["BatchFunction"][
        "Environment"
    ]["Variables"]
    assert variables["MODEL_LOCATION"] == "/opt/model"
    assert variables["COST_MODEL_LOCATION"] == ""
