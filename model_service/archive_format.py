"""The format of the archive: the names of its objects, and their lines.

The archive has one line of JSON for each Kinesis record.  An object holds the lines of one batch of
one shard that arrived in the same hour.  Its name has the stream, the hour (UTC), the shard, and
the sequence numbers of the first and the last record.

Lambda may deliver records again: a whole batch, the rest of a batch, or a part of it.  So two
objects of an hour and shard may overlap.  Because a batch has all records of its shard between the
first and the last, the names alone tell which lines are in two objects: see `covered`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from msgspec import Struct

NAME = re.compile(r"([^/]+)/(\d{4}/\d\d/\d\d/\d\d)/(shardId-\d+)-(\d+)-(\d+)\.jsonl\.gz$")
HOUR = "%Y/%m/%d/%H"
SEQUENCE_NUMBER = re.compile("0|[1-9][0-9]{0,128}")
"""Source: Kinesis Data Streams API Reference, "Record", the pattern of SequenceNumber."""


class Line(Struct, frozen=True, kw_only=True):
    """A line of the archive: one Kinesis record."""

    event_id: str
    """The event id from Lambda: the id of the shard, a colon, and the sequence number."""
    arrived_at: datetime
    partition_key: str = ""
    data: str
    """The bytes of the record in base64."""

    @property
    def sequence_number(self) -> int:
        """The sequence number in the event id; 0 if it has none."""
        number = self.event_id.partition(":")[2].partition("#")[0]
        return int(number) if SEQUENCE_NUMBER.fullmatch(number) else 0


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """The key of an object of the archive, without the prefix of the archive's location.

    >>> str(ObjectKey("ride_events", datetime(2026, 3, 1, 8, tzinfo=UTC), "shardId-0", 4961, 4963))
    'ride_events/2026/03/01/08/shardId-0-4961-4963.jsonl.gz'
    """

    stream: str
    hour: datetime
    """The hour in which the records arrived, in UTC."""
    shard: str
    first: int
    """Sequence number of the first record in the object."""
    last: int
    """Sequence number of the last record in the object."""

    def __str__(self) -> str:
        numbers = f"{self.first}-{self.last}"
        return f"{self.stream}/{self.hour.strftime(HOUR)}/{self.shard}-{numbers}.jsonl.gz"

    @classmethod
    def parse(cls, location: str) -> ObjectKey | None:
        """Read the key at the end of *location*; return None if it does not have this layout."""
        found = NAME.search(location)
        if not found:
            return None
        stream, hour, shard, first, last = found.groups()
        try:
            moment = datetime.strptime(hour, HOUR).replace(tzinfo=UTC)
        except ValueError:  # for example the month 13
            return None
        return cls(stream, moment, shard, int(first), int(last))


def covered(locations: Iterable[str]) -> dict[str, int]:
    """Return location -> the sequence number up to which other objects have the same lines.

    If a reader of each object skips the lines up to that number, it reads every line once.  The
    result leaves out objects that overlap no other.  It also leaves out files whose location does
    not end in an `ObjectKey`, with the folders of the stream and the hour.

    An object covers another one of its folder and shard if it starts earlier.  If both start at
    the same record, the longer object covers the shorter one.
    """
    keys = [(location, key) for location in {*locations} if (key := ObjectKey.parse(location))]
    keys.sort(key=lambda one: (_group(*one), one[1].first, -one[1].last))
    found: dict[str, int] = {}
    for _, group in groupby(keys, lambda one: _group(*one)):
        last = -1
        for location, key in group:
            if last >= key.first:
                found[location] = last
            last = max(last, key.last)
    return found


def _group(location: str, key: ObjectKey) -> tuple[str, str]:
    """Return the folder and the shard of an object: only such objects can overlap."""
    return location.rpartition("/")[0], key.shard
