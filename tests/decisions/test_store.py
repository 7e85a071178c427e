"""The table, with the emulator's DynamoDB: conditions, the sparse index, sizes, and all laws."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from local.aws.server import Embedded
from model_service import decisions
from model_service.decisions import policy, store, sweep
from model_service.decisions.decision import Decided, Waiting, advance, expire
from model_service.decisions.predictions import decode
from model_service.decisions.store import StoreError, Table
from model_service.errors import SettingsError

from ..support.decisions import (
    COST,
    DURATION,
    EVENT_ID,
    MemoryTable,
    create_table,
    prediction_bytes,
    rules,
)
from ..support.factories import MemoryPublisher, MemoryRejects, kinesis_record
from .test_policy import SHIPPED
from .test_processor import at_once

names = (f"decisions-{number}" for number in count())


@pytest.fixture(scope="module")
def client(module_aws: Embedded) -> Iterator[Any]:
    made = module_aws.dynamodb()
    yield made
    made.close()


@pytest.fixture
def table(client: Any) -> Table:
    name = next(names)
    create_table(client, name)
    return Table(client, name)


def waiting(model: str = DURATION, ride_id: int | str = 256) -> Waiting:
    state = advance(None, [decode(prediction_bytes(model, ride_id))], rules(), now=1000.0)
    assert isinstance(state, Waiting)
    return state


@pytest.mark.parametrize(
    ("variable", "value"), [("AWS_DEFAULT_REGION", ""), ("AWS_ENDPOINT_URL_DYNAMODB", "nowhere")]
)
def test_a_client_that_cannot_be_made_is_a_fault_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match="cannot use DynamoDB"):
        store.connect("decided")


def test_what_is_stored_is_found(table: Table) -> None:
    state = waiting()

    assert table.find("256") is None
    assert table.replace("256", None, state) is state
    assert table.find("256") == state
    decided = Decided(b"{}")
    assert table.replace("256", state, decided) is decided
    assert table.find("256") == decided


def test_a_state_that_the_table_no_longer_has_is_not_replaced(table: Table) -> None:
    first = waiting()
    table.replace("256", None, first)
    second = Waiting(first.predictions, first.deadline, 2)
    table.replace("256", first, second)

    assert table.replace("256", None, Decided(b"{}")) == second
    assert table.replace("256", first, Decided(b"{}")) == second


def test_a_decision_is_never_replaced(table: Table) -> None:
    table.replace("256", None, Decided(b"1"))

    assert table.replace("256", None, Decided(b"2")) == Decided(b"1")
    assert table.replace("256", waiting(), Decided(b"2")) == Decided(b"1")


def test_the_index_has_only_rides_that_the_sweep_has_to_look_at(client: Any, table: Table) -> None:
    state = waiting()
    table.replace("1", None, Decided(b"{}"))
    table.replace("2", None, state)
    table.replace("3", None, expire(state, rules()))

    indexed = client.scan(TableName=table.name, IndexName=store.INDEX)["Items"]
    assert sorted(item["ride"]["S"] for item in indexed) == ["2", "3"]
    assert {one.ride: one.state for one in table.due(state.deadline)} == {
        "2": state,
        "3": expire(state, rules()),
    }
    assert list(table.due(state.deadline - 1)) == []

    table.published("3")
    table.published("2")  # it is not decided, so it stays
    table.published("absent")
    assert [one.ride for one in table.due(state.deadline)] == ["2"]


def test_due_rides_are_read_page_by_page(table: Table) -> None:
    class Pages:
        def __init__(self) -> None:
            self.calls: list[dict[str, Any]] = []

        def query(self, **arguments: Any) -> Any:
            self.calls.append(arguments)
            return table.client.query(**arguments, Limit=2)

    for ride in range(20):
        table.replace(str(ride), None, waiting(ride_id=ride))
    pages = Pages()

    found = list(Table(pages, table.name).due(1e9))  # type: ignore[arg-type]

    assert sorted(int(one.ride) for one in found) == list(range(20))
    assert len(pages.calls) > store.SLOTS


@pytest.mark.parametrize("reply", [{}, {"ConsumedCapacity": {}}, None, []])
def test_a_reply_that_is_not_from_dynamodb_is_no_answer(reply: Any) -> None:
    """A proxy may answer a call with any 200, and botocore then returns an empty dict."""

    class Proxy:
        def answer(self, **arguments: Any) -> Any:
            return reply

        put_item = get_item = query = update_item = answer

    table = Table(Proxy(), "any")

    for call in (
        lambda: table.replace("256", None, waiting()),
        lambda: table.find("256"),
        lambda: list(table.due(1e9)),
        lambda: table.published("256"),
    ):
        with pytest.raises(StoreError):
            call()


def test_an_item_expires_after_two_weeks(client: Any, table: Table) -> None:
    Table(client, table.name, clock=lambda: 1000.0).replace("256", None, waiting())

    item = client.get_item(TableName=table.name, Key={"ride": {"S": "256"}})["Item"]
    assert item["expires"] == {"N": str(1000 + 14 * 86400)}


def size(item: dict[str, Any]) -> int:
    """The size of an item, as DynamoDB counts it.

    Source: DynamoDB Developer Guide, "DynamoDB item sizes and formats".
    """
    total = 0
    for name, [(kind, value)] in ((name, one.items()) for name, one in item.items()):
        total += len(name.encode())
        total += (
            len(value) // 2 + 2
            if kind == "N"
            else len(value)
            if kind == "B"
            else len(value.encode())
        )
    return total  # fmt: skip


def test_items_are_smaller_than_one_write_unit(client: Any, table: Table) -> None:
    """With an id of 36 characters, event ids as AWS's, an MLflow run, and every rule broken."""
    ride, by = "3f2b8c1e-9a4d-4b77-8f10-5d6c7e8f9a0b", rules(policy=policy.load(str(SHIPPED)))
    said = [
        decode(
            prediction_bytes(
                model,
                ride,
                value=1234.5678901234567,
                interval=[0.12345678901234567, 2345.678901234567],
                version="0b9e1d6c2f3a4b5c8d7e6f5a4b3c2d1e",
                event_id=f"{EVENT_ID}#0123456789abcdef",
            )
        )
        for model in (DURATION, COST)
    ]
    first = advance(None, said[:1], by, 1000.0)
    assert isinstance(first, Waiting)
    table.replace("waiting", None, first)
    table.replace("decided", None, Decided(_decided(said, by), 1000))

    for name in ("waiting", "decided"):
        item = client.get_item(TableName=table.name, Key={"ride": {"S": name}})["Item"]
        assert size(item) + len(ride) <= 1024, name


