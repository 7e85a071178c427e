"""Under every fault of the AWS protocol, no ride is lost, made up or changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from .proxy import PUT_OBJECT_FAULTS, PUT_RECORDS_FAULTS
from .run import Result, run

REPORT = Path(__file__).parents[2] / "build/faults/report.json"
SEED, RIDES = 14, 2_000


def report(result: Result, seed: int) -> str:
    """The result as JSON, with counts in place of event ids."""
    contents = {"seed": seed, **asdict(result)}
    findings = contents.pop("findings")
    counts = {
        name: len(found) if isinstance(found, tuple) else found for name, found in findings.items()
    }
    return json.dumps({**contents, **counts}, indent=2) + "\n"


@pytest.mark.slow
def test_every_ride_has_one_outcome_under_faults_and_kills(tmp_path: Path) -> None:
    result = run(tmp_path, rides=RIDES, seed=SEED)

    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(report(result, SEED))
    assert result.findings.clean, result.findings
    assert result.findings.published + result.findings.rejected == result.rides
    assert result.findings.duplicates > 0  # faults after applying make them
    assert result.kills > 0
    assert result.late == 0
    assert result.retry_reasons["ProvisionedThroughputExceededException"] > 0
    kinds = {f"PutRecords: {kind}" for kind in PUT_RECORDS_FAULTS}
    kinds |= {f"PutObject: {kind}" for kind in PUT_OBJECT_FAULTS}
    assert result.faults.keys() == kinds
