"""The events of the core: what happened since the last step.

A driver reports them.  The event that the function receives is another thing: see `lambda_event`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .records import Record, ShardInfo


@dataclass(frozen=True, slots=True)
class ShardsListed:
    """The stream has these shards; those that are known already do not change."""

    shards: tuple[ShardInfo, ...]


@dataclass(frozen=True, slots=True)
class RecordsArrived:
    """The driver has read the next records of an open shard."""

    shard_id: str
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class ShardEnded:
    """An open shard is closed, and has been read to its end."""

    shard_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The function returned *response*, as decoded from JSON."""

    shard_id: str
    lane: int
    request: int
    response: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The invocation failed: the function raised, timed out or returned no JSON."""

    shard_id: str
    lane: int
    request: int


@dataclass(frozen=True, slots=True)
class Throttled:
    """The batch did not reach the function: a throttle, a missing permission, a service error."""

    shard_id: str
    lane: int
    request: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The time of `wakes_at` has come."""


Ended = Answered | Failed | Throttled
Event = ShardsListed | RecordsArrived | ShardEnded | Ended | TimePassed
