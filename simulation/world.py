"""Runs a simulation: the stream, the mapping and the function, until every record is resolved.

**The loop.**  A heap holds what happens next, by virtual time: records are put on the stream, a
shard is read, an invocation ends, a late write applies, a shard is split, another version of the
model is deployed, the mapping wakes up.  An invocation runs at once when it begins, on a clock that
starts at that time; the mapping learns of its end when that time comes.  So invocations of several
lanes (the parallel sequences of batches of a shard) overlap in virtual time.

**Liveness.**  When the faults have ended, every invocation has to make progress: `MAX_IDLE`
invocations of a lane in a row without any are a violation.  So is a run that ends with a record
that no checkpoint has passed, or that needs more than `MAX_INVOCATIONS` for each record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random

from event_source_mapping import core
from event_source_mapping.decisions import (
    Checkpoint,
    Decision,
    Discard,
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
from event_source_mapping.settings import PARTIAL_RESPONSES, Destination, Settings

from . import models, workload
from .clock import START, Clock
from .faults import Faults
from .function import FAILED, MAX_STEP, Invocation
from .input_stream import InputStream, short
from .ledger import STUCK, Ledger, Violation
from .options import Options
from .trace import shown
from .workload import Sent

MAX_IDLE = 3
MAX_INVOCATIONS = 50
POLL_SECONDS = 1.0  # Lambda reads a shard about once a second
STREAM, MAPPING, FUNCTION = "stream", "mapping", "function"

Trace = Callable[[float, str, str], None]
"""A function that takes the seconds since the start, the name of a part, and what it does."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did, and the violation that ended it, if one did."""

    options: Options
    violation: Violation | None
    batches: int
    records: int
    """The number of records that were delivered; a record counts with each delivery."""
    sent: int
    published: int
    """The number of prediction events on the output stream."""
    duplicates: int
    kept: int
    """The number of ride events with a rejection on S3."""
    at_destination: int
    faults: Counter[str]
    fault_numbers: int
    """The number of faults, also of those that were skipped."""
    seconds: float
    """The virtual time that passed."""


def run(options: Options, trace: Trace | None = None) -> Result:
    """Run the simulation with *options*."""
    world = World(options, trace)
    violation = None
    try:
        world.play()
    except Violation as exc:
        violation = exc
        world.note("violation", str(exc))
    ledger = world.ledger
    return Result(
        options,
        violation,
        world.batches,
        world.delivered,
        len(ledger.records),
        sum(ledger.published.values()),
        ledger.duplicates,
        len(+ledger.kept),
        sum(record.at_destination for record in ledger.records.values()),
        world.faults.counts,
        world.faults.number,
        world.clock.now - START,
    )


