"""Generates the JSON Schemas of events from the code's types: ``python -m tools.schemas DIR``.

``--check DIR`` writes nothing and fails if a file in DIR is out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from model_service.decisions.decision import Decision
from model_service.rides import RideEvent, RideId
from model_service.scoring import Target

VERSION = "0.1.0"  # of the events; fields are only added, and new fields are never required
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Interval = Annotated[tuple[float, float], Meta(description="low and high, around the value")]


class DurationPrediction(Struct):
    ride_duration: Annotated[float, Meta(ge=0, description="minutes")]
    ride_id: RideId
    interval: Interval | UnsetType = UNSET


class CostPrediction(Struct):
    ride_cost: Annotated[float, Meta(ge=0, description="US dollars, without the tip")]
    ride_id: RideId
    interval: Interval | UnsetType = UNSET


class Source(Struct):
    event_id: Annotated[
        str,
        Meta(
            description="the record's event id; #<digest of its data> behind it with enhanced"
            " fan-out, and #<index> for a user record of a KPL record"
        ),
    ]
    arrived_at: Annotated[str, Meta(description="RFC 3339, when the ride reached its stream")]


class _PredictionEvent(Struct):
    model: Annotated[str, Meta(description="which model answered", examples=[Target().model_name])]
    version: Annotated[str, Meta(description="the MLflow run that the model came from")]
    source: Source


_DELIVERY = """

Delivery is at least once, and order is not promised: a duplicate has the same model, version and
source.event_id.  For one ride and model the latest arrived_at wins, then the higher sequence
number.
"""


class DurationPredictionEvent(_PredictionEvent):
    __doc__ = "How long one ride will take." + _DELIVERY
    prediction: DurationPrediction


class CostPredictionEvent(_PredictionEvent):
    __doc__ = "What one ride will cost." + _DELIVERY
    prediction: CostPrediction


EVENTS: dict[str, Any] = {
    "ride-event": RideEvent,
    "duration-prediction-event": DurationPredictionEvent,
    "cost-prediction-event": CostPredictionEvent,
    "decision-event": Decision,
}


def documents() -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas and the AsyncAPI document: file name -> JSON document."""
    schemas = {
        f"{name}.schema.json": {"$schema": DIALECT, **msgspec.json.schema(event)}
        for name, event in EVENTS.items()
    }
    return {**schemas, "asyncapi.json": _asyncapi()}


def _asyncapi() -> dict[str, Any]:
    def reference(*path: str) -> dict[str, str]:
        return {"$ref": "#/" + "/".join(path)}

    def channel(address: str, description: str, *messages: str) -> dict[str, Any]:
        return {
            "address": address,
            "description": description,
            "messages": {name: reference("components", "messages", name) for name in messages},
        }

    names = list(EVENTS)
    shapes, components = msgspec.json.schema_components(
        EVENTS.values(), ref_template="#/components/schemas/{name}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Ride predictions",
            "version": VERSION,
            "description": "Ride events, predictions and decisions, on Kinesis streams.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "rides": channel("ride_events", "Partitioned by str(ride_id).", names[0]),
            "predictions": channel("ride_predictions", "Partitioned by str(ride_id).", *names[1:3]),
            "decisions": channel("ride_decisions", "Partitioned by str(ride_id).", names[3]),
        },
        "operations": {
            "scoreRides": {"action": "receive", "channel": reference("channels", "rides")},
            "publishPredictions": {
                "action": "send",
                "channel": reference("channels", "predictions"),
            },
            "decideRides": {"action": "receive", "channel": reference("channels", "predictions")},
            "publishDecisions": {"action": "send", "channel": reference("channels", "decisions")},
        },
        "components": {
            "messages": {
                name: {"payload": shape} for name, shape in zip(names, shapes, strict=True)
            },
            "schemas": components,
        },
    }


def main(arguments: list[str]) -> int:
    """Write or check the files, as the command line *arguments* request; return the exit code."""
    texts = {name: json.dumps(document, indent=2) + "\n" for name, document in documents().items()}
    return write_or_check(arguments, texts, module="tools.schemas", target="schemas")


def write_or_check(
    arguments: list[str], documents: Mapping[str, str], *, module: str, target: str
) -> int:
    """Write *documents* to a directory, or check that the directory has them.

    *arguments* are those of the command line: the directory, and ``--check`` before it to check.
    *documents* maps a file name to its text.  Messages name the module *module* and the make target
    *target*.  Returns the exit code.
    """
    *options, directory = arguments or [""]
    if options not in ([], ["--check"]) or not directory or directory.startswith("-"):
        print(f"usage: python -m {module} [--check] DIR", file=sys.stderr)
        return 2
    texts = {Path(directory) / name: text for name, text in documents.items()}
    if not options:
        Path(directory).mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text)
        return 0
    stale = [
        str(path) for path, text in texts.items() if not path.exists() or path.read_text() != text
    ]
    if stale:
        print(f"out of date: {', '.join(stale)}; run make {target}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
