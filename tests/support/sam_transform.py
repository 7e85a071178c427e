"""Prints what CloudFormation makes of the template, for given parameters, as JSON.

Runs in the environment of the SAM CLI, where AWS's own translator is:
``tools/sam/.venv/bin/python tests/support/sam_transform.py '{"Models": "Duration,Cost"}'``

The loops are unrolled here, and not by the SAM CLI, which loses what an Fn::Sub inside a loop says
of resources; the CLI's reading of them is checked by `sam validate`.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from boto3.session import Session
from samcli.yamlhelper import yaml_parse
from samtranslator.parser import parser
from samtranslator.translator.translator import Translator

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
LOOP = "Fn::ForEach::"
IMAGE = "000000000000.dkr.ecr.eu-west-1.amazonaws.com/ride-predictions:lambda"


def transformed(parameters: dict[str, str]) -> dict[str, Any]:
    source = yaml_parse(TEMPLATE.read_text())
    defaults = {name: spec.get("Default") for name, spec in source["Parameters"].items()}
    template = unrolled(source, {**defaults, **parameters})
    template["Transform"] = "AWS::Serverless-2016-10-31"
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["ImageUri"] = IMAGE  # what `sam build` and `sam package` do
    translator = Translator({}, parser.Parser(), boto_session=Session(region_name="eu-west-1"))
    found: dict[str, Any] = translator.translate(template, parameters)
    return found


def unrolled(node: Any, parameters: dict[str, Any], names: dict[str, str] | None = None) -> Any:
    """*node* with its loops replaced by what they make, and *names* by their values."""
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


if __name__ == "__main__":
    logging.disable()
    print(json.dumps(transformed(json.loads(sys.argv[1]))))
