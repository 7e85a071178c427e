"""The events of the core, with which a driver reports what has happened.

They are not the events that the function receives, which `lambda_event` makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .records import Record, ShardInfo


@dataclass(frozen=True, slots=True)
class ShardsListed:
    """The stream has the shards *shards*, of which some may be known already."""

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
    """The invocation failed: the function raised an exception, timed out, or returned no JSON."""

    shard_id: str
    lane: int
    request: int


@dataclass(frozen=True, slots=True)
class Throttled:
    """The batch did not reach the function, because of a throttle, a permission or an AWS error."""

    shard_id: str
    lane: int
    request: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """It is now the time that `core.wakes_at` returned, or later."""


Ended = Answered | Failed | Throttled
Event = ShardsListed | RecordsArrived | ShardEnded | Ended | TimePassed
