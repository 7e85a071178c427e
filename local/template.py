"""Reads the project's template, and unrolls its loops as CloudFormation does.

``python -m local.template Models=Duration >build/template.json`` prints the unrolled template, for
tools that do not know loops.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from event_source_mapping.settings import Settings, settings_from
from event_source_mapping.template import load, mapping_of

TEMPLATE = Path(__file__).parents[1] / "template.yaml"
LOOP = "Fn::ForEach::"
SCORER = "DurationScorer"


def scorer_settings(rejects_bucket: str, **given: Any) -> tuple[Settings, int]:
    """Return the settings of the scorer's event source mapping, and its timeout in seconds.

    The parameters of the template have their defaults.  *rejects_bucket* stands for the bucket that
    the template creates, and *given* are settings that replace those of the template.
    """
    target = {"OnFailure": {"Destination": f"arn:aws:s3:::{rejects_bucket}"}}
    template = unrolled_template({})
    mapped = mapping_of(template, SCORER, given={"destination_config": target, **given})
    return settings_from(mapped.keywords), mapped.timeout


def unrolled_template(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the project's template with its loops unrolled.

    The parameters of the template have the values in *parameters*, or their defaults.
    """
    source = load(TEMPLATE)
    defaults = {name: spec.get("Default") for name, spec in source["Parameters"].items()}
    found: dict[str, Any] = unrolled(source, {**defaults, **parameters})
    return found


def unrolled(node: Any, parameters: dict[str, Any], names: dict[str, str] | None = None) -> Any:
    """Return *node*, a part of a template, with its loops unrolled.

    *names* are the loop variables around *node*, which are replaced by their values.
    """
    names = names or {}
    if isinstance(node, list):
        return [unrolled(item, parameters, names) for item in node]
    if isinstance(node, str):
        return _named(node, names)
    if not isinstance(node, dict):
        return node
    if node.keys() == {"Ref"} and (name := str(node["Ref"])) in names:
        return names[name]
    found: dict[str, Any] = {}
    for key, value in node.items():
        if not key.startswith(LOOP):
            found[_named(key, names)] = unrolled(value, parameters, names)
            continue
        name, collection, body = value
        if isinstance(collection, dict):
            collection = parameters[collection["Ref"]].split(",")
        for item in collection:
            found |= unrolled(body, parameters, {**names, name: item})
    if found.keys() == {"Fn::Sub"} and isinstance(text := found["Fn::Sub"], str):
        return found if "${" in text else text
    return found


def _named(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(f"${{{name}}}", value)
    return text


def main(arguments: Sequence[str]) -> int:
    """Print the unrolled template as JSON and return the exit code.

    *arguments* are parameters of the template, such as ``Models=Duration``.
    """
    pairs = [argument.partition("=") for argument in arguments]
    if not all(name and equals for name, equals, _ in pairs):
        print("local.template: give parameters as NAME=VALUE", file=sys.stderr)
        return 2
    print(json.dumps(unrolled_template({name: value for name, _, value in pairs}), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
