"""Benchmarks answer every ride; how fast they do is for `make bench` to say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import handler
from training.run import Result

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("way", list(handler.STARTS))
def test_each_way_answers_every_ride(way: str, golden_model: Result) -> None:
    environ = {**os.environ, **handler.ENVIRONMENT, "MODEL_LOCATION": golden_model.model_location}
    command = [sys.executable, "-m", "benchmarks.handler", "--turn", way]

    found = json.loads(subprocess.check_output(command, cwd=ROOT, env=environ))

    assert found
    assert all(milliseconds > 0 for milliseconds in found)


def test_without_a_model_there_is_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.handler", "--model", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.endswith("run make model\n")
