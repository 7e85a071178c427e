"""The event source mapping between a Kinesis stream and a Lambda function, as a state machine.

`step` takes a state, an event and the time, and returns the next state and the decisions.  It does
no input or output, reads no clock, and draws no random numbers: the same events at the same times
give the same decisions.  A driver (`threads`, `virtual`) carries out the decisions, and reports the
results as events.  `start` returns the first state.

**Shards.**  A shard is in one of these states:

    waiting    a parent is not finished, so the shard is not read
    open       the driver reads it, after the decision `Open`
    ended      the stream has closed it and the driver has read it to its end (`ShardEnded`)
    finished   it has ended, and all its records are resolved (`Finished`)

A parent that is not listed counts as finished, because its records have left the stream.  Shards
with the same parent are delivered at the same time.

**Lanes.**  A shard delivers its records in lanes.  It has as many lanes as the parallelization
factor, by default one.  A lane delivers one batch at a time.  `lanes` describes its states.

**Events.**  See `events`: `ShardsListed`, `RecordsArrived`, `ShardEnded`; the end of an invocation
as `Answered`, `Failed` or `Throttled`; and `TimePassed`, which is due at `wakes_at`.

**Decisions.**  `decisions` describes them.  The driver must carry them out in their order.  A
`Discard` precedes the `Checkpoint` that passes its records.

**The end of an invocation** has one of these effects on its batch:

* The invocation succeeded: the batch is resolved.
* The function reported a record that is not the first: the records before it are resolved.  The
  reported record and all after it are a new batch, which is due at once.
* The invocation failed, or the function reported the first record.  If bisecting is on and the
  batch has several records, the batch is split in halves, which are two new batches.  The left half
  is due at once.  Otherwise the batch is due again after a pause, with the same request id.  If it
  has no retries left, it is discarded.
* The invocation was throttled: the batch is due again after a pause, and has spent no retry.

A new batch has a new request id and all retries.  Before each invocation, the records at the start
of the batch that have reached their age limit are discarded, and the other records are delivered.

**Invariants**, for every sequence of events:

1. Each record that arrived is either waiting or resolved.  It is resolved only once, because it was
   processed, discarded or expired.
2. The records of a partition key are delivered in their order: a batch is delivered only when all
   earlier records of its lane are resolved.
3. A lane has at most one invocation at a time.
4. With r retries, an unchanged batch is delivered at most r + 1 times, not counting throttled
   attempts.  The n records of a batch need at most n (r + 1) + n - 1 invocations, even if the batch
   is split.
5. A checkpoint passes no unresolved record, and never moves back.
6. A shard is not read before its parents are finished.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import new as new_hash
from itertools import count, takewhile
from math import inf

from . import lanes
from .assumed import (
    LANES_BY_ASSUMED,
    NEW_SHARDS_START_AT_ASSUMED,
    READ_AHEAD_BATCHES_ASSUMED,
)
from .decisions import Checkpoint, Decision, Finished, Open
from .events import (
    Answered,
    Ended,
    Event,
    Failed,
    RecordsArrived,
    ShardEnded,
    ShardsListed,
    Throttled,
    TimePassed,
)
from .lanes import Lane, Turn
from .records import Record, ShardInfo
from .responses import processed
from .settings import Settings
from .state import Shard, State

OK, CALL_FAILED = "OK", "PROBLEM: Function call failed"
"""Values of LastProcessingResult."""
UNHANDLED = "Unhandled"
"""The functionError of an invocation in which the function raised an exception."""


def start(
    settings: Settings,
    shards: Iterable[ShardInfo],
    checkpoints: Mapping[str, str] | None = None,
) -> tuple[State, tuple[Decision, ...]]:
    """Return the first state of a mapping, and the shards to open.

    If a shard has a sequence number in *checkpoints*, it is read after this record.  Otherwise it
    is read from the starting position.
    """
    state = State(checkpoints=dict(checkpoints or {}))
    return _listed(settings, state, shards, settings.starting_position)


def step(
    settings: Settings, state: State, event: Event, now: float
) -> tuple[State, tuple[Decision, ...]]:
    """Return the next state and the decisions after *event* at the time *now*, in seconds.

    Raises `ValueError` if *event* is impossible in *state*, because the driver has an error.
    """
    if isinstance(event, TimePassed):
        return _time_passed(settings, state, now)
    if isinstance(event, ShardsListed):
        return _listed(settings, state, event.shards, NEW_SHARDS_START_AT_ASSUMED)
    shard = state.shards.get(event.shard_id)
    if shard is None or not shard.opened:
        raise ValueError(f"{event.shard_id} is not open")
    turn = Turn(settings, event.shard_id, now, count(state.requests))
    result = state.last_processing_result
    if isinstance(event, RecordsArrived):
        shard = _arrive(shard, event.records)
    elif isinstance(event, ShardEnded):
        shard = replace(shard, ended=True)
    elif isinstance(event, Throttled):
        number, lane = _invoking(shard, event)
        shard = _with_lane(shard, number, lanes.throttle(lane, number, turn))
    else:
        number, lane = _invoking(shard, event)
        done, error = _outcome(lane.batches[0].records, event, settings)
        result = CALL_FAILED if done is None else OK
        lane = lanes.respond(lane, number, turn, done=done or 0, function_error=error)
        shard = _with_lane(shard, number, lane)
    return _settle(state, shard, turn, result)


def wakes_at(settings: Settings, state: State) -> float:
    """Return the time at which `TimePassed` is due; infinity if the mapping waits for events."""
    return min(
        (lanes.wakes_at(lane, settings) for shard in state.shards.values() for lane in shard.lanes),
        default=inf,
    )


def wants_records(settings: Settings, state: State, shard_id: str) -> bool:
    """Return whether a shard is open and one of its lanes has less than a full batch waiting."""
    shard = state.shards[shard_id]
    if not shard.opened or shard.ended:
        return False
    if len(shard.order) >= READ_AHEAD_BATCHES_ASSUMED * settings.batch_size * len(shard.lanes):
        return False
    return any(len(lane.queue) < settings.batch_size for lane in shard.lanes)


def idle(state: State) -> bool:
    """Return whether every record that arrived is resolved."""
    return not any(shard.order for shard in state.shards.values())


def lane_of(partition_key: str, factor: int) -> int:
    """Return the number of the lane of a partition key, from 0 to *factor* - 1.

    *factor* is the parallelization factor.

    >>> lane_of("256", 10) == lane_of("256", 10)
    True
    """
    if factor == 1:
        return 0
    digest = new_hash(LANES_BY_ASSUMED, partition_key.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest) % factor


def _listed(
    settings: Settings, state: State, found: Iterable[ShardInfo], position: str
) -> tuple[State, tuple[Decision, ...]]:
    empty = (Lane(),) * settings.parallelization_factor
    new = {
        info.shard_id: Shard(info, position, empty)
        for info in found
        if info.shard_id not in state.shards
    }
    state, opens = _open(replace(state, shards={**state.shards, **new}))
    return state, tuple(opens)


def _open(state: State) -> tuple[State, list[Decision]]:
    """Open the shards whose parents are finished."""
    ready = {
        shard_id: replace(shard, opened=True, checkpoint=state.checkpoints.get(shard_id))
        for shard_id, shard in state.shards.items()
        if not shard.opened
        and all(state.shards[p].finished for p in shard.info.parents if p in state.shards)
    }
    opens: list[Decision] = [
        Open(shard_id, shard.position, shard.checkpoint) for shard_id, shard in ready.items()
    ]
    return replace(state, shards={**state.shards, **ready}) if ready else state, opens


def _arrive(shard: Shard, records: tuple[Record, ...]) -> Shard:
    """Return *shard* with *records* in the queues of their lanes."""
    factor = len(shard.lanes)
    if factor == 1:
        updated: tuple[Lane, ...] = (lanes.arrive(shard.lanes[0], records),)
    else:
        by_lane: list[list[Record]] = [[] for _ in range(factor)]
        for record in records:
            by_lane[lane_of(record.partition_key, factor)].append(record)
        pairs = zip(shard.lanes, by_lane, strict=True)
        updated = tuple(lanes.arrive(lane, tuple(arrived)) for lane, arrived in pairs)
    order = shard.order + tuple([record.sequence_number for record in records])
    return Shard(
        shard.info,
        shard.position,
        updated,
        opened=shard.opened,
        ended=shard.ended,
        order=order,
        resolved=shard.resolved,
        checkpoint=shard.checkpoint,
    )


def _invoking(shard: Shard, event: Ended) -> tuple[int, Lane]:
    """Return the lane whose invocation has ended, and its number."""
    number = event.lane
    lane = shard.lanes[number] if 0 <= number < len(shard.lanes) else Lane()
    if not lane.invoking or lane.batches[0].request != event.request:
        raise ValueError(f"request {event.request} is not being invoked in lane {number}")
    return number, lane


def _with_lane(shard: Shard, number: int, lane: Lane) -> Shard:
    updated = (*shard.lanes[:number], lane, *shard.lanes[number + 1 :])
    return Shard(
        shard.info,
        shard.position,
        updated,
        opened=shard.opened,
        ended=shard.ended,
        order=shard.order,
        resolved=shard.resolved,
        checkpoint=shard.checkpoint,
    )


def _outcome(
    records: tuple[Record, ...], event: Answered | Failed, settings: Settings
) -> tuple[int | None, str | None]:
    """Return how many records were processed, or None for a failure, and the function's error."""
    if isinstance(event, Failed):
        return None, UNHANDLED
    if not settings.reports_failures:
        return len(records), None
    return processed(records, event.response), None


