"""Whatever happens, the core keeps its invariants: a stateful property test.

The machine plays the driver.  It feeds events to the core in any order that a driver can produce,
follows the decisions, and checks each of them against what it knows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from event_source_mapping import core
from event_source_mapping.decisions import (
    Checkpoint,
    Decision,
    Discard,
    Expired,
    Finished,
    Invoke,
    Open,
    Progressed,
    Succeeded,
)
from event_source_mapping.events import (
    Answered,
    Event,
    Failed,
    RecordsArrived,
    ShardEnded,
    ShardsListed,
    Throttled,
    TimePassed,
)
from event_source_mapping.records import PAYLOAD_BYTES, Record, ShardInfo
from event_source_mapping.settings import UNLIMITED, Settings

TOO_LARGE = bytes(PAYLOAD_BYTES)
SETTINGS = st.builds(
    Settings,
    batch_size=st.integers(1, 6),
    maximum_batching_window_in_seconds=st.sampled_from([0, 0, 5]),
    parallelization_factor=st.integers(1, 3),
    bisect_batch_on_function_error=st.booleans(),
    maximum_retry_attempts=st.sampled_from([UNLIMITED, 0, 1, 3]),
    maximum_record_age_in_seconds=st.sampled_from([UNLIMITED, 60, 3600]),
    function_response_types=st.sampled_from([(), ("ReportBatchItemFailures",)]),
)
OUTCOMES = st.sampled_from(["well", "reports", "reports", "raises", "nonsense", "throttled"])


class Mapping(RuleBasedStateMachine):
    """Plays the stream and the function, and keeps the books."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.arrived: dict[str, list[Record]] = defaultdict(list)
        self.resolved: dict[str, Counter[str]] = defaultdict(Counter)
        self.flying: dict[tuple[str, int], Invoke] = {}
        self.records_of: dict[tuple[int, int], tuple[Record, ...]] = {}
        self.root: dict[str, int] = {}
        self.reached: Counter[int] = Counter()
        self.checkpoints: dict[str, int] = {}
        self.opened: set[str] = set()
        self.closed: set[str] = set()
        self.finished: set[str] = set()
        self.parents: dict[str, tuple[str, ...]] = {}
        self.count = 0

    @initialize(settings=SETTINGS, shards=st.integers(1, 2))
    def begin(self, settings: Settings, shards: int) -> None:
        self.settings = settings
        infos = [ShardInfo(f"shard-{n}") for n in range(shards)]
        self.parents = {info.shard_id: () for info in infos}
        self.state, decisions = core.start(settings, infos)
        self.follow(decisions)

    @rule(
        pick=st.integers(0, 9),
        keys=st.lists(st.sampled_from("abcd"), min_size=1, max_size=7),
        large=st.booleans(),
    )
    def arrive(self, pick: int, keys: str, large: bool) -> None:
        readable = sorted(self.opened - self.closed)
        if not readable:
            return
        records = []
        for key in keys:
            self.count += 1
            data = TOO_LARGE if large and key == "d" else b""
            records.append(Record(str(self.count), key, data, self.now))
        shard_id = readable[pick % len(readable)]
        self.arrived[shard_id] += records
        self.step(RecordsArrived(shard_id, tuple(records)))

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 99), outcome=OUTCOMES, place=st.integers(0, 9))
    def answer(self, pick: int, outcome: str, place: int) -> None:
        self.end(sorted(self.flying)[pick % len(self.flying)], outcome, place)

    @rule(seconds=st.sampled_from([0.1, 1.0, 70.0, 90_000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.step(TimePassed())

    @rule()
    def wake(self) -> None:
        due = core.wakes_at(self.settings, self.state)
        if due < float("inf"):
            self.now = max(self.now, due)
            self.step(TimePassed())

    @rule(pick=st.integers(0, 9), merge=st.booleans())
    def reshard(self, pick: int, merge: bool) -> None:
        readable = sorted(self.opened - self.closed)
        if not readable or len(self.parents) > 6:
            return
        first = readable[pick % len(readable)]
        old = readable[:2] if merge and len(readable) > 1 else [first]
        names = [f"shard-{len(self.parents) + n}" for n in range(1 if len(old) > 1 else 2)]
        self.parents |= {name: tuple(old) for name in names}
        self.step(ShardsListed(tuple(ShardInfo(name, tuple(old)) for name in names)))
        for shard_id in old:
            self.closed.add(shard_id)
            self.step(ShardEnded(shard_id))

    @invariant()
    def a_lane_that_can_continue_says_when(self) -> None:
        if hasattr(self, "state") and not core.idle(self.state) and not self.flying:
            assert core.wakes_at(self.settings, self.state) < float("inf")

    def teardown(self) -> None:
        """A function that works resolves everything, in a bounded number of steps."""
        if not hasattr(self, "state"):
            return
        for turn in range(2_000 + 4 * self.count):
            if core.idle(self.state):
                break
            if turn % 40 == 39:
                self.now += 3_600  # a record that is too large blocks its shard for a day
            if self.flying:
                self.end(min(self.flying), "well", 0)
            else:
                self.wake()
        assert core.idle(self.state)
        for shard_id, records in self.arrived.items():
            assert self.resolved[shard_id] == Counter(r.sequence_number for r in records)
        assert self.closed <= self.finished

    def step(self, event: Event) -> None:
        before, (self.state, decisions) = (
            self.state,
            core.step(self.settings, self.state, event, self.now),
        )
        assert core.step(self.settings, before, event, self.now) == (self.state, decisions)
        self.follow(decisions)

    def end(self, lane: tuple[str, int], outcome: str, place: int) -> None:
        call = self.flying.pop(lane)
        numbers = [record.sequence_number for record in call.records]
        response: Any = None
        if outcome == "reports":
            response = failures(numbers[place % len(numbers)])
        elif outcome == "nonsense":
            response = failures(numbers[0], "unknown")
        where = call.shard_id, call.lane, call.request
        if outcome == "throttled":
            self.step(Throttled(*where))
            return
        self.reached[self.root[numbers[0]]] += 1
        self.step(Failed(*where) if outcome == "raises" else Answered(*where, response))

    def follow(self, decisions: tuple[Decision, ...]) -> None:
        for decision in decisions:
            match decision:
                case Open(shard_id=shard_id):
                    assert shard_id not in self.opened
                    assert set(self.parents[shard_id]) <= self.finished
                    self.opened.add(shard_id)
                case Invoke():
                    self.check_invocation(decision)
                case Succeeded(shard_id=shard_id, records=records):
                    self.resolve(shard_id, records)
                case Progressed(shard_id=shard_id, done=done, rest=rest):
                    assert done
                    assert rest
                    self.resolve(shard_id, done)
                case Discard(shard_id=shard_id, records=records, condition=condition):
                    assert decision.invoke_count >= 1
                    if condition == "RecordAgeExceeded":
                        assert not decision.responded
                        age = self.settings.maximum_record_age_in_seconds
                        assert all(self.now >= record.arrived_at + age for record in records)
                    else:
                        retries = self.settings.maximum_retry_attempts
                        assert decision.invoke_count == 1 + retries
                    self.resolve(shard_id, records)
                case Expired(shard_id=shard_id, records=records):
                    assert all(self.now >= record.arrived_at + 86_400 for record in records)
                    self.resolve(shard_id, records)
                case Checkpoint(shard_id=shard_id, sequence_number=number):
                    self.check_checkpoint(shard_id, number)
                case Finished(shard_id=shard_id):
                    assert shard_id in self.closed
                    assert len(self.resolved[shard_id]) == len(self.arrived[shard_id])
                    self.finished.add(shard_id)

    def check_invocation(self, call: Invoke) -> None:
        lane = (call.shard_id, call.lane)
        assert lane not in self.flying
        assert 1 <= len(call.records) <= self.settings.batch_size
        assert sum(record.event_bytes for record in call.records) <= PAYLOAD_BYTES
        self.flying[lane] = call
        known = self.arrived[call.shard_id]
        done = self.resolved[call.shard_id]
        sent = {record.sequence_number for record in call.records}
        assert not sent & done.keys()
        for key in {record.partition_key for record in call.records}:
            waiting = [
                record
                for record in known
                if record.partition_key == key and record.sequence_number not in done
            ]
            mine = [record for record in call.records if record.partition_key == key]
            assert waiting[: len(mine)] == mine
        retries = self.settings.maximum_retry_attempts
        assert retries == UNLIMITED or call.attempt <= retries + 1
        unchanged = self.records_of.setdefault((call.request, 0), call.records)
        assert unchanged == call.records  # a request id belongs to one batch
        for record in call.records:
            self.root.setdefault(record.sequence_number, call.request)
        self.check_bound(self.root[call.records[0].sequence_number])

    def check_bound(self, root: int) -> None:
        retries = self.settings.maximum_retry_attempts
        if retries != UNLIMITED:
            size = sum(1 for other in self.root.values() if other == root)
            assert self.reached[root] <= size * (retries + 1) + size - 1

    def resolve(self, shard_id: str, records: tuple[Record, ...]) -> None:
        self.resolved[shard_id].update(record.sequence_number for record in records)
        assert max(self.resolved[shard_id].values()) == 1

    def check_checkpoint(self, shard_id: str, number: str) -> None:
        order = [record.sequence_number for record in self.arrived[shard_id]]
        position = order.index(number)
        assert position > self.checkpoints.get(shard_id, -1)
        assert all(each in self.resolved[shard_id] for each in order[: position + 1])
        self.checkpoints[shard_id] = position


def failures(*identifiers: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": each} for each in identifiers]}


TestMapping = Mapping.TestCase
TestMapping.settings = hypothesis_settings(stateful_step_count=40, deadline=None)
