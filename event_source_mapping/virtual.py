"""Runs a mapping on a virtual clock: `run` moves it to the next time at which something is due."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from . import core
from .decisions import Decision, Discard, Expired, Invoke, Open
from .errors import MappingError
from .events import Ended, Event, RecordsArrived, ShardEnded, ShardsListed, TimePassed
from .functions import Function
from .identity import Identity
from .lambda_event import event_of
from .memory import MemoryStream
from .messages import message, message_on_s3
from .outcomes import notes, outcome_of
from .records import Record
from .settings import Settings
from .sources import Reader
from .timeline import Moment, timeline

BEGINNING = 1_767_225_600.0
"""The time at which a virtual clock starts: 2026-01-01T00:00:00Z."""
KEY = "key"


@dataclass(frozen=True, slots=True)
class Invocation:
    """An invocation of the function, or an attempt that was throttled."""

    event: dict[str, Any]
    request_id: str
    outcome: str
    """``succeeded``, ``partly succeeded``, ``failed`` or ``throttled``."""
    at: float
    """Seconds after the start of the clock."""
    error: str | None
    """Why the invocation failed or was throttled; None if it succeeded."""
    records: tuple[Record, ...]

    @property
    def data(self) -> list[bytes]:
        """Return the data of the records in the event."""
        return [record.data for record in self.records]


class VirtualMapping:
    """A mapping of a function to a stream in memory.  It is a class because it holds a state."""

    def __init__(
        self,
        function: Function,
        settings: Settings,
        names: Identity,
        *,
        stream: MemoryStream,
        duration: float = 0.0,
    ) -> None:
        """Create the mapping.  Each invocation takes *duration* seconds on the virtual clock."""
        self.stream = stream
        self.stream.now = max(self.stream.now, BEGINNING)
        self.settings = settings
        self.names = names
        self.invocations: list[Invocation] = []
        self.destination: list[dict[str, Any]] = []
        """The messages that the destination received, as AWS writes them."""
        self.lost: list[Record] = []
        """Records that were given up, and that no message at a destination names."""
        self.moments: list[Moment] = []
        self._function = function
        self._duration = duration
        self._readers: dict[str, Reader] = {}
        self._pending: list[tuple[float, int, Ended]] = []
        self._state, decisions = core.start(settings, self.stream.shards())
        self._follow(decisions)

    @property
    def now(self) -> float:
        """Return the time in seconds after the start of the clock."""
        return round(self.stream.now - BEGINNING, 6)

    @property
    def last_processing_result(self) -> str:
        """Return AWS's text about the last batch: ``OK``, or the problem."""
        return self._state.last_processing_result

    @property
    def checkpoints(self) -> dict[str, str]:
        """Return shard id -> the sequence number up to which all records are resolved."""
        shards = self._state.shards.items()
        return {name: shard.checkpoint for name, shard in shards if shard.checkpoint is not None}

    @property
    def waiting(self) -> list[Record]:
        """Return the records that are neither processed nor given up, ordered by shard."""
        return [
            record
            for shard in self._state.shards.values()
            for lane in shard.lanes
            for record in (*(r for batch in lane.batches for r in batch.records), *lane.queue)
        ]

    @property
    def blocked(self) -> list[str]:
        """Return the ids of the shards in which a failed batch is still being retried."""
        return [
            name
            for name, shard in self._state.shards.items()
            if any(batch.attempts for lane in shard.lanes for batch in lane.batches)
        ]

    def put(self, data: bytes | str | dict[str, Any], partition_key: str = KEY) -> Record:
        """Put a record on the stream, and return it.  A dict is written as JSON.

        Raises `MappingError` if *data* has another type, or if *partition_key* is not text.
        """
        if not isinstance(partition_key, str) or not partition_key:
            raise MappingError("partition_key must be a text that is not empty, such as str(5).")
        return self.stream.put(_encoded(data), partition_key)[1]

    def wait(self, seconds: float) -> None:
        """Move the clock by *seconds* and deliver nothing, as if Lambda did not poll the stream."""
        self.stream.now += not_negative("seconds", seconds)

    def run(self, seconds: float | None = None) -> None:
        """Deliver records until nothing is left to do, or until *seconds* have passed.

        Nothing is left to do when every record was processed, sent to the destination or lost.
        This always happens at some time, because a record is lost when it leaves the stream.
        """
        end = inf if seconds is None else self.stream.now + not_negative("seconds", seconds)
        while True:
            self._read()
            ended = self._pending[0][0] if self._pending else inf
            due = min(ended, core.wakes_at(self.settings, self._state))
            if due == inf or due > end:
                break
            self.stream.now = max(self.stream.now, due)
            if ended <= self.stream.now:
                self._step(heapq.heappop(self._pending)[2])
            else:
                self._step(TimePassed())
        if seconds is not None:
            self.stream.now = end

    def timeline(self) -> str:
        """Return what has happened up to now as text, with a line for each step."""
        return timeline(
            self.moments, BEGINNING, has_destination=self.settings.destination is not None
        )

    def _read(self) -> None:
        """Read records of all open shards, until the core wants no more records."""
        if len(self.stream.shards()) > len(self._state.shards):
            self._step(ShardsListed(self.stream.shards()))
        while any([self._read_once(shard_id) for shard_id in list(self._readers)]):
            pass

    def _read_once(self, shard_id: str) -> bool:
        """Read a shard once; return whether there were records, or the shard ended."""
        if not core.wants_records(self.settings, self._state, shard_id):
            return False
        found = self._readers[shard_id]()
        if found.records:
            arrived = RecordsArrived(shard_id, found.records)
            self.moments.append(Moment(self.stream.now, arrived))
            self._step(arrived)
        if found.ended:
            self._step(ShardEnded(shard_id))
        return bool(found.records) or found.ended

    def _step(self, event: Event) -> None:
        self._state, decisions = core.step(self.settings, self._state, event, self.stream.now)
        self._follow(decisions)

    def _follow(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            self.moments.append(Moment(self.stream.now, decision))
            match decision:
                case Open():
                    self._readers[decision.shard_id] = self.stream.open(
                        decision.shard_id, decision.position, decision.sequence_number
                    )
                case Invoke():
                    self._invoke(decision)
                case Discard():
                    self._discard(decision)
                case Expired():
                    self.lost += decision.records

    def _invoke(self, call: Invoke) -> None:
        request_id = self.names.request_id(call.request)
        given, kept = (event_of(call.records, call.shard_id, self.names) for _ in range(2))
        outcome = outcome_of(call, self._function(given, request_id), self.settings)
        self.moments += [Moment(self.stream.now, note) for note in notes(call, outcome)]
        self.invocations.append(
            Invocation(kept, request_id, outcome.word, self.now, outcome.error, call.records)
        )
        at = self.stream.now + self._duration
        heapq.heappush(self._pending, (at, len(self.invocations), outcome.event))

    def _discard(self, discard: Discard) -> None:
        target = self.settings.destination
        if target is None:
            self.lost += discard.records
        elif target.service == "s3":
            self.destination.append(message_on_s3(discard, self.names, self.stream.now))
        else:
            self.destination.append(message(discard, self.names, self.stream.now))


def not_negative(name: str, seconds: float) -> float:
    """Return *seconds*, the value of the argument *name*.

    Raises `MappingError` if it is not a number of at least 0.
    """
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not isfinite(seconds) or seconds < 0:
        raise MappingError(f"{name} must be a number of seconds, and at least 0.")
    return seconds


def _encoded(data: bytes | str | dict[str, Any]) -> bytes:
    """Return the bytes of a record."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, str):
        return data.encode()
    if not isinstance(data, dict):
        raise MappingError(
            f"put takes bytes, text or a dict, not {type(data).__name__}: for other JSON, put"
            " json.dumps(value)."
        )
    try:
        return json.dumps(data).encode()
    except (TypeError, ValueError) as exc:
        raise MappingError(
            f"put cannot write the dict as JSON ({exc}): convert it first."
        ) from None
