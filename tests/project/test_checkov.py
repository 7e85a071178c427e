"""checkov finds no weakness in the stack except those that are waived here with a reason."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..support import stacks

CHECKOV = stacks.ROOT / "tools/checkov/.venv/bin/checkov"
QUIETLY = ("--skip-download", "--output", "json")  # and asks nobody

WAIVED = {
    "CKV_AWS_18": "CloudTrail says who read what, where that is wanted",
    "CKV_AWS_21": "not versioned: what is deleted shall be gone, because it says where people were",
    "CKV_AWS_115": "the archive's function takes of the account's; a limit would hold it up",
    "CKV_AWS_116": "dead letters are of asynchronous calls; the mapping has a destination",
    "CKV_AWS_117": "no function talks to anything within a VPC",
    "CKV_AWS_173": "variables name places and limits; no secret is among them",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not CHECKOV.exists() or not stacks.SAM_PYTHON.exists(),
        reason="needs checkov and the SAM CLI: make test-slow installs both",
    ),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """checkov's summary and failures of the stack as CloudFormation gets it."""
    template = tmp_path_factory.mktemp("stack") / "stack.json"
    template.write_text(json.dumps(stacks.transformed(stacks.PARAMETERS), indent=1))
    return checked(template)


def checked(template: Path) -> dict[str, Any]:
    done = subprocess.run(
        [CHECKOV, *QUIETLY, "--framework", "cloudformation", "--file", template],
        cwd=template.parent,
        env=os.environ | {"LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["summary"]["parsing_errors"] == 0
    return result


def test_every_finding_is_waived(found: dict[str, Any]) -> None:
    failed = {
        (one["check_id"], one["check_name"], one["resource"])
        for one in found["results"]["failed_checks"]
    }

    assert found["summary"]["passed"] > 70
    assert {one for one in failed if one[0] not in WAIVED} == set()


def test_every_waiver_has_a_finding(found: dict[str, Any]) -> None:
    assert {one["check_id"] for one in found["results"]["failed_checks"]} == WAIVED.keys()


def test_a_weakness_is_found(tmp_path: Path) -> None:
    template = stacks.transformed(stacks.PARAMETERS)
    del template["Resources"]["RejectsBucket"]["Properties"]["BucketEncryption"]
    template["Resources"]["RejectsBucket"]["Properties"].pop("PublicAccessBlockConfiguration")
    (tmp_path / "stack.json").write_text(json.dumps(template))

    failed = {
        one["check_id"] for one in checked(tmp_path / "stack.json")["results"]["failed_checks"]
    }

    assert "CKV_AWS_53" in failed  # public ACLs are not blocked
