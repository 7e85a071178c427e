"""Schemas match the code, and stay compatible with those of the last release."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_service.stream.predictions import Prediction, Source, encode, event_of
from tools import schemas

DOCS = Path(__file__).parents[2] / "docs" / "events"
RELEASED = sorted((DOCS / "released").glob("*.schema.json"))


def prediction(field: str, interval: tuple[float, float] | None) -> Prediction:
    source = Source("shardId-000000000000:1#2", datetime(2022, 6, 2, tzinfo=UTC))
    return Prediction("a model", "v", field, 21.3, interval, "256", source)


@pytest.mark.parametrize("interval", [None, (17.0, 26.9)])
@pytest.mark.parametrize(
    ("field", "event"),
    [
        ("ride_duration", schemas.DurationPredictionEvent),
        ("ride_cost", schemas.CostPredictionEvent),
    ],
)
def test_published_predictions_match_the_schema(
    field: str, event: type[msgspec.Struct], interval: tuple[float, float] | None
) -> None:
    data = encode(event_of(prediction(field, interval)))

    read = msgspec.json.decode(data, type=event)

    assert msgspec.json.decode(msgspec.json.encode(read)) == msgspec.json.decode(data)


def test_the_documents_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas.main(["--check", str(DOCS)]) == 0


def test_an_outdated_document_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas.main([str(tmp_path)]) == 0
    (tmp_path / "asyncapi.json").write_text("{}")

    assert schemas.main(["--check", str(tmp_path)]) == 1
    assert "asyncapi.json" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--check"], ["--write", "x"]])
def test_wrong_arguments_print_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert schemas.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


UNRELEASED = {"decision-event"}
"""Events that the next release adds."""


def test_released_schemas_exist() -> None:
    released = schemas.EVENTS.keys() - UNRELEASED
    assert {path.name for path in RELEASED} == {f"{name}.schema.json" for name in released}


@pytest.mark.parametrize("released", RELEASED, ids=lambda path: path.name)
def test_fields_are_only_added_and_never_become_required(released: Path) -> None:
    before, now = json.loads(released.read_text())["$defs"], schemas.documents()[released.name]

    for name, old in before.items():
        new = now["$defs"][name]
        assert new["required"] == old["required"]
        is_read = released.name == "ride-event.schema.json"
        assert {
            key: plain(new["properties"][key], nullable=is_read) for key in old["properties"]
        } == {key: plain(value) for key, value in old["properties"].items()}


def plain(schema: dict[str, Any], *, nullable: bool = False) -> dict[str, Any]:
    """*schema* without its descriptions, which may change.

    If *nullable*, null is removed from what it allows: an event that is read may allow it later.
    """
    if nullable and {"type": "null"} in schema.get("anyOf", []):
        [schema] = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    return {key: value for key, value in schema.items() if key not in ("description", "examples")}


@pytest.mark.parametrize("name", schemas.EVENTS)
def test_every_event_has_a_message_and_every_reference_exists(name: str) -> None:
    document = schemas.documents()["asyncapi.json"]

    assert name in document["components"]["messages"]
    for reference in references(document):
        found = document
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]


def references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for child in node for found in references(child)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if "$ref" in node else []
    return own + [found for child in node.values() for found in references(child)]
