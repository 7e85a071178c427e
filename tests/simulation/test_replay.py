"""A seed decides everything: its run is the same each time, and can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from simulation import options, workload, world
from simulation.__main__ import main
from simulation.bugs import BUGS, planted
from simulation.options import Options
from simulation.planted import find
from simulation.shrink import shrink


def trace(options: Options) -> list[str]:
    found: list[str] = []
    world.run(options, lambda seconds, part, what: found.append(f"{seconds:.6f} {part} {what}"))
    return found


@pytest.mark.parametrize("seed", [4711, 4720])
def test_a_seed_gives_the_same_events_each_time(seed: int) -> None:
    first, second = (trace(options.draw(seed, small=True)) for _ in range(2))

    assert first == second
    assert len(first) > 5


def test_a_seed_gives_the_same_events_in_every_process() -> None:
    command = [sys.executable, "-m", "simulation", "--small", "--seed", "4712"]
    shown = subprocess.run(
        command,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    events = [line for line in shown.splitlines() if "  mapping  " in line]
    expected = [line for line in trace(options.draw(4712, small=True)) if " mapping " in line]
    assert len(events) == len(expected) > 0
    assert [line.split(maxsplit=2)[2] for line in events] == [
        line.split(maxsplit=2)[2] for line in expected
    ]


def test_skipped_faults_and_records_do_not_occur() -> None:
    chosen = options.draw(4711, small=True)
    calm = replace(
        chosen, kept_records=frozenset({0, 1, 2}), skipped_faults=frozenset(range(10_000))
    )

    result = world.run(calm)

    assert result.sent == len(workload.records(calm)) == 3
    assert result.violation is None
    assert "the function is killed" not in result.faults


def test_a_search_prints_a_summary_and_ends_with_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--from", "1", "--count", "60", "--workers", "1", "--small"]) == 0

    shown = capsys.readouterr().out
    assert "| seeds | 60, 6 of them with a real ONNX model |" in shown
    assert "| **lost** | **0** |" in shown
    assert "| **stuck** | **0** |" in shown


BUG = "swallow-a-throttled-entry"


def test_a_failing_seed_is_replayed_with_its_options_and_fewer_events(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = find(BUG, small=True).seeds

    assert main(["--seed", str(seed), "--small", "--plant", BUG, "--shrink"]) == 1

    shown = capsys.readouterr().out
    assert f"The options of seed {seed}:" in shown
    assert "throttled entries" in shown
    assert shown.splitlines()[-1].split()[1:3] == ["violation", "lost:"]
    events = shown.partition("\n\n")[2].splitlines()
    assert len(events) < 25


def test_shrinking_keeps_the_kind_of_the_violation() -> None:
    with planted(BUG):
        before = options.draw(find(BUG, small=True).seeds, small=True)
        after = shrink(before)
        violation = world.run(after).violation

    assert violation is not None
    assert violation.kind == "lost"
    assert len(after.kept_records or ()) < before.records


@pytest.mark.parametrize(
    "bug",
    [
        "report-the-last-failure",
        "publish-behind-a-rejection-that-is-not-kept",
        "take-the-arrival-of-the-first-record",
        "report-a-rejected-record",
        "give-user-records-one-identity",
    ],
)
def test_a_planted_bug_is_found(bug: str) -> None:
    assert find(bug, most=30).violation


@pytest.mark.slow
@pytest.mark.parametrize("bug", [bug.name for bug in BUGS])
def test_every_planted_bug_is_found(bug: str) -> None:
    assert find(bug).violation
