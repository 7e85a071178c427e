"""The stack that CloudFormation makes of the template, with its functions resolved."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SAM_PYTHON = ROOT / "tools/sam/.venv/bin/python"

PARAMETERS = {
    "Models": "Duration,Cost",
    "ModelBucket": "models",
    "ModelBucketKeyArn": "arn:aws:kms:eu-west-1:000000000000:key/models",
    "DurationModel": "1/duration",
    "CostModel": "1/cost",
    "Release": "1669154400",
    "AlarmEmail": "night@example.org",
    "Batch": "Daily",
    "ExpectedModels": "ride_duration_prediction_model,ride_cost_prediction_model",
    "DecisionPolicy": "decisions/policy.json",
}
PSEUDO = {
    "AWS::AccountId": "000000000000",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackName": "rides",
}
ABSENT = object()

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stack:
    """Resources by logical id.  What AWS alone can know reads ``<Id>`` or ``<Id.Attribute>``."""

    resources: dict[str, Resource]
    rules: dict[str, Any]
    outputs: frozenset[str]
    """The names of what the stack gives out."""

    def of_type(self, kind: str) -> dict[str, Any]:
        """The properties of each resource of a type."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def statements(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The statements of every role: whose, and what."""
        for name, role in self.of_type("AWS::IAM::Role").items():
            for policy in role["Policies"]:
                for statement in policy["PolicyDocument"]["Statement"]:
                    yield name, statement
        for policy in self.of_type("AWS::IAM::RolePolicy").values():
            for statement in policy["PolicyDocument"]["Statement"]:
                yield policy["RoleName"].strip("<>"), statement


def stack(**parameters: str) -> Stack:
    """The stack of two models, with other *parameters* where given."""
    given = PARAMETERS | parameters
    template = transformed(given)
    values = {name: spec.get("Default", "") for name, spec in template["Parameters"].items()}
    resolve = _Resolver(values | given | PSEUDO, template["Mappings"], template["Conditions"])
    there = {
        name: resource
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or resolve.condition(resource["Condition"])
    }
    return Stack(resolve(there), template["Rules"], frozenset(template["Outputs"]))


def refusals(**parameters: str) -> list[str]:
    """Return why CloudFormation refuses the stack of two models with other *parameters*.

    A reason is the description of an assertion, or the name of a parameter with a wrong value.
    """
    template = transformed(PARAMETERS)
    given = PARAMETERS | parameters
    values = {name: str(spec.get("Default", "")) for name, spec in template["Parameters"].items()}
    wrong = [
        name for name, text in given.items() if not _allowed(text, template["Parameters"][name])
    ]
    lists = {"Models": (values | given)["Models"].split(",")}
    resolve = _Resolver(values | given | lists, {}, {})
    return wrong + [
        assertion["AssertDescription"]
        for rule in template["Rules"].values()
        if resolve.condition(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}))
        for assertion in rule["Assertions"]
        if not resolve.condition(assertion["Assert"])
    ]


def _allowed(text: str, spec: dict[str, Any]) -> bool:
    """Whether the declaration *spec* of a parameter allows the value *text*."""
    if "AllowedValues" in spec and text not in map(str, spec["AllowedValues"]):
        return False
    if spec["Type"] == "Number":
        return bool(
            spec.get("MinValue", -math.inf) <= float(text) <= spec.get("MaxValue", math.inf)
        )
    return bool(re.fullmatch(spec.get("AllowedPattern", ".*"), text))


def transformed(given: Mapping[str, str]) -> dict[str, Any]:
    """The template after SAM's transform for these parameters; intrinsic functions stay."""
    found: dict[str, Any] = json.loads(_transformed(json.dumps(given, sort_keys=True)))
    return found


@cache
def _transformed(parameters: str) -> str:
    return subprocess.run(
        [SAM_PYTHON, ROOT / "tests/support/sam_transform.py", parameters],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@dataclass(frozen=True, slots=True)
class _Resolver:
    values: Mapping[str, Any]
    mappings: Mapping[str, Any]
    conditions: Mapping[str, Any]

    def __call__(self, node: Any) -> Any:
        if isinstance(node, list):
            return [found for item in node if (found := self(item)) is not ABSENT]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(name, argument)] = node.items()
            if name == "Ref":
                return ABSENT if argument == "AWS::NoValue" else self._ref(argument)
            if name.startswith("Fn::"):
                return self._function(name, argument)
        return {key: found for key, item in node.items() if (found := self(item)) is not ABSENT}

    def condition(self, test: Any) -> bool:
        if isinstance(test, str):
            return self.condition(self.conditions[test])
        [(name, argument)] = test.items()
        if name == "Condition":
            return self.condition(argument)
        if name == "Fn::Not":
            return not self.condition(argument[0])
        if name == "Fn::And":
            return all(self.condition(part) for part in argument)
        if name == "Fn::Or":
            return any(self.condition(part) for part in argument)
        if name == "Fn::Contains":
            members, one = self(argument)
            return str(one) in map(str, members)
        if name == "Fn::EachMemberIn":
            members, allowed = self(argument)
            return set(members) <= set(allowed)
        assert name == "Fn::Equals"
        one, other = self(argument)
        return str(one) == str(other)

    def _ref(self, name: str) -> Any:
        return self.values.get(name, f"<{name}>")

    def _function(self, name: str, argument: Any) -> Any:
        if name == "Fn::If":
            condition, yes, no = argument
            return self(yes if self.condition(condition) else no)
        if name == "Fn::GetAtt":
            return f"<{'.'.join(argument)}>"
        if name == "Fn::FindInMap":
            mapping, first, second = self(argument)
            return self.mappings[mapping][first][second]
        assert name == "Fn::Sub", name
        text, named = argument if isinstance(argument, list) else (argument, {})
        own = {key: self(value) for key, value in named.items()}
        return re.sub(r"\$\{([^}]+)\}", lambda m: str(own.get(m[1], self._ref(m[1]))), text)


def deployed(variables: dict[str, Any]) -> dict[str, str]:
    """Return environment variables as on AWS, where a resource has a name of its own.

    A bucket gets its logical id in lower case as its name, and any other resource its logical id.
    """
    return {
        name: re.sub(
            r"(s3://)?<(\w+)>",
            lambda found: f"s3://{found[2].lower()}" if found[1] else found[2],
            str(text),
        )
        for name, text in variables.items()
    }
