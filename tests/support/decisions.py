"""Values, fakes and a table for tests of decisions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from model_service.decisions.decision import Decided, Rules, State, Waiting
from model_service.decisions.policy import Policy
from model_service.decisions.store import Due

from . import cfn_yaml
from .stacks import ROOT

DURATION, COST = "ride_duration_prediction_model", "ride_cost_prediction_model"
FIELDS = {DURATION: "ride_duration", COST: "ride_cost"}
EVENT_ID = "shardId-000000000000:49630081666084879290581185630324770398608704880802529282"


def rules(*expected: str, policy: Policy | None = None, deadline_seconds: float = 60.0) -> Rules:
    return Rules(frozenset(expected or FIELDS), policy or Policy(), deadline_seconds)


def prediction_event(
    model: str = DURATION,
    ride_id: int | str = 256,
    *,
    value: float = 21.3,
    version: str = "Test123",
    event_id: str = EVENT_ID,
    arrived_at: str = "2022-06-02T08:05:14.132Z",
    **changes: Any,
) -> dict[str, Any]:
    """A prediction event as a scorer publishes it; *changes* are fields of its prediction."""
    answer = {FIELDS.get(model, "another_field"): value, "ride_id": ride_id, **changes}
    return {
        "model": model,
        "version": version,
        "prediction": answer,
        "source": {"event_id": event_id, "arrived_at": arrived_at},
    }


def prediction_bytes(*arguments: Any, **changes: Any) -> bytes:
    return json.dumps(prediction_event(*arguments, **changes)).encode()


@dataclass
class MemoryTable:
    """A store that keeps the contract of `store.Table` in memory, and counts its writes."""

    states: dict[str, Waiting | Decided] = field(default_factory=dict)
    writes: int = 0

    def replace(self, ride: str, before: State, after: Waiting | Decided) -> State:
        self.writes += 1
        found = self.states.get(ride)
        if isinstance(found, Decided) or found != before:
            return found
        self.states[ride] = after
        return after

    def due(self, now: float) -> Iterator[Due]:
        for ride, state in list(self.states.items()):
            at = state.deadline if isinstance(state, Waiting) else state.unpublished_since
            if at is not None and at <= now:
                yield Due(ride, state)

    def published(self, ride: str) -> None:
        state = self.states[ride]
        assert isinstance(state, Decided)
        self.states[ride] = Decided(state.body)


def create_table(client: Any, name: str) -> None:
    """Create the table of template.yaml, as far as an emulator has its properties."""
    template = cfn_yaml.read(ROOT / "template.yaml")["Resources"]["DecisionsTable"]["Properties"]
    kept = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    client.create_table(TableName=name, **{key: template[key] for key in kept})
