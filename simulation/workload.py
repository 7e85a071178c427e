"""Makes the records of a run, with the expected result of each ride event in them.

So that the expected results do not depend on the code under test, this module computes the
prediction events itself (`Ride.prediction`).  Only the reasons of broken payloads come from the
service, which reads each such payload alone when this module is imported.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from aws_kinesis_agg.aggregator import RecordAggregator

from model_service import rides
from model_service.errors import RideRejected
from model_service.scoring import OUTSIDE

from . import models
from .options import Options

JUNE = datetime(2022, 6, 1)
SUMMER_TIME = timedelta(hours=4)  # New York's offset from UTC in June
NEW_YORK = ZoneInfo("America/New_York")
FIELD, MODEL_NAME = "ride_duration", "ride_duration_prediction_model"
POISONED = "the model cannot score this ride: KeyError"
MAX_PAYLOAD = 1024 * 1024
BOMBS = 11  # gzips in one record; ten use up what the gzips of a record may hold together

BROKEN: tuple[bytes, ...] = (
    b"",
    b"   ",
    b"null",
    b"[]",
    b"{",
    b"garbage",
    b'{"ride_id": 1}',
    b'{"ride": {}, "ride_id": 1}',
    b'{"ride": null, "ride_id": 1}',
    b'{"ride": {"PULocationID": 0, "DOLocationID": 205, "trip_distance": 3.66}, "ride_id": 1}',
    b'{"ride": {"PULocationID": 266, "DOLocationID": 205, "trip_distance": 3.66}, "ride_id": 1}',
    b'{"ride": {"PULocationID": "130", "DOLocationID": 205, "trip_distance": 3}, "ride_id": 1}',
    b'{"ride": {"PULocationID": true, "DOLocationID": 205, "trip_distance": 3}, "ride_id": 1}',
    b'{"ride": {"PULocationID": 130, "DOLocationID": 205, "trip_distance": -1}, "ride_id": 1}',
    b'{"ride": {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 1000}, "ride_id": 1}',
    b'{"ride": {"PULocationID": 130, "DOLocationID": 205, "trip_distance": NaN}, "ride_id": 1}',
    b'{"ride": {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 1e999}, "ride_id": 1}',
    b'{"ride": {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3}, "ride_id": ""}',
    b'{"ride": {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3}, "ride_id": 1.5}',
    b'{"ride": {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3,'
    b' "pickup_datetime": "yesterday"}, "ride_id": 1}',
    b'{"ride": {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3,'
    b' "pickup_datetime": "0001-01-01T00:00:00"}, "ride_id": 1}',
    b'{"a": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    b'\xff\xfe{\x00"\x00a\x00"\x00:\x001\x00}\x00',
    b"\x28\xb5\x2f\xfd\x00\x01\x00\x00",
    b"\x1f\x8b\x08\x00",
    b"\x1f\x8b",
    gzip.compress(b'{"ride_id": 1}', mtime=0)[:-4],
    gzip.compress(b"not JSON", mtime=0),
    b"\xf3\x89\x9a\xc2 an aggregate with a wrong checksum",
    b"\xf3\x89\x9a\xc2",
)
"""Payloads that the service must reject."""


class Broken(NamedTuple):
    """The expected result of a broken ride event: its rejection for *reason* is stored."""

    reason: str

    def rejection(self, version: int) -> str:
        return self.reason

    def prediction(self, event_id: str, arrived: float, version: int) -> bytes:
        raise AssertionError("a broken ride event has no prediction")


@dataclass(slots=True)
class Ride:
    """A valid ride event, from which its expected prediction or rejection follows."""

    ride_id: int | str
    pickup: int
    dropoff: int
    miles: float
    local: datetime | None
    """The pick-up time in New York; None if it is the record's time of arrival."""
    poison: bool
    """Whether the models of this run raise an exception for poison rides."""
    interval: bool

    def rejection(self, version: int) -> str:
        """Return why the model's version number *version* rejects the ride, or an empty text."""
        if self.miles >= models.FAR_MILES:
            return OUTSIDE
        if self.poison and self.miles == models.poison_miles(version):
            return POISONED
        return ""

    def prediction(self, event_id: str, arrived: float, version: int) -> bytes:
        """Return the bytes of the prediction event that is expected for the ride.

        *event_id* is the ride's event id.  *arrived* is its time of arrival on the stream, in
        seconds since 1970.  *version* is the number of the model's version that scores it.
        """
        arrived_at, minute = _arrival(arrived)
        if self.local:
            minute = 60 * self.local.hour + self.local.minute
        value = models.minutes(self.pickup, self.dropoff, self.miles, minute, version)
        prediction: dict[str, Any] = {FIELD: value, "ride_id": self.ride_id}
        if self.interval:
            prediction["interval"] = [value - 1, value + 1]
        return msgspec.json.encode(
            {
                "model": MODEL_NAME,
                "version": models.name(version),
                "prediction": prediction,
                "source": {"event_id": event_id, "arrived_at": arrived_at},
            }
        )


@lru_cache(1000)
def _arrival(arrived: float) -> tuple[str, int]:
    """Return a time of arrival as text in UTC, and its minute of the day in New York."""
    moment = datetime.fromtimestamp(arrived, UTC)
    local = moment.astimezone(NEW_YORK)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
    return text, 60 * local.hour + local.minute