class World:
    """The state of a run."""

    def __init__(self, options: Options, trace: Trace | None) -> None:
        self.options, self.trace = options, trace
        self.clock, self.ledger = Clock(), Ledger()
        self.faults = Faults(options, self.clock, self.note if trace else None)
        self.random = Random(f"{options.seed} world")
        self.pauses = Random(f"{options.seed} pauses")
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.turns = count()
        self.stream = InputStream(self.ledger, options.shards)
        self.version = self.batches = self.delivered = 0
        self.wake_at = inf
        self.idle: Counter[tuple[str, int]] = Counter()
        self.settings = Settings(
            batch_size=options.batch_size,
            maximum_batching_window_in_seconds=options.window,
            parallelization_factor=options.factor,
            bisect_batch_on_function_error=options.bisect,
            maximum_retry_attempts=options.retries,
            maximum_record_age_in_seconds=options.age,
            function_response_types=(PARTIAL_RESPONSES,),
            destination=Destination("arn:aws:s3:::rejects"),
            retention_period_hours=8760,
        )
        self.state, decisions = core.start(self.settings, self.stream.infos)
        self._plan()
        self._carry_out(decisions)

    def note(self, part: str, what: str) -> None:
        if self.trace:
            self.trace(self.clock.now - START, part, what)

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Do *action* at *moment*."""
        heappush(self.agenda, (moment, next(self.turns), action))

    def play(self) -> None:
        """Run until nothing is left to do.  Raises `Violation` if a law does not hold."""
        most = MAX_INVOCATIONS * (self.options.records + 20)
        while self.agenda:
            self.clock.now, _, action = heappop(self.agenda)
            action()
            if self.batches > most:
                raise Violation(STUCK, f"there are more than {most} invocations")
        if self.ledger.waiting:
            raise Violation(STUCK, f"{self.ledger.waiting} records are never resolved")

    def _plan(self) -> None:
        """Plan what does not depend on the mapping: records, splits, versions."""
        options, random = self.options, self.random
        records = workload.records(options)
        size = -(-len(records) // options.bursts) or 1
        for start in range(0, len(records), size):
            moment = START + random.uniform(0, options.arrival_seconds)
            burst = records[start : start + size]
            self.at(moment, lambda burst=burst: self._put(burst))  # type: ignore[misc]
        for _ in range(options.reshards):
            self.at(START + random.uniform(0, options.arrival_seconds + 60), self._reshard)
        for _ in range(options.redeploys):
            self.at(START + random.uniform(0, options.faulty_seconds + 1), self._redeploy)

    def _put(self, records: Sequence[Sent]) -> None:
        reached = self.stream.put(records, self.clock.now)
        self.note(STREAM, f"{len(records)} records arrive on {', '.join(map(short, reached))}")
        for shard_id in reached:
            self._poll(shard_id)

    def _reshard(self) -> None:
        change = self.stream.reshard(self.random)
        self.note(STREAM, change.what)
        self._feed(ShardsListed(change.new))
        for parent in change.new[0].parents:
            self._poll(parent)

    def _redeploy(self) -> None:
        self.version = (self.version + 1) % models.VERSIONS
        self.note(FUNCTION, f"{models.name(self.version)} is deployed")

    def _poll(self, name: str) -> None:
        self.at(self.clock.now + self.random.uniform(0, POLL_SECONDS), lambda: self._read(name))

    def _read(self, name: str) -> None:
        """Read a shard, if the mapping wants records of it."""
        shard = self.stream.shards[name]
        if not shard.is_open or shard.ended:
            return
        if shard.unread and core.wants_records(self.settings, self.state, name):
            records, shard.unread = tuple(shard.unread), []
            self._feed(RecordsArrived(name, records))
        if shard.is_closed and not shard.unread:
            shard.ended = True
            self._feed(ShardEnded(name))

    def _feed(self, event: Event) -> None:
        self.state, decisions = core.step(self.settings, self.state, event, self.clock.now)
        self._carry_out(decisions)

    def _carry_out(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            if self.trace:
                self.note(MAPPING, shown(decision, self.ledger, self.clock.now))
            if isinstance(decision, Invoke):
                self._invoke(decision)
            elif isinstance(decision, Checkpoint):
                self.ledger.checkpoint(decision.shard_id, decision.sequence_number)
                self._poll(decision.shard_id)
            elif isinstance(decision, Open):
                self.stream.shards[decision.shard_id].is_open = True
                self._poll(decision.shard_id)
            elif isinstance(decision, Discard):
                self.ledger.discard(decision.records)
                self.idle[decision.shard_id, decision.lane] = 0
            elif isinstance(decision, Succeeded | Progressed):
                self.idle[decision.shard_id, decision.lane] = 0
        wake_at = core.wakes_at(self.settings, self.state)
        if wake_at < self.wake_at:
            self.wake_at = wake_at
            self.at(max(wake_at, self.clock.now), self._wake)

    def _wake(self) -> None:
        self.wake_at = inf
        self._feed(TimePassed())

    def _invoke(self, decision: Invoke) -> None:
        """Run the function now, and tell the mapping of the end when its time comes."""
        begun = self.clock.now
        where = (decision.shard_id, decision.lane, decision.request)
        if self.faults.is_out("lambda") or self.faults.happens(
            "function", self.options.throttles, "the invocation is throttled"
        ):
            self.at(begun + 0.05, lambda: self._feed(Throttled(*where)))
            return
        if begun >= self.faults.ends:
            self.idle[where[:2]] += 1
            if self.idle[where[:2]] > MAX_IDLE:
                raise Violation(STUCK, f"{MAX_IDLE} invocations of a batch make no progress")
        self.batches += 1
        self.delivered += len(decision.records)
        batch = self.ledger.batch(decision.records, self.version)
        outcome = Invocation(
            self.options,
            self.clock,
            self.faults,
            self.ledger,
            batch,
            self.pauses,
            self.at,
            begun + self.options.timeout,
            self._killed_at(),
        ).run()
        ended, self.clock.now = self.clock.now, begun
        response = outcome.response
        if response is not FAILED and self.faults.happens(
            "function", self.options.lost_answers, "the function's answer is lost"
        ):
            response = FAILED
        self.note(
            FUNCTION,
            f"request {decision.request}: {outcome.what} after {ended - begun:.3f} s"
            f" with {models.name(batch.version)}",
        )
        event: Event = Failed(*where) if response is FAILED else Answered(*where, response)
        self.at(ended, lambda: self._feed(event))

    def _killed_at(self) -> int:
        """Return the step at which the next invocation is killed; negative for never."""
        if not self.faults.happens("function", self.options.kills, "the function is killed"):
            return -1
        return self.faults.details.randrange(MAX_STEP)
