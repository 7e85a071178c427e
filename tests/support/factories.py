"""Values and fakes for tests. The fakes keep the contracts that the real things keep."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model_service.emf import Destination
from model_service.features import RideColumns
from model_service.kinesis import telemetry
from model_service.kinesis.accounting import BatchReport
from model_service.kinesis.invocation import Invocation
from model_service.kinesis.publisher import Entry, PublishResult
from model_service.kinesis.rejects import Rejection
from model_service.scoring import Answers, Target, TimeLeft
from model_service.stream.predictions import Prediction

STREAM_ARN = "arn:aws:kinesis:eu-west-1:000000000000:stream/ride_events"
SHARD = "shardId-000000000000"
ARRIVED = 1654161514.132  # 2022-06-02T09:18:34.132Z
BROTLI = bytes.fromhex(
    "1b4c000004fef396eadfcb170e532e5f9128b229d980434e0fce6960cd0fee65a56d79bc724488abe66242137aacfdff"
    "8f24549a9bc809abdeff07"
)
STORED_BROTLI = b'\x0b\x02\x80{"a":\x03'
"""Made by brotli 1.2 of an event without a distance, and of the beginning of one."""


def ride_event(ride_id: int | str = 256, **changes: Any) -> dict[str, Any]:
    """A ride event as a producer makes it."""
    ride = {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66, **changes}
    return {"ride": ride, "ride_id": ride_id}


def payload(ride_id: int | str = 256, **changes: Any) -> bytes:
    """The bytes of a ride event."""
    return json.dumps(ride_event(ride_id, **changes)).encode()


def kinesis_record(data: bytes | str, number: int = 1, arrived: float = ARRIVED) -> dict[str, Any]:
    """A record as Lambda delivers it; *data* as str is taken for the base64 itself."""
    sequence_number = f"4963008166608487929058118{number:031d}"
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "1",
            "sequenceNumber": sequence_number,
            "data": data if isinstance(data, str) else base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": arrived,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{SHARD}:{sequence_number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/lambda-kinesis-role",
        "awsRegion": "eu-west-1",
        "eventSourceARN": STREAM_ARN,
    }


def kinesis_event(*payloads: bytes | str) -> dict[str, Any]:
    """A batch, its records numbered from 1."""
    return {"Records": [kinesis_record(data, n) for n, data in enumerate(payloads, start=1)]}


def sequence_number(event: dict[str, Any], position: int) -> str:
    """The sequence number of the record at *position*, counted from 0."""
    number: str = event["Records"][position]["kinesis"]["sequenceNumber"]
    return number


def by_distance(rides: RideColumns) -> Answers:
    """Five minutes a mile, and two."""
    return Answers(2 + 5 * rides.distance)


@dataclass
class FakeModel:
    """A model of a function; it refuses what *cannot* says, and remembers its calls."""

    ask: Callable[[RideColumns], Answers] = by_distance
    cannot: Callable[[RideColumns], Any] = lambda rides: np.zeros(len(rides.pickup), dtype=bool)
    version: str = "Test123"
    seconds: float = 0.0
    calls: list[int] = field(default_factory=list)

    def predict(self, rides: RideColumns, /) -> Answers:
        self.calls.append(len(rides.pickup))
        if np.any(self.cannot(rides)):
            raise KeyError("a ride that this model cannot score")
        return self.ask(rides)


@dataclass
class MemoryPublisher:
    """A `Publish` that refuses the entries of some partition keys."""

    refuse: frozenset[str] = frozenset()
    sent: list[Entry] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        return [entry.key for entry in self.sent]

    def __call__(self, entries: Sequence[Entry], time_left: TimeLeft) -> PublishResult:
        refused = frozenset(n for n, entry in enumerate(entries) if entry.key in self.refuse)
        self.sent += [entry for n, entry in enumerate(entries) if n not in refused]
        return PublishResult(refused)


INVOCATION = Invocation("8f507cfc-xmpl-4697-b07a-ac58fc914c95", "7")


DESTINATION = Destination()


def batch_line(
    report: BatchReport[Prediction],
    invocation: Invocation = INVOCATION,
    destination: Destination = DESTINATION,
) -> str:
    """The metric line of a batch that `FakeModel` scored."""
    return telemetry.log_line(
        report,
        model_name=Target().model_name,
        version=FakeModel.version,
        predictions=[prediction.value for prediction in report.published],
        invocation=invocation,
        destination=destination,
    )


@dataclass
class MemoryRejects:
    """A `Keep` that loses the rejections of some event ids."""

    lose: frozenset[str] = frozenset()
    kept: list[Rejection] = field(default_factory=list)

    def __call__(self, rejections: Sequence[Rejection], time_left: TimeLeft) -> frozenset[int]:
        lost = frozenset(n for n, r in enumerate(rejections) if r.event_id in self.lose)
        self.kept += [r for n, r in enumerate(rejections) if n not in lost]
        return lost