def _decided(said: Any, by: Any) -> bytes:
    state = advance(None, said, by, 0.0)
    assert isinstance(state, Decided)
    assert len(json.loads(state.body)["reasons"]) == 4
    return state.body


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (ClientError({"Error": {"Code": "ThrottlingException", "Message": "arn"}}, "x"), "Thro"),
        (ConnectTimeoutError(endpoint_url="https://dynamodb"), "ConnectTimeoutError"),
    ],
)
def test_a_call_that_fails_is_one_error_with_its_code(raised: Exception, code: str) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            def call(**arguments: Any) -> Any:
                raise raised

            return call

    broken = Table(Broken(), "a-table")

    for call in (
        lambda: broken.replace("1", None, Decided(b"")),
        lambda: broken.find("1"),
        lambda: list(broken.due(1.0)),
        lambda: broken.published("1"),
    ):
        with pytest.raises(StoreError, match=f"^{code}\\w*$"):
            call()


# --- all laws together: a stream, functions that die, a stream that refuses, and a clock ----------


class Died(Exception):
    """The function was killed."""


class Dying:
    """A table whose function dies after a number of writes; the last write is stored or not."""

    def __init__(self, table: Any, writes: int, stored: bool) -> None:
        self.table, self.left, self.stored = table, writes, stored

    def replace(self, ride: str, before: Any, after: Any) -> Any:
        if self.left == 0:
            if self.stored:
                self.table.replace(ride, before, after)
            raise Died
        self.left -= 1
        return self.table.replace(ride, before, after)

    def due(self, now: float) -> Any:
        return self.table.due(now)

    def published(self, ride: str) -> None:
        if self.left == 0:
            raise Died
        self.left -= 1
        self.table.published(ride)


