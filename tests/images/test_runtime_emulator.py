"""The function under AWS's own runtime client and Runtime Interface Emulator, without Docker.

The emulator does not pass SIGTERM on to the runtime, so both are stopped by their process ids.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from local.aws.lambda_container import free_ports, wait_for
from local.aws.lambda_container import invoke as invoke_at

from ..support import models
from ..support.factories import kinesis_event, payload

ROOT = Path(__file__).parents[2]
MACHINE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
EMULATOR = (
    ROOT
    / "tools/sam/.venv/lib/python3.13/site-packages/samcli/local/rapid"
    / f"aws-lambda-rie-{MACHINE}"
)
STOP_SECONDS = 10

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or not EMULATOR.exists(),
        reason="needs Linux and the SAM CLI: make tools/sam/.venv/installed",
    ),
]

Invoke = Callable[[Any], dict[str, Any]]


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(models.write_onnx(tmp_path_factory.mktemp("line")))


@pytest.fixture(scope="module")
def invoke(location: str) -> Iterator[Invoke]:
    with emulator({"MODEL_LOCATION": location, "TEST_RUN": "True"}) as invoke:
        yield invoke


def test_one_ride_gets_one_prediction(invoke: Invoke) -> None:
    event = kinesis_event(payload(256))

    assert invoke(event) == {
        "batchItemFailures": [],
        "predictions": [
            {
                "model": "ride_duration_prediction_model",
                "version": models.RUN_ID,
                "prediction": {"ride_duration": pytest.approx(20.3), "ride_id": 256},
                "source": {
                    "event_id": event["Records"][0]["eventID"],
                    "arrived_at": "2022-06-02T09:18:34.132Z",
                },
            }
        ],
    }


def test_a_thousand_rides_get_a_thousand_predictions(invoke: Invoke) -> None:
    answer = invoke(kinesis_event(*(payload(ride_id) for ride_id in range(1_000))))

    assert answer["batchItemFailures"] == []
    assert [p["prediction"]["ride_id"] for p in answer["predictions"]] == list(range(1_000))


def test_a_bad_record_does_not_affect_others(invoke: Invoke) -> None:
    answer = invoke(kinesis_event(payload(1), b"a ride, please", payload(2)))

    assert answer["batchItemFailures"] == []
    assert [p["prediction"]["ride_id"] for p in answer["predictions"]] == [1, 2]


def test_the_function_survives_an_invocation_without_records(invoke: Invoke) -> None:
    refusal, answer = invoke({"Records": [{}]}), invoke(kinesis_event(payload(256)))

    assert refusal["errorType"] == "EventError"
    assert len(answer["predictions"]) == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"MODEL_LOCATION": ""}, "MODEL_LOCATION"),
        ({"TEST_RUN": "perhaps"}, "TEST_RUN"),
        ({"TEST_RUN": "False"}, "REJECTS_LOCATION"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(
    location: str, changes: dict[str, str], named: str
) -> None:
    with emulator({"MODEL_LOCATION": location, "TEST_RUN": "True", **changes}) as invoke:
        answer = invoke(kinesis_event(payload(256)))

    assert answer["errorType"] == "SettingsError"
    assert named in answer["errorMessage"]


@contextmanager
def emulator(settings: Mapping[str, str]) -> Iterator[Invoke]:
    """Run the function with only these settings in its environment."""
    port, api_port = free_ports()
    function = {
        "AWS_LAMBDA_FUNCTION_NAME": "ride-predictions",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "30",
    }
    with subprocess.Popen(
        [
            str(EMULATOR),
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{port}",
            "--runtime-api-address",
            f"127.0.0.1:{api_port}",
            sys.executable,
            "-m",
            "awslambdaric",
            "lambda_function.lambda_handler",
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **function, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(port)
            yield lambda event: invoke_at(port, event)
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the emulator, and the runtime, which has a process group of its own."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    runtimes = [int(pid) for children in tasks for pid in children.read_text().split()]
    process.kill()
    process.wait(STOP_SECONDS)
    for runtime in runtimes:
        with suppress(ProcessLookupError):
            os.killpg(runtime, signal.SIGKILL)
