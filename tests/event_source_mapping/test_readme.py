"""The README shows the example as it is tested, and describes everything that a mapping has."""

from __future__ import annotations

import base64
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from event_source_mapping.faults import KINDS, TIMES
from event_source_mapping.pytest_plugin import OTHERS, KinesisMapping
from event_source_mapping.settings import Settings
from event_source_mapping.virtual import Invocation, VirtualMapping

from . import course_function, test_course_function

ROOT = Path(__file__).parents[2]
README = ROOT / "event_source_mapping/README.md"
FILE = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)
"""An example that is a file: its name in a comment, and its text."""


def test_the_example_is_the_code_that_is_tested() -> None:
    text = README.read_text()
    test = inspect.getsource(
        test_course_function.test_one_bad_record_blocks_the_shard_and_loses_rides
    )

    assert inspect.getsource(course_function.lambda_handler) in text
    assert test.partition(") -> None:\n")[2] in text
    assert len(textwrap.dedent(test).splitlines()) <= 20


def test_the_readme_names_each_setting_fault_and_attribute() -> None:
    text = README.read_text().replace("\n", " ")
    names = {name for name in dir(VirtualMapping) if not name.startswith("_")}
    names |= {"invocations", "destination", "lost", "stream"} | {*Settings.__slots__}
    names |= {f"`{name}" for name in OTHERS} | {"template=", "function="}
    names -= {"`template", "`function"}
    names |= {"event", "request_id", "outcome", "at", "error", "data"} & {
        *Invocation.__slots__, "data"
    }  # fmt: skip

    missing = {name for name in names - {"now"} if name not in text}
    assert missing == set()
    assert all(each in text for each in (*KINDS, *TIMES))


def test_the_files_of_the_readme_are_tests_that_pass(tmp_path: Path) -> None:
    files = dict(FILE.findall(README.read_text()))
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    tests = sum(name.startswith("test_") for name in files)
    assert tests == 4
    assert f"{tests} passed" in done.stdout, done.stdout


def test_the_message_in_the_readme_is_that_of_the_example(kinesis_mapping: KinesisMapping) -> None:
    def lambda_handler(event: dict[str, object], context: object) -> None:
        raise ValueError

    [shown] = re.findall(r"```json\n(.*?)```", README.read_text(), re.DOTALL)
    arn = "arn:aws:sqs:us-east-1:123456789012:failed"
    mapping = kinesis_mapping(
        lambda_handler,
        maximum_retry_attempts=2,
        destination_config={"OnFailure": {"Destination": arn}},
    )
    mapping.put(b"no JSON")
    mapping.run()

    [message] = mapping.destination
    assert [*json.loads(shown)] == [*message]
    for part in ("requestContext", "responseContext", "KinesisBatchInfo"):
        assert json.loads(shown)[part].keys() == message[part].keys()
    assert json.loads(shown)["requestContext"]["functionArn"].endswith(":lambda_handler")


@pytest.mark.parametrize(("bisects", "lost"), [(False, [b"bad", b"3"]), (True, [b"bad"])])
def test_a_record_that_always_fails_takes_the_rest_of_its_batch_unless_the_mapping_bisects(
    kinesis_mapping: KinesisMapping, bisects: bool, lost: list[bytes]
) -> None:
    """The handler goes on after the bad record, so it counts the later record twice."""
    counted: list[bytes] = []

    def goes_on(event: dict[str, Any], context: object) -> dict[str, Any]:
        failures = []
        for record in event["Records"]:
            data = base64.b64decode(record["kinesis"]["data"])
            if data == b"bad":
                failures.append({"itemIdentifier": record["kinesis"]["sequenceNumber"]})
            else:
                counted.append(data)
        return {"batchItemFailures": failures}

    mapping = kinesis_mapping(
        goes_on,
        function_response_types=["ReportBatchItemFailures"],
        bisect_batch_on_function_error=bisects,
        maximum_retry_attempts=1,
    )
    for data in (b"1", b"bad", b"3"):
        mapping.put(data)
    mapping.run()

    assert [record.data for record in mapping.lost] == lost
    assert counted.count(b"1") == 1
    assert counted.count(b"3") > 1