def _time_passed(
    settings: Settings, state: State, now: float
) -> tuple[State, tuple[Decision, ...]]:
    decisions: list[Decision] = []
    for shard_id, shard in state.shards.items():
        if any(lanes.wakes_at(lane, settings) <= now for lane in shard.lanes):
            turn = Turn(settings, shard_id, now, count(state.requests))
            state, made = _settle(state, shard, turn, state.last_processing_result)
            decisions += made
    return state, tuple(decisions)


def _settle(
    state: State, shard: Shard, turn: Turn, result: str
) -> tuple[State, tuple[Decision, ...]]:
    """Advance the lanes of *shard*, move its checkpoint, and open its children if it is finished.

    The invocations are the last decisions, after the checkpoint.
    """
    advanced = tuple([lanes.proceed(lane, n, turn) for n, lane in enumerate(shard.lanes)])
    checkpoint, order, resolved = _passed(shard, turn.resolved)
    if checkpoint is not None and checkpoint != shard.checkpoint:
        turn.decisions.append(Checkpoint(turn.shard_id, checkpoint))
    settled = Shard(
        shard.info,
        shard.position,
        advanced,
        opened=shard.opened,
        ended=shard.ended,
        order=order,
        resolved=resolved,
        checkpoint=checkpoint,
    )
    was_finished = state.shards[turn.shard_id].finished
    state = State(
        {**state.shards, turn.shard_id: settled},
        state.checkpoints,
        requests=next(turn.requests),
        last_processing_result=result,
    )
    opens: list[Decision] = []
    if settled.finished and not was_finished:
        turn.decisions.append(Finished(turn.shard_id))
        state, opens = _open(state)
    return state, (*turn.decisions, *opens, *turn.invocations)


def _passed(
    shard: Shard, newly: list[Record]
) -> tuple[str | None, tuple[str, ...], frozenset[str]]:
    """Return the checkpoint, `order` and `resolved` of *shard* with *newly* resolved records."""
    order = shard.order
    if not newly:
        return shard.checkpoint, order, shard.resolved
    numbers = tuple([record.sequence_number for record in newly])
    if not shard.resolved and order[: len(numbers)] == numbers:  # always so with one lane
        return numbers[-1], order[len(numbers) :], shard.resolved
    resolved = shard.resolved.union(numbers)
    passed = sum(1 for _ in takewhile(resolved.__contains__, order))
    if not passed:
        return shard.checkpoint, order, resolved
    return order[passed - 1], order[passed:], resolved.difference(order[:passed])