Truth = Broken | Ride


class Sent(NamedTuple):
    """The data of one record, and the expected results of the ride events in it."""

    key: str
    data: bytes
    truths: tuple[Truth, ...]
    aggregated: bool
    """Whether the event ids of the ride events carry their position in the record."""


@cache
def broken() -> tuple[tuple[bytes, Broken], ...]:
    """Return pairs of a broken payload and its expected result."""
    return tuple((data, Broken(_reason(data))) for data in BROKEN)


@cache
def bombs() -> tuple[bytes, Broken]:
    """Return a gzip that holds more bytes than a payload may have, and its expected result."""
    bomb = gzip.compress(b" " * (MAX_PAYLOAD + 1), mtime=0)
    return bomb, Broken(f"gzip holds more than {MAX_PAYLOAD} bytes")


def _reason(data: bytes) -> str:
    from base64 import b64encode

    [result] = rides.read(b64encode(data).decode(), "alone", None)
    if not isinstance(result.event, RideRejected):
        raise AssertionError(f"this payload is not broken: {data[:60]!r}")
    return str(result.event)


def records(options: Options) -> list[Sent]:
    """Return the records of a run, in the order in which they are sent."""
    random = Random(f"{options.seed} workload")
    sent: list[Sent] = []
    for number in range(options.records):
        one = _record(options, random, number)
        sent.append(one)
        if options.repeat_share and random.random() < options.repeat_share:
            sent.append(one)
    if options.bombs:
        for _ in range(random.randint(1, 3)):
            sent.insert(random.randrange(len(sent)), _bombs())
    if options.kept_records is None:
        return sent
    return [one for number, one in enumerate(sent) if number in options.kept_records]


def _record(options: Options, random: Random, number: int) -> Sent:
    if options.kpl_share and random.random() < options.kpl_share:
        parts = [
            _payload(options, random, f"{number}.{part}") for part in range(random.randint(1, 6))
        ]
        data = _aggregate([part for part, _ in parts])
        return Sent(str(number), data, tuple(truth for _, truth in parts), True)
    data, truth = _payload(options, random, number)
    key = str(truth.ride_id) if isinstance(truth, Ride) else str(number)
    return Sent(key, data, (truth,), False)


def _payload(options: Options, random: Random, number: int | str) -> tuple[bytes, Truth]:
    if random.random() < options.bad_share:
        found = random.choice(broken())
        # The truth of a broken aggregate is that of a record, not that of a user record.
        return found if isinstance(number, int) or found[0][:1] != b"\xf3" else broken()[0]
    data, ride = _ride(options, random, number)
    if options.gzip_share and random.random() < options.gzip_share:
        data = gzip.compress(data, compresslevel=1, mtime=0)
        if random.random() < 0.2:
            data += b"\0\n"
    return data, ride


def _ride(options: Options, random: Random, number: int | str) -> tuple[bytes, Ride]:
    ride_id = number if isinstance(number, int) and random.random() < 0.8 else f"ride {number}"
    chosen = random.getrandbits(32)
    pickup, dropoff, miles = 1 + chosen % 265, 1 + chosen // 265 % 265, (chosen >> 20) % 100 / 8
    if options.poison_share and random.random() < options.poison_share:
        version = random.randrange(models.VERSIONS)
        miles = random.choice([models.poison_miles(version), models.FAR_MILES])
    kind = random.random()
    local: datetime | None = None
    extra = ""
    if kind < 0.7:
        local = JUNE + timedelta(minutes=random.getrandbits(15))
        extra = f', "pickup_datetime": "{_written(local, random)}"'
    elif kind < 0.8:
        extra = ', "fare": [1, {"total": "18.40"}]'
    shown = f"{ride_id}" if isinstance(ride_id, int) else json.dumps(ride_id)
    mark = "\ufeff" if kind > 0.98 else ""
    text = (
        f'{mark}{{"ride": {{"PULocationID": {pickup}, "DOLocationID": {dropoff},'
        f' "trip_distance": {miles}{extra}}}, "ride_id": {shown}}}'
    )
    interval = options.intervals and not options.onnx
    ride = Ride(ride_id, pickup, dropoff, miles, local, not options.onnx, interval)
    return text.encode(), ride


def _written(local: datetime, random: Random) -> str:
    """Return a way to write the time *local* in New York, where it is summer."""
    kind = random.random()
    if kind < 0.6:
        return local.isoformat()
    if kind < 0.8:
        return local.isoformat(timespec="minutes") + "-04:00"
    return (local + SUMMER_TIME).isoformat() + ".125Z"


def _bombs() -> Sent:
    bomb, truth = bombs()
    data = _aggregate([bomb] * BOMBS)
    used_up = Broken(f"the record's gzips hold more than {10 * MAX_PAYLOAD} bytes")
    truths = (truth,) * (BOMBS - 2) + (used_up,) * 2
    return Sent("bombs", data, truths, True)


def _aggregate(payloads: Sequence[bytes]) -> bytes:
    aggregator = RecordAggregator()
    for data in payloads:
        aggregator.add_user_record("key", data)
    return bytes(aggregator.clear_and_get().get_contents()[2])


def shard_hash(key: str) -> int:
    """Return the hash key of a partition key, as Kinesis computes it."""
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest())
