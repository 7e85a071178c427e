"""The template of what an empty account needs before the first deployment."""

from __future__ import annotations

import re
import subprocess

import pytest

from ..support import cfn_yaml
from ..support.stacks import ROOT, SAM_PYTHON

TEMPLATE = cfn_yaml.read(ROOT / "bootstrap.yaml")
RESOURCES = TEMPLATE["Resources"]
PAGE = (ROOT / "docs/deploy.md").read_text()


def test_models_and_images_outlive_the_stack() -> None:
    for name in ("ModelsBucket", "Images"):
        assert RESOURCES[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert RESOURCES[name]["UpdateReplacePolicy"] == "Retain"


def test_models_are_private_encrypted_and_versioned() -> None:
    bucket = RESOURCES["ModelsBucket"]["Properties"]
    [deny] = RESOURCES["ModelsBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]

    assert list(bucket["PublicAccessBlockConfiguration"].values()) == [True] * 4
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["BucketEncryption"]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": False}})


def test_a_deployed_image_is_scanned_and_neither_replaced_nor_expired() -> None:
    images = RESOURCES["Images"]["Properties"]

    assert images["ImageScanningConfiguration"] == {"ScanOnPush": True}
    assert images["ImageTagMutability"] == "IMMUTABLE"
    assert "LifecyclePolicy" not in images


def test_somebody_is_told_before_the_budget_is_used_up() -> None:
    budget = RESOURCES["Budget"]["Properties"]
    told = budget["NotificationsWithSubscribers"]

    assert budget["Budget"]["BudgetLimit"] == {"Amount": {"Ref": "BudgetDollars"}, "Unit": "USD"}
    assert {
        (one["Notification"]["NotificationType"], one["Notification"]["Threshold"]) for one in told
    } == {("ACTUAL", 80), ("FORECASTED", 100)}
    for one in told:
        [subscriber] = one["Subscribers"]
        assert subscriber == {"SubscriptionType": "EMAIL", "Address": {"Ref": "BudgetEmail"}}


def test_the_page_reads_every_output_that_it_uses_from_the_stack() -> None:
    used = set(re.findall(r"OutputKey=='(\w+)'", PAGE)) | set(re.findall(r"output_of (\w+)", PAGE))

    assert used
    assert used <= TEMPLATE["Outputs"].keys()
    assert "aws s3 mb" not in PAGE
    assert "ecr create-repository" not in PAGE


@pytest.mark.slow
@pytest.mark.skipif(not SAM_PYTHON.exists(), reason="needs the SAM CLI")
def test_cfn_lint_finds_no_fault() -> None:
    options = ("--include-checks", "I", "--regions", "us-east-1", "--", ROOT / "bootstrap.yaml")

    done = subprocess.run(
        [SAM_PYTHON.parent / "cfn-lint", *options], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")
