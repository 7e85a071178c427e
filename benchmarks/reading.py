"""Measures the reading of whole numbers with a decimal point: ``python -m benchmarks.reading``.

A thousand ride events are read as the stream reads them, once written with ``130`` and once with
``130.0``, alternately.  The ratio is the median over the rounds.  The benchmark exits with 1 if the
ratio is above 1.2.  Writes build/bench/results.json, and prints a table to standard output.
"""

from __future__ import annotations

import json
import sys
import time
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

from model_service import rides

from .results import save
from .web import rides as random_rides

ROUNDS = 200
LIMIT = 1.2
NOW = datetime(2022, 6, 2, tzinfo=UTC)


def records(*, with_point: bool) -> list[str]:
    """Return the data of a thousand Kinesis records, in base64."""
    number = float if with_point else int
    return [
        b64encode(
            json.dumps(
                {
                    "ride": {
                        "PULocationID": number(ride["PULocationID"]),
                        "DOLocationID": number(ride["DOLocationID"]),
                        "trip_distance": ride["trip_distance"],
                    },
                    "ride_id": number(n),
                }
            ).encode()
        ).decode()
        for n, ride in enumerate(random_rides())
    ]


def seconds(data: Sequence[str]) -> float:
    """Return the processor time in seconds of reading all records in *data*."""
    began = time.process_time()
    for n, record in enumerate(data):
        for _ in rides.read(record, f"shard:{n}", NOW):
            pass
    return time.process_time() - began


def main() -> int:
    plain, with_point = records(with_point=False), records(with_point=True)
    turns = [(seconds(plain), seconds(with_point)) for _ in range(ROUNDS)]
    ratio = median(second / first for first, second in turns)
    milliseconds = [1000 * median(column) for column in zip(*turns, strict=True)]
    save(
        "reading",
        {"plain_ms": milliseconds[0], "with_point_ms": milliseconds[1], "ratio": round(ratio, 3)},
    )
    print("| 1,000 ride events | processor time |\n|---|---|")
    for written, took in zip(("`130`", "`130.0`"), milliseconds, strict=True):
        print(f"| written with {written} | {took:.1f} ms |")
    print(f"\nThe ratio is {ratio:.2f}.")
    return 1 if ratio > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
