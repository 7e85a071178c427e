"""The stack that a CloudFormation makes of the template: that of ministack, on 127.0.0.1.

What its services say of each thing is put into the words of `stacks`: ``<Id>`` for what was made of
Id.  It has to be what the template says, and to keep the laws of `test_template`.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from operate.deployed_stack import DeployedStack, find_stack

from ..mutate_template import laws
from ..support import cfn_yaml, stacks
from ..support.stacks import PARAMETERS, Resource, Stack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not stacks.SAM_PYTHON.exists(),
        reason="needs the SAM CLI: make tools/sam/.venv/installed",
    ),
]

HOST = "127.0.0.1"
REGION, NAME = stacks.PSEUDO["AWS::Region"], stacks.PSEUDO["AWS::StackName"]
OTHER_STREAMS = {
    "RideEventsStreamName": "others",
    "PredictionsStreamName": "of_others",
    "DecisionsStreamName": "decisions_of_others",
}
SECONDS = 30  # to start, to create, to delete, to answer: each

REFUSED = {
    "AWS::CloudWatch::Alarm of Metrics": "ministack makes none of metric math",
    "AWS::CloudWatch::CompositeAlarm": "ministack makes none from a template",
    "AWS::CodeDeploy::Application": "ministack has no CodeDeploy",
    "AWS::CodeDeploy::DeploymentGroup": "ministack has no CodeDeploy",
    "AWS::IAM::RolePolicy": "ministack makes policies inside of roles, and AWS::IAM::Policy",
    "AWS::Logs::QueryDefinition": "ministack saves no queries",
}
"""Resource types that ministack cannot create, with the reason: the test leaves them out."""

FORGOTTEN = {
    "AWS::DynamoDB::Table": {
        "BillingMode",
        "PointInTimeRecoverySpecification",
        "SSESpecification",
        "Tags",
        "TimeToLiveSpecification",
    },
    "AWS::KMS::Key": {"Tags"},
    "AWS::Kinesis::Stream": {"StreamEncryption", "Tags"},
    "AWS::Lambda::EventSourceMapping": {"Enabled", "MetricsConfig"},
    "AWS::Lambda::Function": {"SnapStart", "Tags"},
    "AWS::Logs::LogGroup": {"KmsKeyId", "Tags"},
    "AWS::S3::Bucket": {
        "BucketEncryption",
        "LifecycleConfiguration",
        "OwnershipControls",
        "PublicAccessBlockConfiguration",
        "Tags",
    },
    "AWS::SNS::Topic": {"KmsMasterKeyId", "Tags"},
    "AWS::SQS::Queue": {"SqsManagedSseEnabled", "Tags"},
}
"""Properties that ministack 1.4 accepts but does not store, so this test does not check them."""

LAWS = {name: law for name, law in laws().items() if not hasattr(law, "pytestmark")}
"""The tests of the template, except the slow ones, which also test other stacks."""

ASKED_BY = {"AlarmName", "DashboardName", "LogGroupName", "Name"}
UNNAMED = {"AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::Lambda::Version"}
"""Resource types that the template refers to by a literal name, or does not refer to."""

ARNS = {
    "Queue": f"sqs:{REGION}:000000000000:{{}}",
    "Archive": f"lambda:{REGION}:000000000000:function:{{}}",
    "ArchiveDestinationFailures": f"cloudwatch:{REGION}:000000000000:alarm:{{}}",
    "ArchiveDropped": f"cloudwatch:{REGION}:000000000000:alarm:{{}}",
    "ArchiveGivenUp": f"cloudwatch:{REGION}:000000000000:alarm:{{}}",
    "ArchiveLate": f"cloudwatch:{REGION}:000000000000:alarm:{{}}",
    "Bucket": "s3:::{}",
    "Function": f"lambda:{REGION}:000000000000:function:{{}}",
    "Key": f"kms:{REGION}:000000000000:key/{{}}",
    "Logs": f"logs:{REGION}:000000000000:log-group:{{}}:*",
    "Role": "iam::000000000000:role/{}",
    "Scorer": f"lambda:{REGION}:000000000000:function:{{}}",
    "Stream": f"kinesis:{REGION}:000000000000:stream/{{}}",
    "Table": f"dynamodb:{REGION}:000000000000:table/{{}}",
    "Throttled": f"cloudwatch:{REGION}:000000000000:alarm:{{}}",
}
"""The ARN of a resource, by the end of its logical id; ``{}`` stands for its name."""

Aws = Callable[[str], Any]  # from the name of a service to a client of it
Ids = dict[str, str]  # from Id to what was made of it


# --- ministack ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    home = tmp_path_factory.mktemp("ministack")
    with socket.create_server((HOST, 0)) as found:
        port = found.getsockname()[1]
    environ = {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",  # it would listen on every interface, whatever BIND_HOST says
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{home}/none",  # or it stops the containers of other ministacks
        "STATE_DIR": str(home),
        "TMPDIR": str(home),
        "LOG_LEVEL": "ERROR",
    }
    connect: Any = boto3.client
    with subprocess.Popen([sys.executable, "-m", "ministack"], cwd=home, env=environ) as server:
        try:
            wait(server, port)
            yield partial(
                connect,
                endpoint_url=f"http://{HOST}:{port}",
                region_name=REGION,
                aws_access_key_id="testing",
                aws_secret_access_key="testing",
                config=Config(proxies={}, read_timeout=SECONDS),
            )
        finally:
            server.kill()  # it has nothing to keep


def wait(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with socket.socket() as found:
            if found.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("ministack did not start")


def create(aws: Aws, name: str, resources: dict[str, Resource], **others: str) -> Ids:
    """A stack of these *resources* of the template, with *others* among its parameters."""
    bucket = f"{name.lower()}-template"  # it is too long to go with the call, as on AWS
    s3, formation = aws("s3"), aws("cloudformation")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    template = stacks.transformed(PARAMETERS) | {"Resources": resources}
    s3.put_object(Bucket=bucket, Key="json", Body=json.dumps(template).encode())
    given = (PARAMETERS | others).items()
    formation.create_stack(
        StackName=name,
        TemplateURL=f"{s3.meta.endpoint_url}/{bucket}/json",
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given],
    )
    until(aws, "stack_create_complete", name)
    found = formation.describe_stack_resources(StackName=name)["StackResources"]
    return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}


def until(aws: Aws, done: str, name: str) -> None:
    config = {"Delay": 0.1, "MaxAttempts": SECONDS * 10}
    aws("cloudformation").get_waiter(done).wait(StackName=name, WaiterConfig=config)


def accepted(also: str = "") -> dict[str, Resource]:
    """The resources of the template that ministack makes."""
    refused = REFUSED.keys() - {also}
    resources = stacks.transformed(PARAMETERS)["Resources"].items()
    return {name: resource for name, resource in resources if kind(resource) not in refused}


def kind(resource: Resource) -> str:
    metrics = "Metrics" in resource.get("Properties", {})
    return f"{resource['Type']} of Metrics" if metrics else str(resource["Type"])


# --- what services say, in the words of the template ----------------------------------------


def told(aws: Aws, ids: Ids, name: str, resource: Resource) -> Any:
    """The properties of a thing, as far as the template has them."""
    which = ids[name.removesuffix("Policy")]  # a policy is asked for where it is attached
    found = like(TELL[resource["Type"]](aws, which), resource["Properties"])
    return {key: value for key, value in found.items() if key not in ASKED_BY}


def like(said: Any, template: Any) -> Any:
    """*said*, without what *template* leaves to AWS."""
    if isinstance(said, dict) and isinstance(template, dict):
        return {key: like(said[key], template[key]) for key in template if key in said}
    if isinstance(said, list) and isinstance(template, list) and len(said) == len(template):
        return [like(*pair) for pair in zip(said, template, strict=True)]
    return said


def worded(said: Any, ids: Ids) -> Any:
    text = json.dumps(said)
    for made, word in sorted(words(ids), key=lambda pair: -len(pair[0])):
        # Without the stack's name in it, it may be a part of something else: it has to be alone.
        pattern = re.escape(made) if NAME in made else rf'(?<="){re.escape(made)}(?=\\?")'
        text = re.sub(pattern, word, text)
    return json.loads(text)


def words(ids: Ids) -> Iterator[tuple[str, str]]:
    """Yield the name or ARN of each created resource, and the placeholder that stands for it."""
    for name, resource in stacks.stack().resources.items():
        made = ids.get(name, name)  # for what is left out, ministack takes its Id
        if resource["Type"] == "AWS::SQS::Queue":  # its Ref is its URL
            made = made.rpartition("/")[2]
            yield made, f"<{name}.QueueName>"
        if resource["Type"] not in UNNAMED:
            yield made, f"<{name}>"
        for form in (form for end, form in ARNS.items() if name.endswith(end)):
            yield f"arn:aws:{form.format(made)}", f"<{name}.Arn>"


def ask(service: str, call: str, by: str, answer: str = "") -> Callable[[Aws, str], Any]:
    def asked(aws: Aws, which: str) -> Any:
        found = getattr(aws(service), call)(**{by: which})
        return found[answer] if answer else found

    return asked


def alarm(aws: Aws, name: str) -> Any:
    return aws("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]


def bucket_policy(aws: Aws, bucket: str) -> Any:
    policy = aws("s3").get_bucket_policy(Bucket=bucket)["Policy"]
    return {"Bucket": bucket, "PolicyDocument": json.loads(policy)}


def function(aws: Aws, name: str) -> Any:
    found = aws("lambda").get_function(FunctionName=name)
    found, code = found["Configuration"], {"Code": found["Code"]}
    return found | code | found.get("ImageConfigResponse", {})


def invoke_config(aws: Aws, which: str) -> Any:
    name, _, qualifier = which.rpartition(":")
    found = aws("lambda").get_function_event_invoke_config(FunctionName=name, Qualifier=qualifier)
    return found | {"FunctionName": name, "Qualifier": qualifier}


def key(aws: Aws, which: str) -> Any:
    kms = aws("kms")
    policy = kms.get_key_policy(KeyId=which, PolicyName="default")["Policy"]
    rotation = kms.get_key_rotation_status(KeyId=which)["KeyRotationEnabled"]
    more = {"KeyPolicy": json.loads(policy), "EnableKeyRotation": rotation}
    return kms.describe_key(KeyId=which)["KeyMetadata"] | more


def log_group(aws: Aws, name: str) -> Any:
    found = aws("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]
    return {key[0].upper() + key[1:]: value for key, value in found.items()}


def mapping(aws: Aws, which: str) -> Any:
    found = aws("lambda").get_event_source_mapping(UUID=which)
    arn = found["FunctionArn"]
    is_alias = arn.count(":") > 6
    return found | {"FunctionName": arn if is_alias else arn.rpartition(":")[2]}


def queue(aws: Aws, url: str) -> Any:
    found = aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return {name: int(text) if text.isdigit() else text for name, text in found.items()}


def role(aws: Aws, name: str) -> Any:
    iam = aws("iam")
    names = iam.list_role_policies(RoleName=name)["PolicyNames"]
    policies = [iam.get_role_policy(RoleName=name, PolicyName=policy) for policy in names]
    return iam.get_role(RoleName=name)["Role"] | {"Policies": policies}


def subscription(aws: Aws, arn: str) -> Any:
    found = aws("sns").list_subscriptions()["Subscriptions"]
    return {one["SubscriptionArn"]: one for one in found}[arn]


def table(aws: Aws, name: str) -> Any:
    return aws("dynamodb").describe_table(TableName=name)["Table"]


def topic_policy(aws: Aws, topic: str) -> Any:
    policy = aws("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    return {"Topics": [topic], "PolicyDocument": json.loads(policy)}


TELL = {
    "AWS::CloudWatch::Alarm": alarm,
    "AWS::CloudWatch::Dashboard": ask("cloudwatch", "get_dashboard", "DashboardName"),
    "AWS::DynamoDB::Table": table,
    "AWS::IAM::Role": role,
    "AWS::KMS::Key": key,
    "AWS::Kinesis::Stream": ask(
        "kinesis", "describe_stream_summary", "StreamName", "StreamDescriptionSummary"
    ),
    "AWS::Lambda::EventInvokeConfig": invoke_config,
    "AWS::Lambda::EventSourceMapping": mapping,
    "AWS::Lambda::Function": function,
    "AWS::Logs::LogGroup": log_group,
    "AWS::S3::Bucket": ask("s3", "head_bucket", "Bucket"),
    "AWS::S3::BucketPolicy": bucket_policy,
    "AWS::SNS::Subscription": subscription,
    "AWS::SNS::Topic": ask("sns", "get_topic_attributes", "TopicArn", "Attributes"),
    "AWS::SNS::TopicPolicy": topic_policy,
    "AWS::SQS::Queue": queue,
    "AWS::Scheduler::Schedule": ask("scheduler", "get_schedule", "Name"),
}


# --- the stack ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ids(aws: Aws) -> Ids:
    return create(aws, NAME, accepted())


@pytest.fixture(scope="module")
def said(aws: Aws, ids: Ids) -> dict[str, Resource]:
    """The properties that the emulated services return for each resource, by logical id."""
    return {
        name: worded(told(aws, ids, name, resource), ids)
        for name, resource in stacks.stack().resources.items()
        if name in ids and resource["Type"] in TELL
    }


@pytest.mark.parametrize("kind", TELL)
def test_created_resources_match_the_template(said: dict[str, Resource], kind: str) -> None:
    silent = FORGOTTEN.get(kind, set()) | ASKED_BY
    template = {name: it for name, it in stacks.stack().of_type(kind).items() if name in said}

    assert template
    for name, properties in template.items():
        assert said[name] == {key: properties[key] for key in properties.keys() - silent}, name


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_created_resources_pass_the_tests_of_the_template(
    said: dict[str, Resource], law: Callable[[Stack], None]
) -> None:
    stack = stacks.stack()
    resources = {
        name: resource | {"Properties": resource.get("Properties", {}) | said.get(name, {})}
        for name, resource in stack.resources.items()
    }

    law(replace(stack, resources=resources))


@pytest.mark.parametrize("model", ["Duration", "Cost"])
def test_the_alias_points_to_the_published_version(aws: Aws, ids: Ids, model: str) -> None:
    function = {"FunctionName": ids[f"{model}Scorer"]}

    [_, version] = aws("lambda").list_versions_by_function(**function)["Versions"]
    [alias] = aws("lambda").list_aliases(**function)["Aliases"]

    assert alias["AliasArn"] == ids[f"{model}ScorerAliaslive"]
    assert (alias["Name"], alias["FunctionVersion"]) == ("live", version["Version"])


def test_outputs_name_the_created_resources(aws: Aws, ids: Ids) -> None:
    [stack] = aws("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    rejects = f"s3://{ids['RejectsBucket']}/rejects"

    read = find_stack(aws("cloudformation"), NAME)

    assert read == DeployedStack(
        ids["RideEventsStream"], ids["PredictionsStream"], rejects, models=2
    )
    assert worded(outputs, ids) == {
        "RideEventsStreamName": "<RideEventsStream>",
        "RideEventsStreamArn": "<RideEventsStream.Arn>",
        "RidePredictionsStreamName": "<PredictionsStream>",
        "PredictionsStreamArn": "<PredictionsStream.Arn>",
        "RejectsLocation": "s3://<RejectsBucket>/rejects",
        "GivenUpLocation": "s3://<RejectsBucket>/aws/lambda",
        "ArchiveLocation": "s3://<ArchiveBucket>",
        "BatchLocation": "s3://<ArchiveBucket>/scored",
        "BatchFunctionName": "<BatchFunction>",
        "DecisionFunctionName": "<DecisionFunction>",
        "DecisionsStreamName": "<DecisionsStream>",
        "DecisionsTableName": "<DecisionsTable>",
        "KeyArn": "<Key.Arn>",
        "AlarmTopicArn": "<AlarmTopic>",
        "DurationFunctionName": "<DurationScorer>",
        "CostFunctionName": "<CostScorer>",
    }


def test_only_resources_with_data_outlive_a_deleted_stack(aws: Aws) -> None:
    ids = create(aws, "deleted", accepted(), **OTHER_STREAMS)
    things = [
        (name, resource)
        for name, resource in accepted().items()
        if resource["Type"] in TELL and "Retain" not in resource.get("DeletionPolicy", "")
    ]
    for name, resource in things:
        told(aws, ids, name, resource)

    aws("cloudformation").delete_stack(StackName="deleted")
    until(aws, "stack_delete_complete", "deleted")

    for name, resource in things:
        with pytest.raises((ClientError, LookupError)):
            told(aws, ids, name, resource)


@pytest.mark.parametrize("refused", REFUSED)
def test_only_resources_that_ministack_refuses_are_left_out(aws: Aws, refused: str) -> None:
    name = re.sub("[^A-Za-z]", "", refused)

    with pytest.raises((ClientError, WaiterError)):
        create(aws, name, accepted(refused), **OTHER_STREAMS)


def test_the_bootstrap_stack_makes_the_bucket_and_the_repository(aws: Aws) -> None:
    template = cfn_yaml.read(stacks.ROOT / "bootstrap.yaml")
    del template["Resources"]["Budget"]  # ministack has no budgets
    aws("cloudformation").create_stack(
        StackName="bootstrap",
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": "BudgetEmail", "ParameterValue": "night@example.org"}],
    )
    until(aws, "stack_create_complete", "bootstrap")

    [stack] = aws("cloudformation").describe_stacks(StackName="bootstrap")["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    aws("s3").head_bucket(Bucket=outputs["ModelsBucket"])
    [repository] = aws("ecr").describe_repositories()["repositories"]
    assert repository["repositoryUri"] == outputs["Repository"]
    assert repository["repositoryName"] == "ride-predictions"