@pytest.mark.parametrize("kind", ["in memory", "emulator"])
def test_no_ride_has_two_decisions_and_none_stays_undecided(client: Any, kind: str) -> None:
    in_memory = kind == "in memory"

    class Machine(RuleBasedStateMachine):
        """Scorers publish predictions; the function is invoked as Lambda and the schedule do."""

        @initialize()
        def begin(self) -> None:
            self.table: Any = MemoryTable()
            if not in_memory:
                name = next(names)
                create_table(client, name)
                self.table = Table(client, name)
            self.publisher = MemoryPublisher()
            self.stream: list[dict[str, Any]] = []
            self.checkpoint = 0
            self.clock = 1_000_000.0

        @rule(
            ride=st.integers(0, 3),
            model=st.sampled_from([DURATION, COST]),
            version=st.sampled_from(["1", "1", "1", "2"]),
            event=st.sampled_from(["a", "a", "a", "b"]),
            copies=st.integers(1, 2),
        )
        def a_model_speaks(
            self, ride: int, model: str, version: str, event: str, copies: int
        ) -> None:
            said = prediction_bytes(
                model, ride, value=len(model) + ride, version=version, event_id=event
            )
            for _ in range(copies):
                self.stream.append(kinesis_record(said, len(self.stream)))

        @rule(size=st.integers(1, 6), again=st.integers(0, 2))
        def a_batch(self, size: int, again: int) -> None:
            start = max(0, self.checkpoint - again)
            if batch := self.stream[start : start + size]:
                self.invoke(batch, self.table)

        @rule(size=st.integers(1, 6), writes=st.integers(0, 4), stored=st.booleans())
        def a_batch_whose_function_dies(self, size: int, writes: int, stored: bool) -> None:
            if batch := self.stream[self.checkpoint : self.checkpoint + size]:
                with suppress(Died):
                    self.invoke(batch, Dying(self.table, writes, stored))

        @rule(size=st.integers(1, 6), refused=st.frozensets(st.sampled_from("0123")))
        def a_batch_while_the_stream_refuses(self, size: int, refused: frozenset[str]) -> None:
            self.publisher.refuse = refused
            if batch := self.stream[self.checkpoint : self.checkpoint + size]:
                self.invoke(batch, self.table)
            self.publisher.refuse = frozenset()

        @rule(seconds=st.sampled_from([1, 30, 61]))
        def time_passes_and_a_sweep(self, seconds: int) -> None:
            self.clock += seconds
            self.sweep(self.table)

        @rule(writes=st.integers(0, 4), stored=st.booleans())
        def a_sweep_whose_function_dies(self, writes: int, stored: bool) -> None:
            self.clock += 61
            with suppress(Died):
                self.sweep(Dying(self.table, writes, stored))

        def invoke(self, batch: list[dict[str, Any]], table: Any) -> None:
            report = decisions.process(
                {"Records": batch},
                rules=rules(),
                store=table,
                publish=self.publisher,
                keep=MemoryRejects(),
                time_left=lambda: 60.0,
                call_all=at_once,
                now=self.now,
            )
            end = next(
                n for n, one in enumerate(self.stream)
                if one["kinesis"]["sequenceNumber"]
                == (report.checkpoint or batch[-1]["kinesis"]["sequenceNumber"])
            )  # fmt: skip
            self.checkpoint = max(self.checkpoint, end + (report.checkpoint is None))

        def sweep(self, table: Any) -> None:
            sweep.sweep(
                rules=rules(),
                store=table,
                publish=self.publisher,
                time_left=lambda: 60.0,
                call_all=at_once,
                now=self.now,
            )

        def now(self) -> datetime:
            return datetime.fromtimestamp(self.clock, UTC)

        def teardown(self) -> None:
            if not hasattr(self, "table"):
                return
            while batch := self.stream[self.checkpoint : self.checkpoint + 5]:
                self.invoke(batch, self.table)
            self.clock += 61
            self.sweep(self.table)
            bodies: dict[str, set[bytes]] = {}
            for entry in self.publisher.sent:
                bodies.setdefault(entry.key, set()).add(entry.data)
            heard = {str(decode(b64decode(one["kinesis"]["data"])).ride_id) for one in self.stream}
            assert bodies.keys() == heard
            assert all(len(copies) == 1 for copies in bodies.values())
            assert list(self.table.due(self.clock + 1000)) == []

    examples = settings().max_examples  # each call of the emulator takes milliseconds
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=4 * examples if in_memory else examples // 8,
            stateful_step_count=15,
            deadline=None,
        ),
    )
