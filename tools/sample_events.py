"""Generates sample events for the function: ``python -m tools.sample_events DIR``.

The events have the format of Lambda.  ``--check DIR`` writes nothing and fails if a file in DIR is
out of date.  The files depend only on the source code, so they are the same on every machine.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec

from event_source_mapping.identity import Identity
from event_source_mapping.lambda_event import event_of
from event_source_mapping.records import Record
from local import kpl
from model_service.rides import Ride, RideEvent
from tools.schemas import write_or_check

NAMES = Identity(
    "arn:aws:kinesis:eu-west-1:123456789012:stream/ride_events",
    "arn:aws:lambda:eu-west-1:123456789012:function:ride-predictions",
)
SHARD = "shardId-000000000000"
FIRST_NUMBER = 49657340123456789012345678901234567890123456789012345678
BEGINS = datetime(2026, 11, 20, 13, 15, 0, tzinfo=UTC)  # a Friday morning in New York
RIDES_A_SECOND = 4
ZONES = (7, 24, 33, 41, 42, 43, 49, 65, 66, 74, 75, 82, 95, 97, 116, 129, 130, 166, 181, 205, 244)
FUNCTION = "DurationScorer"  # the function's logical id in the template
ENVIRONMENT = {
    "TEST_RUN": "True",
    "MODEL_LOCATION": "/opt/model",
    "RETURN_PREDICTIONS": "True",
    "REJECTS_LOCATION": "none",  # `sam local` has only the logical id of the bucket
}


def rides(count: int) -> list[RideEvent]:
    """Return *count* rides in the order of their pick-ups; they are the same in every run."""
    draw = Random(20261120).random  # Python guarantees the same sequence in later versions
    return [
        RideEvent(
            Ride(
                pickup=ZONES[int(draw() * len(ZONES))],
                dropoff=ZONES[int(draw() * len(ZONES))],
                distance=round(0.5 + 12 * draw() * draw(), 2),
                pickup_datetime=BEGINS + timedelta(seconds=number // RIDES_A_SECOND),
            ),
            ride_id=256 + number,
        )
        for number in range(count)
    ]


def documents() -> dict[str, str]:
    """Return all sample events: file name -> text of the file."""
    plain = [_encode(ride) for ride in rides(1000)]
    without_distance = json.loads(plain[1])
    del without_distance["ride"]["trip_distance"]
    events = {
        "one-ride": plain[:1],
        "thousand-rides": plain,
        "bad-among-good": [plain[0], json.dumps(without_distance).encode(), *plain[2:5]],
        "kpl": [aggregated(plain[:3]), aggregated([plain[3], _zip(plain[4])])],
        "gzip": [_zip(data) for data in plain[:3]],
    }
    files = {f"{name}.json": _lines(_event(payloads)) for name, payloads in events.items()}
    return {**files, "env.json": json.dumps({FUNCTION: ENVIRONMENT}, indent=2) + "\n"}


def aggregated(payloads: Sequence[bytes]) -> bytes:
    """Return an aggregate of *payloads* that have the same partition key."""
    return kpl.aggregated([("a", data) for data in payloads])


def _encode(ride: RideEvent) -> bytes:
    return msgspec.json.encode(ride)


def _zip(data: bytes) -> bytes:
    # Not compressed, because implementations of zlib produce different bytes.
    return gzip.compress(data, compresslevel=0, mtime=0)


def _event(payloads: Sequence[bytes]) -> dict[str, Any]:
    records = [
        Record(
            sequence_number=str(FIRST_NUMBER + 1_000_003 * number),
            partition_key=str(256 + number),
            data=data,
            arrived_at=_arrival(number).timestamp(),
        )
        for number, data in enumerate(payloads)
    ]
    return event_of(records, SHARD, NAMES)


def _arrival(number: int) -> datetime:
    return BEGINS + timedelta(seconds=number // RIDES_A_SECOND, milliseconds=132)


def _lines(event: dict[str, Any]) -> str:
    """Return *event* as compact JSON with one line for each record."""
    records = ",\n".join(json.dumps(r, separators=(",", ":")) for r in event["Records"])
    return f'{{"Records":[\n{records}\n]}}\n'


def main(arguments: list[str]) -> int:
    """Write or check the files, as the command line *arguments* request; return the exit code."""
    return write_or_check(arguments, documents(), module="tools.sample_events", target="events")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
