"""Golden vectors: fixed rides whose predictions must come out the same from every door.

``python -m tests.golden`` trains their model anew and rewrites golden.json.  Do that where the
simulation or the training was meant to change, and never to make a test pass.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from model_service import model, rides
from model_service.features import columns
from training import simulation
from training.run import Plan, Result
from training.run import train as run

from .factories import ARRIVED, ride_event

FILE = Path(__file__).parent / "golden.json"
TOLERANCE = 1e-3  # minutes; training refuses to log a model whose forms differ by more
MONTHS = ("2021-01", "2021-02")
RIDES: list[dict[str, Any]] = [
    ride_event(1, pickup_datetime="2021-03-01T08:15:00"),
    ride_event(2, pickup_datetime="2021-03-01T08:15:00-05:00"),
    ride_event(3, pickup_datetime="2021-03-06T23:59:59.999Z"),
    ride_event(4, pickup_datetime="2021-03-14T02:30:00"),
    ride_event(5, PULocationID=74, DOLocationID=75, trip_distance=0.9,
               pickup_datetime="2021-06-04T17:40:00"),
    ride_event(6, PULocationID=265, DOLocationID=1, trip_distance=999.99,
               pickup_datetime="1999-12-31T12:00:00"),
    ride_event(7, PULocationID=42, DOLocationID=42, trip_distance=0,
               pickup_datetime="2021-11-07T01:30:00"),
    ride_event("eight", trip_distance=12, pickup_datetime="2021-07-04T03:00:00+02:00"),
    ride_event(9, PULocationID=42, DOLocationID=42, trip_distance=2.5),
]  # fmt: skip


def payloads() -> list[bytes]:
    """The rides as bytes."""
    return [json.dumps(ride).encode() for ride in RIDES]


def ride_columns() -> Any:
    """The rides as columns; a ride without a time has that of its arrival."""
    arrived_at = datetime.fromtimestamp(ARRIVED, UTC)
    return columns([rides.decode(data, arrived_at).ride for data in payloads()])


def expected() -> list[float]:
    """The predictions, in minutes."""
    found: list[float] = json.loads(FILE.read_text())["ride_duration"]
    return found


def train(directory: Path) -> Result:
    """The model of the vectors."""
    simulation.write(directory / "rides", MONTHS, 3_000, seed=7)
    plan = Plan(
        data=directory / "rides",
        train=MONTHS[:1],
        test=MONTHS[1],
        target="duration",
        tracking_uri=f"sqlite:///{directory / 'mlflow.db'}",
        artifacts=str(directory / "artifacts"),
    )
    return run(plan, step=lambda what: None)


def main() -> None:
    with TemporaryDirectory() as directory:
        answers = model.load(train(Path(directory)).model_location).predict(ride_columns())
    document = {"rides": RIDES, "ride_duration": [round(v, 4) for v in answers.values.tolist()]}
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")


if __name__ == "__main__":
    main()
