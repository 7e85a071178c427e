"""Measures the archive's work and the sizes of records: ``python -m benchmarks.archive``.

The archive's function stores a batch in memory instead of on S3, so the figures include only its
own work.  The sizes are those of records as the service reads and writes them.  `operate.capacity`
calculates with these figures.  Writes build/bench/results.json, and prints a table to standard
output.
"""

from __future__ import annotations

import base64
import json
import random
import statistics
import sys
import time
from typing import Any

from model_service.archive import writer
from model_service.kinesis import records
from model_service.stream.predictions import Prediction, Source, entry

from .results import save

ROUNDS = 9
RECORDS = 5_000  # of one batch
SEED = 17
TITLES = {
    "a ride event": "ride_bytes",
    "a prediction event": "prediction_bytes",
    "a ride in the archive": "archive_bytes_a_ride",
    "a prediction in the archive": "archive_bytes_a_prediction",
    "a record in an event of Lambda, without its data": "event_bytes_a_record",
}
"""Title of a size -> its name in `sizes`."""


def batch(count: int, data: list[bytes]) -> dict[str, Any]:
    """Return a batch of *count* Kinesis records, as Lambda delivers it, with *data* in turns.

    Sequence numbers grow by random steps and records arrive 0 to 2 ms apart, so that they compress
    no better than those of AWS.
    """
    choose = random.Random(SEED)
    number, arrived = 49657340123456789012345678901234567890123456789012345678, 1795180500.0
    found = []
    for position in range(count):
        number += choose.randrange(10**18, 10**21)
        arrived += choose.random() / 500
        found.append(
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": str(256 + position),
                    "sequenceNumber": str(number),
                    "data": base64.b64encode(data[position % len(data)]).decode(),
                    "approximateArrivalTimestamp": round(arrived, 3),
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-000000000000:{number}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::123456789012:role/ride-predictions",
                "awsRegion": "us-east-1",
                "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/ride_events",
            }
        )
    return {"Records": found}


def rides(count: int) -> list[bytes]:
    """Return *count* ride events with random values, which compress no better than real ones."""
    choose = random.Random(SEED)
    return [
        json.dumps(
            {
                "ride": {
                    "PULocationID": choose.randint(1, 263),
                    "DOLocationID": choose.randint(1, 263),
                    "trip_distance": round(choose.lognormvariate(0.8, 0.8), 2),
                    "pickup_datetime": f"2026-11-20T{choose.randrange(24):02}:15:00Z",
                },
                "ride_id": 256 + position,
            }
        ).encode()
        for position in range(count)
    ]


def predictions(count: int) -> list[bytes]:
    """Return *count* prediction events with intervals and random values."""
    choose = random.Random(SEED)
    found: list[bytes] = []
    for record in records.read(batch(count, rides(count))):
        minutes = choose.lognormvariate(2.5, 0.6)
        event = Prediction(
            model="ride_duration_prediction_model",
            version="m-8f507cfcb07aac58fc914c958f507cfc",
            field="ride_duration",
            value=minutes,
            interval=(minutes * 0.7, minutes * 1.6),
            ride_id=256 + len(found),
            source=Source(record.event_id, record.arrived_at),
        )
        found.append(entry(event).data)
    return found


def sizes(count: int) -> dict[str, float]:
    """Return the mean sizes of *count* records in bytes."""
    of_rides, of_predictions = rides(count), predictions(count)
    ride_batch, prediction_batch = batch(count, of_rides), batch(count, of_predictions)
    return {
        "ride_bytes": statistics.mean(map(len, of_rides)),
        "prediction_bytes": statistics.mean(map(len, of_predictions)),
        "archive_bytes_a_ride": archived_bytes(ride_batch) / count,
        "archive_bytes_a_prediction": archived_bytes(prediction_batch) / count,
        "event_bytes_a_record": envelope(ride_batch),
    }


def archived_bytes(event: dict[str, Any]) -> int:
    return sum(len(one.body) for one in writer.objects(records.read(event)))


def envelope(event: dict[str, Any]) -> float:
    """Return the mean bytes of a record in an event of Lambda, without its data."""
    whole = len(json.dumps(event, separators=(",", ":")))
    data = sum(len(record["kinesis"]["data"]) for record in event["Records"])
    return (whole - data) / len(event["Records"])


def milliseconds(event: dict[str, Any]) -> float:
    """Return the median processor time of a batch of the archive, with the parsing of its JSON."""
    text = json.dumps(event)
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        report = writer.process(
            json.loads(text), store=lambda objects, left: frozenset(), time_left=lambda: 60.0
        )
        times.append(time.process_time() - start)
        assert report.to_retry == 0
    return statistics.median(times) * 1000


def main() -> int:
    of_work = milliseconds(batch(RECORDS, predictions(RECORDS))) * 1000 / RECORDS
    found = sizes(RECORDS)
    save("archive", {"archive_ms": of_work, **found})
    print(f"| | |\n|---|---|\n| 1,000 predictions, archived | {of_work:.1f} ms |")
    for title, name in TITLES.items():
        print(f"| {title} | {found[name]:.0f} bytes |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
