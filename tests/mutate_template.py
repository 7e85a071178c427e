"""Takes things away from the stack one by one, and counts how often a test notices.

``python -m tests.mutate_template``: settings of the event source mapping and of the schedule,
dimensions of alarms, permissions, and what protects that which is kept.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from inspect import signature
from typing import Any

from .support import stacks
from .support.stacks import Stack

Path = tuple[str | int, ...]

POLICIES = {"AWS::IAM::Role", "AWS::IAM::RolePolicy", "AWS::KMS::Key", "AWS::SNS::TopicPolicy"}
SETTINGS = {
    "AWS::Lambda::EventSourceMapping": "setting of the mapping",
    "AWS::Lambda::EventInvokeConfig": "setting of the schedule",
    "AWS::Scheduler::Schedule": "setting of the schedule",
}
PROTECTIONS = {
    "AWS::CloudWatch::Alarm": ["AlarmActions", "OKActions", "TreatMissingData"],
    "AWS::CloudWatch::CompositeAlarm": ["AlarmActions", "AlarmRule", "OKActions"],
    "AWS::CodeDeploy::DeploymentGroup": ["AlarmConfiguration", "AutoRollbackConfiguration"],
    "AWS::Kinesis::Stream": ["StreamEncryption"],
    "AWS::Lambda::Function": ["LoggingConfig"],
    "AWS::Logs::LogGroup": ["KmsKeyId", "RetentionInDays"],
    "AWS::S3::Bucket": [
        "BucketEncryption",
        "LifecycleConfiguration",
        "PublicAccessBlockConfiguration",
    ],
    "AWS::S3::BucketPolicy": ["PolicyDocument"],
    "AWS::SQS::Queue": ["MessageRetentionPeriod", "SqsManagedSseEnabled"],
}


def removals(stack: Stack) -> Iterator[tuple[str, Path]]:
    """Yield each part that can be removed: its kind, and its path in the resources."""
    for name, resource in stack.resources.items():
        kind, at = resource["Type"], (name, "Properties")
        properties = resource.get("Properties", {})
        if kind in SETTINGS:
            yield from ((SETTINGS[kind], (*at, key)) for key in properties)
        if kind == "AWS::Scheduler::Schedule":
            yield from ((SETTINGS[kind], (*at, "Target", key)) for key in properties["Target"])
        if kind == "AWS::CloudWatch::Alarm":
            yield from _dimensions(properties, at)
        if kind in POLICIES:
            yield from _permissions(properties, at)
        protections = (key for key in PROTECTIONS.get(kind, []) if key in properties)
        yield from (("protection", (*at, key)) for key in protections)


def _dimensions(node: Any, at: Path) -> Iterator[tuple[str, Path]]:
    for key, value in _items(node):
        if key == "Dimensions":
            yield from (("dimension of an alarm", (*at, key, n)) for n in range(len(value)))
        else:
            yield from _dimensions(value, (*at, key))


def _permissions(node: Any, at: Path) -> Iterator[tuple[str, Path]]:
    for key, value in _items(node):
        if key == "AssumeRolePolicyDocument":
            continue
        if key in ("Action", "Resource", "Statement") and isinstance(value, list):
            yield from (("permission", (*at, key, n)) for n in range(len(value)))
        if key == "Condition":
            yield "permission", (*at, key)
        yield from _permissions(value, (*at, key))


def _items(node: Any) -> list[tuple[Any, Any]]:
    if isinstance(node, dict):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list) else []


def without(stack: Stack, path: Path) -> Stack:
    resources = deepcopy(stack.resources)
    node: Any = resources
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return replace(stack, resources=resources)


def laws() -> dict[str, Callable[[Stack], None]]:
    """The tests that ask nothing but a stack."""
    names = ("test_template", "test_template_batch", "test_template_queries")
    modules = [import_module(f"tests.project.{name}") for name in names]
    return {
        name: law
        for module in modules
        for name, law in vars(module).items()
        if name.startswith("test_") and list(signature(law).parameters) == ["stack"]
    }


def tried() -> Iterator[tuple[tuple[str, Path], str | None]]:
    """Each removal, and the first law that notices it."""
    stack = stacks.stack()
    for law in laws().values():
        law(stack)
    for kind, path in removals(stack):
        less = without(stack, path)
        yield (kind, path), next((name for name, law in laws().items() if broken(law, less)), None)


def broken(law: Callable[[Stack], None], stack: Stack) -> bool:
    try:
        law(stack)
    except (AssertionError, LookupError, ValueError):
        return True
    return False


def main() -> int:
    total, noticed = Counter[str](), Counter[str]()
    for (kind, path), law in tried():
        total[kind] += 1
        noticed[kind] += law is not None
        if law is None:
            print("not noticed:", *path)
    for kind, count in total.items():
        print(f"{kind:24} {noticed[kind]:4} of {count:4}")
    score = noticed.total() / total.total()
    print(f"{'noticed':24} {noticed.total():4} of {total.total():4}  {score:.0%}")
    return int(score < 1)


if __name__ == "__main__":
    sys.exit(main())
