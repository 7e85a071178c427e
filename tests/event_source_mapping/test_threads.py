"""In real time, threads read the shards and invoke the function, and lose nothing."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_source_mapping import core
from event_source_mapping.decisions import Discard
from event_source_mapping.faults import KINDS, faulty
from event_source_mapping.functions import Handler, in_process
from event_source_mapping.identity import identity
from event_source_mapping.memory import MemoryStream
from event_source_mapping.settings import Settings
from event_source_mapping.sources import Reader
from event_source_mapping.threads import REFUSED, run
from event_source_mapping.timeline import Moment, Note

NAMES = identity("rides", "scorer")
REPORTS = ("ReportBatchItemFailures",)
PATIENCE = 20  # seconds, on a busy machine


class Function:
    """A handler that counts the records that it receives, by data."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.order: dict[str, list[str]] = {}
        self.lock = threading.Lock()

    def __call__(self, event: dict[str, Any], context: Any) -> None:
        with self.lock:
            for record in event["Records"]:
                number = record["kinesis"]["sequenceNumber"]
                self.seen[number] += 1
                self.order.setdefault(record["kinesis"]["partitionKey"], []).append(number)


def stream_of(count: int, shards: int = 1) -> MemoryStream:
    stream = MemoryStream(shards)
    stream.now = time.time()
    for number in range(count):
        stream.put(str(number).encode(), str(number % 20))
    return stream


def deliver(handler: Handler, stream: MemoryStream, mapping: Settings, **options: Any) -> None:
    function = in_process(handler, NAMES, PATIENCE)
    options = {"finished": lambda: True, **options}
    run(function, stream, mapping, NAMES, idle=0.01, **options)


@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(0, 60),
    shards=st.integers(1, 3),
    batch_size=st.integers(1, 20),
    factor=st.integers(1, 3),
)
def test_each_record_is_delivered_once_and_in_the_order_of_its_key(
    count: int, shards: int, batch_size: int, factor: int
) -> None:
    function = Function()

    deliver(
        function,
        stream_of(count, shards),
        Settings(batch_size=batch_size, parallelization_factor=factor),
    )

    assert len(function.seen) == count
    assert set(function.seen.values()) <= {1}
    for numbers in function.order.values():
        assert numbers == sorted(numbers, key=int)


@settings(max_examples=8, deadline=None)
@given(kinds=st.lists(st.sampled_from(sorted(KINDS)), max_size=4))
def test_nothing_is_lost_under_faults(kinds: Sequence[str]) -> None:
    function = Function()
    faults = chain(kinds, repeat(None))
    stream = stream_of(30, shards=2)
    mapping = Settings(
        batch_size=8, bisect_batch_on_function_error=True, function_response_types=REPORTS
    )

    run(
        faulty(in_process(function, NAMES, PATIENCE), faults),
        stream,
        mapping,
        NAMES,
        finished=lambda: True,
        idle=0.01,
    )

    assert len(function.seen) == 30


def test_a_slow_shard_does_not_hold_up_another() -> None:
    stream = stream_of(40, shards=2)
    slow = stream.shards()[0].shard_id
    released = threading.Event()
    passed: list[str] = []

    def handler(event: dict[str, Any], context: Any) -> None:
        shard = event["Records"][0]["eventID"].partition(":")[0]
        if shard == slow:
            assert released.wait(PATIENCE)
        else:
            passed.extend(event["Records"])
            if len(passed) == sum(stream.shard_of(str(n % 20)) != slow for n in range(40)):
                released.set()

    deliver(handler, stream, Settings(batch_size=3))

    assert released.is_set()


def test_lanes_of_a_shard_run_side_by_side() -> None:
    together = threading.Barrier(3, timeout=PATIENCE)

    def handler(event: dict[str, Any], context: Any) -> None:
        together.wait()

    stream = MemoryStream()
    stream.now = time.time()
    for lane in range(3):
        stream.put(b"", next(str(n) for n in range(99) if core.lane_of(str(n), 3) == lane))

    deliver(handler, stream, Settings(parallelization_factor=3, maximum_retry_attempts=0))

    assert not together.broken


def test_a_resharded_stream_is_read_to_its_end() -> None:
    stream = stream_of(10)
    [parent] = (shard.shard_id for shard in stream.shards())
    function = Function()

    def handler(event: dict[str, Any], context: Any) -> None:
        if not function.seen:
            for name in stream.split(parent):
                stream.put(b"", next(str(n) for n in range(99) if stream.shard_of(str(n)) == name))
        function(event, context)

    deliver(handler, stream, Settings(batch_size=5), finished=lambda: bool(function.seen))

    assert len(function.seen) == 12


def test_a_checkpoint_is_reported_after_the_message_that_precedes_it() -> None:
    told: list[str] = []

    def handler(event: dict[str, Any], context: Any) -> None:
        raise ValueError("no")

    def send(discard: Discard, at: float) -> None:
        time.sleep(0.05)
        told.append("message")

    deliver(
        handler,
        stream_of(1),
        Settings(maximum_retry_attempts=0),
        deliver=send,
        on_checkpoint=lambda shard_id, number: told.append("checkpoint"),
    )

    assert told == ["message", "checkpoint"]


def test_a_message_that_the_destination_refuses_is_shown_as_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shown: list[Moment] = []

    def handler(event: dict[str, Any], context: Any) -> None:
        raise ValueError("no")

    def send(discard: Discard, at: float) -> None:
        raise ConnectionError("no route")

    deliver(
        handler, stream_of(1), Settings(maximum_retry_attempts=0), deliver=send, show=shown.append
    )

    notes = [moment.what.text for moment in shown if isinstance(moment.what, Note)]
    assert notes == ["ValueError: no", REFUSED]
    assert "no route" in caplog.text


def test_stopping_ends_a_run_whose_function_always_fails() -> None:
    stop = threading.Event()

    def handler(event: dict[str, Any], context: Any) -> None:
        stop.set()
        raise ValueError("no")

    deliver(handler, stream_of(1), Settings(), stop=stop)

    assert stop.is_set()


def test_an_error_of_the_stream_ends_the_run() -> None:
    class Broken(MemoryStream):
        def open(self, shard_id: str, position: str, sequence_number: str | None) -> Reader:
            def read() -> Any:
                raise PermissionError("GetRecords")

            return read

    with pytest.raises(PermissionError, match="GetRecords"):
        deliver(Function(), Broken(), Settings())


def test_an_error_while_a_checkpoint_is_reported_is_raised() -> None:
    def refuse(shard_id: str, number: str) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        deliver(Function(), stream_of(3), Settings(), on_checkpoint=refuse)
