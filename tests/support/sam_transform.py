"""Prints what CloudFormation makes of the template, for given parameters, as JSON.

Runs in the environment of the SAM CLI, where AWS's own translator is:
``tools/sam/.venv/bin/python tests/support/sam_transform.py '{"Models": "Duration,Cost"}'``

The loops are unrolled by `local.template`, and not by the SAM CLI, which loses what an Fn::Sub
inside a loop says of resources; the CLI's reading of them is checked by `sam validate`.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from boto3.session import Session
from samtranslator.parser import parser
from samtranslator.translator.translator import Translator

sys.path.insert(0, str(Path(__file__).parents[2]))

from local.template import unrolled_template

IMAGE = "000000000000.dkr.ecr.eu-west-1.amazonaws.com/ride-predictions:lambda"


def transformed(parameters: dict[str, str]) -> dict[str, Any]:
    template = unrolled_template(parameters)
    template["Transform"] = "AWS::Serverless-2016-10-31"
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["ImageUri"] = IMAGE  # what `sam build` and `sam package` do
    translator = Translator({}, parser.Parser(), boto_session=Session(region_name="eu-west-1"))
    found: dict[str, Any] = translator.translate(template, parameters)
    return found


if __name__ == "__main__":
    logging.disable()
    print(json.dumps(transformed(json.loads(sys.argv[1]))))
