"""Runs a mapping in real time: threads read the shards and invoke the function.

The thread that calls `run` owns the state of the mapping.  Each read of a shard and each invocation
has a thread of its own, so a slow function or shard does not delay others.  These threads pass
their results to the owner through a queue.  One more thread sends the messages to the destination,
and reports each checkpoint after the messages that precede it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from threading import Event as Flag
from typing import Any

from . import core
from .decisions import Checkpoint, Decision, Discard, Invoke, Open
from .destinations import Deliver
from .events import Event, RecordsArrived, ShardEnded, ShardsListed, TimePassed
from .functions import Function, Result
from .identity import Identity
from .lambda_event import event_of
from .outcomes import notes, outcome_of
from .settings import Settings
from .sources import Read, Reader, Source
from .timeline import Moment, Note

logger = logging.getLogger(__name__)

MOST_THREADS = 1_000  # a thread is started when it is needed
IDLE_SECONDS = 1.0  # between two reads of a shard without new records, as Lambda reads
LONGEST_WAIT = 0.05  # seconds until `finished` and `stop` are looked at again
REFUSED = "the destination refused the message, so the records are LOST"

Show = Callable[[Moment], object]
OnCheckpoint = Callable[[str, str], object]
"""A function that is called with the id of a shard and its checkpoint: the sequence number up to
which all its records are resolved."""


def run(
    function: Function,
    source: Source,
    settings: Settings,
    names: Identity,
    *,
    deliver: Deliver | None = None,
    finished: Callable[[], bool] = lambda: False,
    stop: Flag | None = None,
    idle: float = IDLE_SECONDS,
    show: Show = lambda moment: None,
    on_checkpoint: OnCheckpoint = lambda shard_id, sequence_number: None,
) -> None:
    """Deliver the records of *source* until *finished* returns True and none of them is left.

    *stop* ends the run after the invocations that have begun.  *deliver* sends messages to the
    destination; like AWS, `run` drops a message that the destination refuses.  *idle* is the time
    in seconds between two reads of a shard without new records.  *show* is called with everything
    that happens, from several threads.

    Raises `MappingError` if the stream is deleted.  Other errors of *source* are raised unchanged.
    """
    with (
        ThreadPoolExecutor(MOST_THREADS, "mapping") as workers,
        ThreadPoolExecutor(1, "destination") as settler,
    ):
        running = _Running(
            function, source, settings, names, deliver, idle, show, on_checkpoint, workers, settler
        )
        try:
            running.run(finished, stop or Flag())
        finally:
            workers.shutdown(wait=True, cancel_futures=True)
        running.settle(wait=True)


class _Running:
    """A run.  It is a class because it holds the state of the mapping and its readers."""

    def __init__(
        self,
        function: Function,
        source: Source,
        settings: Settings,
        names: Identity,
        deliver: Deliver | None,
        idle: float,
        show: Show,
        on_checkpoint: OnCheckpoint,
        workers: ThreadPoolExecutor,
        settler: ThreadPoolExecutor,
    ) -> None:
        self.function, self.source = function, source
        self.settings, self.names = settings, names
        self.deliver, self.idle = deliver, idle
        self.show, self.on_checkpoint = show, on_checkpoint
        self.workers, self.settler = workers, settler
        self.inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.readers: dict[str, Reader] = {}
        self.read_at: dict[str, float] = {}
        """Open shard -> when it is read next; infinity during a read."""
        self.settling: deque[Future[Any]] = deque()
        self.finished_at = inf
        self.read_out: set[str] = set()
        """Shards that were read to their end after `finished_at`."""

    def run(self, finished: Callable[[], bool], stop: Flag) -> None:
        self.state, decisions = core.start(self.settings, self.source.shards())
        self.follow(decisions)
        while not stop.is_set():
            if self.finished_at == inf and finished():
                self.finished_at = time.time()
                self.read_at = {name: at if at == inf else 0.0 for name, at in self.read_at.items()}
            if self.read_out.issuperset(self.read_at) and core.idle(self.state):
                return
            self.take(self.start_reads())
            self.settle()
            if core.wakes_at(self.settings, self.state) <= time.time():
                self.step(TimePassed())

    def start_reads(self) -> float:
        """Start the reads that are due, and return the time at which the next read is due."""
        now, following = time.time(), inf
        for shard_id, at in list(self.read_at.items()):
            if not core.wants_records(self.settings, self.state, shard_id):
                continue
            if at <= now:
                self.read_at[shard_id] = inf
                self.begin(self.readers[shard_id], partial(self.arrived, shard_id, now))
            else:
                following = min(following, at)
        return following

    def take(self, next_read: float) -> None:
        """Handle the next result of a thread; wait for a result until something else is due."""
        due = min(core.wakes_at(self.settings, self.state), next_read)
        try:
            handle = self.inbox.get(timeout=min(max(0.0, due - time.time()), LONGEST_WAIT))
        except Empty:
            return
        handle()

    def settle(self, *, wait: bool = False) -> None:
        """Raise the error of a checkpoint that could not be reported, if there is one."""
        while self.settling and (wait or self.settling[0].done()):
            self.settling.popleft().result()

    def arrived(self, shard_id: str, started_at: float, found: Read) -> None:
        """Handle the result *found* of a read that was started at the time *started_at*."""
        self.read_at[shard_id] = time.time() + (self.idle if found.caught_up else 0.0)
        if found.caught_up and started_at >= self.finished_at:
            self.read_out.add(shard_id)
        if found.records:
            arrived = RecordsArrived(shard_id, found.records)
            self.show(Moment(time.time(), arrived))
            self.step(arrived)
        if found.ended:
            del self.read_at[shard_id]
            self.step(ShardsListed(self.source.shards()))
            self.step(ShardEnded(shard_id))

    def ended(self, call: Invoke, result: Result) -> None:
        """Handle the end of the invocation *call*, which had the result *result*."""
        outcome = outcome_of(call, result, self.settings)
        for note in notes(call, outcome):
            self.show(Moment(time.time(), note))
        self.step(outcome.event)

    def step(self, event: Event) -> None:
        self.state, decisions = core.step(self.settings, self.state, event, time.time())
        self.follow(decisions)

    def follow(self, decisions: Iterable[Decision]) -> None:
        now = time.time()
        for decision in decisions:
            self.show(Moment(now, decision))
            match decision:
                case Open(shard_id=shard_id, position=position, sequence_number=number):
                    self.readers[shard_id] = self.source.open(shard_id, position, number)
                    self.read_at[shard_id] = now
                case Invoke():
                    self.begin(partial(self.invoke, decision), partial(self.ended, decision))
                case Discard() if self.deliver is not None:
                    sent = self.settler.submit(self.send, decision, self.deliver, now)
                    self.settling.append(sent)
                case Checkpoint(shard_id=shard_id, sequence_number=number):
                    told = self.settler.submit(self.on_checkpoint, shard_id, number)
                    self.settling.append(told)

    def invoke(self, call: Invoke) -> Result:
        event = event_of(call.records, call.shard_id, self.names)
        return self.function(event, self.names.request_id(call.request))

    def send(self, discard: Discard, deliver: Deliver, at: float) -> None:
        """Send a message to the destination, from the thread for it."""
        try:
            deliver(discard, at)
        except Exception:  # whatever a client raises, AWS counts it as DestinationDeliveryFailures
            logger.exception("%s: %s", discard.shard_id, REFUSED)
            self.show(Moment(time.time(), Note(discard.shard_id, discard.records, REFUSED)))

    def begin[T](self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do *work* in a thread, and hand its result to *then*, or its error to `take`."""

        def task() -> None:
            try:
                result = work()
            except BaseException as exc:  # raised again by the owner of the state
                self.inbox.put(partial(_raise, exc))
            else:
                self.inbox.put(partial(then, result))

        self.workers.submit(task)


def _raise(error: BaseException) -> None:
    raise error
