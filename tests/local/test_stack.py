"""The local stack works with the commands for a deployed stack."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local import stack
from local.aws.kinesis_reader import readers
from local.aws.lambda_api import FUNCTION, LocalFunction, serve_api
from local.aws.server import KEY, REGION
from local.run_stream import PREDICTIONS
from operate import replay, smoke
from tests.support.golden import GoldenModel

ROOT = Path(__file__).parents[2]


def started(place: Path, **settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "local.stack"],
        cwd=place,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def running(
    golden_model: GoldenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[str]]:
    """Run a stack with a wrong limit; AWS clients in this process use the stack."""
    with started(
        tmp_path, MODEL_LOCATION=golden_model.model_location, PREDICTION_MAX="12"
    ) as process:
        try:
            assert process.stdout is not None
            assert "runs until Ctrl-C" in process.stdout.readline()
            for line in (tmp_path / stack.ENVIRONMENT).read_text().splitlines():
                name, value = shlex.split(line)[1].split("=", 1)
                monkeypatch.setenv(name, value)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


def predicted() -> set[str]:
    """Return the event ids of the rides that have a prediction."""
    return {
        json.loads(record.data)["source"]["event_id"]
        for reader in readers(boto3.client("kinesis"), PREDICTIONS)
        for record in reader()
    }


@pytest.mark.slow
def test_smoke_and_replay_work_on_the_local_stack(
    running: subprocess.Popen[str], tmp_path: Path, capsys: Any
) -> None:
    code = smoke.main(["--stack", stack.NAME, "--patience", "6"])
    assert (code, "of 10 rides on ride_predictions" in capsys.readouterr().out) == (1, True)

    assert replay.main([stack.LOCATION, "--function", FUNCTION]) == 0
    said = capsys.readouterr().out
    assert "the model answered outside its range" in said
    assert "Expected `int` <= 265" in said
    assert f"Dry run: {FUNCTION} was not invoked" in said

    lambda_ = boto3.client("lambda")
    with pytest.raises(ClientError, match="PREDICTION_MAX"):
        lambda_.update_function_configuration(
            FunctionName=FUNCTION, Environment={"Variables": {"PREDICTION_MAX": "far"}}
        )
    assert len(predicted()) < 10
    lambda_.update_function_configuration(
        FunctionName=FUNCTION, Environment={"Variables": {"PREDICTION_MAX": "1440"}}
    )
    assert replay.main([stack.LOCATION, "--function", f"{FUNCTION}:live", "--yes"]) == 1
    assert "1 rides were rejected again" in capsys.readouterr().out
    assert len(predicted()) == 10

    assert replay.main([stack.LOCATION, "--function", "nobody"]) == 2
    assert f"the only function is {FUNCTION}" in capsys.readouterr().err

    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, err.splitlines()[-1]) == (0, "stack: stopped")
    assert '"rejected":[' in out
    assert not (tmp_path / stack.ENVIRONMENT).exists()


def test_a_function_that_does_not_start_is_reported_in_one_line(tmp_path: Path) -> None:
    with started(tmp_path, MODEL_LOCATION="no-model") as process:
        out, err = process.communicate(timeout=60)

    assert (process.returncode, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("stack: ")
    assert "no-model" in err


def test_a_failed_invocation_has_the_response_of_lambda() -> None:
    said: list[str] = []

    def failing(event: dict[str, Any], context: Any) -> None:
        print("about to fail")
        assert context.get_remaining_time_in_millis() > 1000
        raise ValueError(f"no {event['what']}")

    with serve_api(LocalFunction(lambda _: failing, {}, said.append)) as address:
        client = boto3.client(
            "lambda",
            endpoint_url=address,
            region_name=REGION,
            aws_access_key_id=KEY,
            aws_secret_access_key=KEY,
        )
        reply = client.invoke(FunctionName=FUNCTION, LogType="Tail", Payload=b'{"what": "luck"}')
        with pytest.raises(ClientError, match="InvalidRequestContentException"):
            client.get_function(FunctionName=FUNCTION)

    assert reply["FunctionError"] == "Unhandled"
    assert json.load(reply["Payload"]) == {"errorType": "ValueError", "errorMessage": "no luck"}
    assert reply["LogResult"] == "YWJvdXQgdG8gZmFpbAo="
    assert said == ["about to fail\n"]
