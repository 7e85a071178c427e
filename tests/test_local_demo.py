"""The whole demo, as people run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.demo", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_demo_accounts_for_every_ride(tmp_path: Path) -> None:
    done = demo("--rides", "300", "--output", str(tmp_path))

    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary.keys() == {
        "rides_sent", "bad_records_sent", "rides_predicted", "rejected", "lost", "duplicates",
        "rides_per_second", "latency_ms", "rmse_minutes", "rmse_minutes_streamed",
        "model_flavour", "source",
    }  # fmt: skip
    assert summary["rides_predicted"] == summary["rides_sent"] == 300
    assert summary["rejected"] == summary["bad_records_sent"] > 0
    assert (summary["lost"], summary["model_flavour"]) == (0, "onnx")
    assert summary["source"] == "simulated"
    assert "<svg" in (tmp_path / "report.html").read_text()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert sum(line["published"][0] for line in lines) >= 300


@pytest.mark.parametrize(
    "arguments",
    [("--rides", "0"), ("--rides", "many"), ("--data", "no such directory"), ("--unknown",)],
)
def test_a_wrong_call_gets_one_sentence(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = demo(*arguments, "--output", str(tmp_path / "out"))

    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "Traceback" not in done.stderr
