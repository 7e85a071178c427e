"""The audit finds each kind of deviation, and accepts identical duplicates."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from .audit import Outputs, Sent, Stored, audit

MODEL, SHARD = "m", "shardId-000000000000"
SENT = [
    Sent(b'{"ride_id": 1}', (1,)),
    Sent(b"{", (None,)),
    Sent(b"KPL", (2, None), aggregated=True),
]
INPUT = [Stored(SHARD, str(n), "key", one.data) for n, one in enumerate(SENT)]


def stored(ride_id: int, value: float = 7.0) -> Stored:
    data = json.dumps({"prediction": {"ride_id": ride_id, "ride_duration": value}}).encode()
    return Stored(SHARD, "99", str(ride_id), data)


CALM = Outputs(
    published={(MODEL, f"{SHARD}:0"): (stored(1),), (MODEL, f"{SHARD}:2#0"): (stored(2),)},
    rejected={
        (MODEL, f"{SHARD}:1"): (("broken", b"{"),),
        (MODEL, f"{SHARD}:2#1"): (("broken", b"KPL"),),
    },
    versions=frozenset({"1"}),
)
FIRST, BROKEN = (MODEL, f"{SHARD}:0"), (MODEL, f"{SHARD}:1")


def test_audit_accepts_identical_duplicates() -> None:
    twice = replace(CALM, published={**CALM.published, FIRST: (stored(1), stored(1))})

    found = audit(SENT, INPUT, CALM, twice, model=MODEL)

    assert found.clean
    assert (found.duplicates, found.published, found.rejected) == (1, 2, 2)


def test_audit_finds_lost_rides_and_rejections() -> None:
    published = {name: found for name, found in CALM.published.items() if name != FIRST}
    rejected = {name: found for name, found in CALM.rejected.items() if name != BROKEN}

    found = audit(SENT, INPUT, CALM, Outputs(published, rejected, CALM.versions), model=MODEL)

    assert found.lost == (f"{SHARD}:0", f"{SHARD}:1")


def test_audit_finds_predictions_for_records_that_were_not_sent() -> None:
    more = replace(CALM, published={**CALM.published, (MODEL, "x"): (stored(3),)})

    assert audit(SENT, INPUT, CALM, more, model=MODEL).made_up == ("x",)


@pytest.mark.parametrize("copies", [(stored(1, 8.0),), (stored(1), stored(1, 8.0)), (stored(5),)])
def test_audit_finds_other_predictions_than_in_the_calm_run(copies: tuple[Stored, ...]) -> None:
    other = replace(CALM, published={**CALM.published, FIRST: copies})

    assert audit(SENT, INPUT, CALM, other, model=MODEL).differing == (f"{SHARD}:0",)


@pytest.mark.parametrize("kept", [("another reason", b"{"), ("broken", b"{}")])
def test_audit_finds_other_rejections_than_in_the_calm_run(kept: tuple[str, bytes]) -> None:
    other = replace(CALM, rejected={**CALM.rejected, BROKEN: (kept,)})

    assert audit(SENT, INPUT, CALM, other, model=MODEL).differing == (f"{SHARD}:1",)


def test_audit_finds_a_prediction_for_another_ride_in_both_runs() -> None:
    wrong = replace(CALM, published={**CALM.published, FIRST: (stored(2),)})

    assert audit(SENT, INPUT, wrong, wrong, model=MODEL).differing == (f"{SHARD}:0",)


def test_audit_finds_rides_that_were_published_and_rejected() -> None:
    both = replace(CALM, rejected={**CALM.rejected, FIRST: (("broken", b'{"ride_id": 1}'),)})

    assert audit(SENT, INPUT, CALM, both, model=MODEL).both == (f"{SHARD}:0",)


def test_audit_refuses_to_compare_different_inputs_or_models() -> None:
    with pytest.raises(ValueError, match="records that were sent"):
        audit(SENT, INPUT[:2], CALM, CALM, model=MODEL)
    with pytest.raises(ValueError, match="versions of the model"):
        audit(SENT, INPUT, CALM, replace(CALM, versions=frozenset({"2"})), model=MODEL)
