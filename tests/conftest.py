from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.session
import pytest
from botocore.loaders import create_loader
from hypothesis import settings

from local.aws.server import Embedded, embedded

from .support import embedded_aws, golden
from .support.golden import GoldenModel, Target

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytest_plugins = ["event_source_mapping.pytest_plugin"]
collect_ignore = [
    "support/sam_transform.py",  # runs in the environment of the SAM CLI
    "web/clients",  # run in the environment of the generated clients
]

OURS = ("AWS_", "MODEL_", "PREDICTION", "KINESIS_", "MLFLOW_", "REJECTS_", "DECISION", "EXPECTED_")


# The Makefile chooses the thorough profile for test-all.
# Without a deadline: it measures how busy the machine is.
settings.register_profile("thorough", settings(), max_examples=100, deadline=None)
settings.register_profile("quick", settings(), max_examples=50, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings and the AWS account of the developer away from every test."""
    for name in list(os.environ):
        if name.startswith(OURS) and not name.endswith("_CA_BUNDLE"):
            monkeypatch.delenv(name)
    for name in ("RUN_ID", "TEST_RUN", "RETURN_PREDICTIONS", "ALLOW_PICKLED_MODELS", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session", autouse=True)
def shared_loader() -> Iterator[None]:
    """Read botocore's descriptions of services once, because a new session takes long to read them.

    The code under test makes sessions as always.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(create_loader))
        yield


@pytest.fixture(scope="session")
def session_aws() -> Iterator[Embedded]:
    """The embedded AWS of the session, with the contents that earlier tests left."""
    with embedded() as running:
        yield running


@pytest.fixture(scope="module")
def module_aws(session_aws: Embedded) -> Embedded:
    """The embedded AWS of the session, empty at the first test of each module."""
    embedded_aws.clear(session_aws)
    return session_aws


@pytest.fixture(scope="session")
def session_s3(session_aws: Embedded) -> S3Client:
    """A client of the embedded AWS of the session, because each new client takes long to make."""
    return session_aws.s3()


@pytest.fixture(scope="module")
def s3(module_aws: Embedded, session_s3: S3Client, request: pytest.FixtureRequest) -> S3Client:
    """A client of `module_aws`, which has the bucket that the module of the test names `BUCKET`."""
    session_s3.create_bucket(Bucket=request.module.BUCKET)
    return session_s3


@pytest.fixture(scope="session")
def golden_model(tmp_path_factory: pytest.TempPathFactory) -> GoldenModel:
    """The duration model of the golden vectors, trained once a session."""
    return golden.train(tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="session")
def golden_cost_model(tmp_path_factory: pytest.TempPathFactory) -> GoldenModel:
    """The cost model of the golden vectors, trained once a session."""
    return golden.train(tmp_path_factory.mktemp("golden_cost"), "cost")


@pytest.fixture(params=["duration", pytest.param("both", marks=pytest.mark.slow)])
def golden_models(request: pytest.FixtureRequest) -> dict[Target, GoldenModel]:
    """The duration model of the golden vectors; in slow tests also the cost model."""
    targets: list[Target] = ["duration"] if request.param == "duration" else ["duration", "cost"]
    fixtures = {"duration": "golden_model", "cost": "golden_cost_model"}
    return {target: request.getfixturevalue(fixtures[target]) for target in targets}


@pytest.fixture
def golden_location(golden_model: GoldenModel) -> str:
    assert Path(golden_model.model_location, "model.onnx").exists()
    return golden_model.model_location
