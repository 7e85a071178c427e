"""The saved queries and the dashboard's tables, evaluated on lines that the function writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model_service import stream
from model_service.kinesis.invocation import Invocation
from model_service.scoring import Target

from ..support import logs_insights, stacks
from ..support.factories import (
    FakeModel,
    MemoryPublisher,
    MemoryRejects,
    batch_line,
    kinesis_event,
    payload,
)
from ..support.logs_insights import Row
from ..support.stacks import SAM_PYTHON, Stack

pytestmark = pytest.mark.skipif(
    not SAM_PYTHON.exists(),
    reason="needs the SAM CLI: make tools/sam/.venv/installed",
)

NO_RIDE = "Object missing required field `ride`"
NO_ZONE = "Expected `int` <= 265 - at `$.ride.PULocationID`"
NO_BASE64 = "data is not base64"

OF_LAMBDA = [
    json.dumps({"type": "platform.report", "record": {"requestId": "a-request"}}),
    json.dumps(
        {
            "timestamp": "2026-11-25T01:02:03Z",
            "level": "ERROR",
            "message": "rejected records cannot be kept",
            "logger": "model_service.kinesis.rejects",
            "requestId": "a-request",
        }
    ),
    json.dumps({"errorType": "Sandbox.Timedout", "requestId": "a-request"}),
    "a line that is no JSON",
]
"""Lines that Lambda and the standard logging write beside the lines of batches."""


@pytest.fixture
def stack() -> Stack:
    return stacks.stack()


def line(*payloads: bytes | str, refuse: frozenset[str] = frozenset()) -> str:
    """The line of a batch of these payloads."""
    report = stream.process(
        kinesis_event(*payloads),
        model=FakeModel(),
        target=Target(),
        publish=MemoryPublisher(refuse=refuse),
        keep=MemoryRejects(),
        time_left=lambda: 60.0,
    )
    return batch_line(report, Invocation("a-request", "7", cold_start=True))


def lines() -> list[str]:
    """Lines of batches with different counts of rejections, and lines of Lambda between them."""
    bad_zone = payload(1, PULocationID=266)
    return [
        line(payload(1), payload(2)),
        OF_LAMBDA[0],
        line(payload(1), b"{}", b"{}", b"{}"),
        OF_LAMBDA[1],
        line(b"{}", bad_zone, "!", bad_zone),
        line(*[payload(n) for n in range(300)], *[bad_zone] * 40),
        line(payload(1), payload(2), b"{}", refuse=frozenset({"2"})),
        *OF_LAMBDA[2:],
        line(),
    ]


def saved(stack: Stack, name: str) -> str:
    query: str = stack.of_type("AWS::Logs::QueryDefinition")[name]["QueryString"]
    return query


def test_each_reason_for_rejections_is_one_row(stack: Stack) -> None:
    for model in ("Duration", "Cost"):
        rows = logs_insights.evaluate(saved(stack, f"{model}ReasonsQuery"), lines())

        assert [(row["rejection.reason"], row["rides"]) for row in rows] == [
            (NO_ZONE, 42),
            (NO_RIDE, 4),
            (NO_BASE64, 1),
        ]
        assert [row["last"] for row in rows] == [5, 4, 4]


def test_the_dashboard_shows_the_reasons_of_the_saved_query(stack: Stack) -> None:
    for model in ("Duration", "Cost"):
        body = stack.of_type("AWS::CloudWatch::Dashboard")[f"{model}Dashboard"]["DashboardBody"]
        [table] = [one for one in json.loads(body)["widgets"] if one["type"] == "log"]
        source, _, query = table["properties"]["query"].partition(" | ")

        rows = logs_insights.evaluate(query, lines())

        assert source == f"SOURCE '<{model}Logs>'"
        of_query = logs_insights.evaluate(saved(stack, f"{model}ReasonsQuery"), lines())
        assert rows == [without(row, "last") for row in of_query]


def without(row: Row, name: str) -> Row:
    return {key: value for key, value in row.items() if key != name}


EXPECTED: dict[str, tuple[int, set[str]]] = {
    "ReasonsQuery": (3, {"rides", "last", "rejection.reason"}),
    "RetriedQuery": (
        1,
        {
            "@timestamp",
            "@message",
            "received.0",
            "to_retry.0",
            "publish_retries.0",
            "shard",
            "checkpoint",
            "request_id",
        },
    ),
    "SlowQuery": (
        6,
        {
            "@timestamp",
            "received.0",
            "model_ms.0",
            "publish_ms.0",
            "publish_retries.0",
            "cold_start.0",
            "shard",
            "request_id",
        },
    ),
    "VersionsQuery": (1, {"version", "bin(5m)", "published", "rejected", "mean"}),
    "FailuresQuery": (2, {"@timestamp", "level", "message", "errorType", "requestId"}),
}
"""The number of rows that each query finds in `lines`, and the columns that have a value."""


def test_every_saved_query_finds_its_rows_and_columns(stack: Stack) -> None:
    queries = stack.of_type("AWS::Logs::QueryDefinition")
    assert queries.keys() == {
        f"{model}{name}" for model in ("Duration", "Cost") for name in EXPECTED
    }

    for name, query in queries.items():
        model = "Cost" if name.startswith("Cost") else "Duration"
        count, columns = EXPECTED[name.removeprefix(model)]

        rows = logs_insights.evaluate(query["QueryString"], lines())

        assert query["LogGroupNames"] == [f"<{model}Logs>"]
        assert len(rows) == count, name
        for column in columns:
            assert any(row.get(column) is not None for row in rows), (name, column)


def test_the_evaluator_refuses_what_it_does_not_know() -> None:
    for query in (
        "parse @message /x/",
        "filter a like /x/",
        "stats median(a) as b",
        "fields upper(a)",
        "fields jsonParse(@message) as line | stats sum(line) as rides",
    ):
        with pytest.raises(logs_insights.UnknownSyntax):
            logs_insights.evaluate(query, lines())


def test_the_evaluator_sees_only_the_fields_that_logs_insights_discovers() -> None:
    many: dict[str, Any] = {f"field_{n}": n for n in range(250)}

    assert logs_insights.evaluate("filter field_199 = 199", [json.dumps(many)])
    assert not logs_insights.evaluate("filter field_200 = 200", [json.dumps(many)])
