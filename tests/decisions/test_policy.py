"""The policy: data that is validated at the start, and reasons that name a rule and its bound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_service.decisions import policy, predictions
from model_service.decisions.policy import Reason
from model_service.decisions.predictions import Prediction
from model_service.errors import SettingsError

from ..support.decisions import COST, DURATION, FIELDS, prediction_bytes
from ..support.stacks import ROOT

SHIPPED = ROOT / "model_service/decisions/policy.json"


def said(
    duration: float | None = 20.0, cost: float | None = 18.0, **intervals: list[float]
) -> list[Prediction]:
    found = []
    for model, value in ((DURATION, duration), (COST, cost)):
        if value is not None:
            interval = intervals.get(FIELDS[model])
            changes: dict[str, Any] = {"interval": interval} if interval else {}
            found.append(predictions.decode(prediction_bytes(model, value=value, **changes)))
    return found


def flagged(heard: list[Prediction], location: str = str(SHIPPED)) -> list[Reason]:
    return list(policy.reasons(policy.load(location), heard, [DURATION, COST], 60))


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (said(), []),
        (said(181.0, 180.0), [Reason("too_long", "ride_duration", 180)]),
        (said(180.0, 180.0), []),
        (said(100.0, 251.0), [Reason("too_dear", "ride_cost", 250)]),
        (said(10.0, 101.0), [Reason("cost_contradicts_duration", "ride_cost", 10)]),
        (said(100.0, 29.0), [Reason("cost_contradicts_duration", "ride_cost", 0.3)]),
        (said(0.0, 5.0), [Reason("cost_contradicts_duration", "ride_cost", 10)]),
        (said(0.0, 0.0), []),
        (said(ride_duration=[1.0, 62.0]), [Reason("duration_too_uncertain", "ride_duration", 60)]),
        (said(ride_cost=[10.0, 71.0]), [Reason("cost_too_uncertain", "ride_cost", 60)]),
        (said(cost=None), [Reason("model_did_not_speak", COST, 60)]),
        (said(None, 99.0), [Reason("model_did_not_speak", DURATION, 60)]),
    ],
)  # fmt: skip
def test_a_rule_flags_what_is_outside_its_bound(
    heard: list[Prediction], expected: list[Reason]
) -> None:
    assert flagged(heard) == expected


def test_without_a_policy_nothing_is_flagged() -> None:
    assert flagged(said(1e6, None), "") == []


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ([{"type": "value", "name": "a", "field": "x"}], "rule a has no bound"),
        (
            [{"type": "value", "name": "a", "field": "x", "minimum": 2, "maximum": 1}],
            "the minimum of rule a must be less than its maximum",
        ),
        (
            [{"type": "ratio", "name": "a", "field": "x", "per": "x", "maximum": 1}],
            "rule a divides a field by itself",
        ),
        ([{"type": "silence", "name": "a"}] * 2, "two rules have the name a"),
        ([{"type": "speed", "name": "a"}], "Invalid value 'speed'"),
        ([{"type": "silence", "name": "Not A Name"}], "$.rules[0].name"),
        ([{"type": "silence", "name": "a", "bound": 3}], "unknown field `bound`"),
        ([{"type": "interval", "name": "a", "field": "x", "maximum": ""}], "$.rules[0].maximum"),
        ([{"type": "silence", "name": f"a{n}"} for n in range(21)], "length <= 20"),
    ],
)  # fmt: skip
def test_a_faulty_policy_stops_the_start(rules: list[dict[str, Any]], fault: str) -> None:
    with pytest.raises(SettingsError) as refused:
        policy.parse(json.dumps({"rules": rules}).encode())

    assert str(refused.value).startswith("DECISION_POLICY")
    assert fault in str(refused.value)


def test_every_fault_is_named_at_once() -> None:
    rules = [{"type": "value", "name": name, "field": "x"} for name in "ab"]

    with pytest.raises(SettingsError, match="rule a has no bound; rule b has no bound"):
        policy.parse(json.dumps({"rules": rules}).encode())


def test_a_file_that_is_absent_or_is_not_json_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text("rules: none")

    with pytest.raises(SettingsError, match=r"cannot read .*absent\.json"):
        policy.load(str(tmp_path / "absent.json"))
    with pytest.raises(SettingsError, match="DECISION_POLICY is not a policy"):
        policy.load(str(tmp_path / "policy.json"))
