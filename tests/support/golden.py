"""Golden vectors: fixed rides whose predictions must come out the same from every door.

``python -m tests.support.golden`` trains their models anew and rewrites golden.json.  Do that where
the simulation or the training was meant to change, and never to make a test pass.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np

from model_service import rides
from model_service.features import columns
from model_service.models import loader
from training.data import simulation
from training.data.dataset import UNITS, Target
from training.pipeline import Plan, Result
from training.pipeline import train as run

from .factories import ARRIVED, ride_event

FILE = Path(__file__).parent / "golden.json"
TOLERANCE = 1e-3  # minutes or dollars; training refuses to log a model whose forms differ by more
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


def expected(target: Target = "duration") -> list[float]:
    """The predictions, in minutes or dollars."""
    return [value for value, _, _ in _vectors(target)]


def intervals(target: Target = "duration") -> list[float]:
    """Low and high of each ride, one after the other."""
    return [end for _, *ends in _vectors(target) for end in ends]


def _vectors(target: Target) -> list[list[float]]:
    """A prediction, low and high for each ride."""
    found: list[list[float]] = json.loads(FILE.read_text())[target]
    return found


def train(directory: Path, target: Target = "duration") -> Result:
    """The model of the vectors."""
    simulation.write(directory / "rides", MONTHS, 3_000, seed=7)
    plan = Plan(
        data=directory / "rides",
        train=MONTHS[:1],
        test=MONTHS[1],
        target=target,
        tracking_uri=f"sqlite:///{directory / 'mlflow.db'}",
        artifacts=str(directory / "artifacts"),
    )
    return run(plan, step=lambda what: None)


def main() -> None:
    vectors = {target: _answers(target) for target in UNITS}
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode({"rides": RIDES, **vectors})) + b"\n")


def _answers(target: Target) -> list[list[float]]:
    with TemporaryDirectory() as directory:
        location = train(Path(directory), target).model_location
        answers = loader.load(location).predict(ride_columns())
    assert answers.intervals is not None
    both = np.column_stack([answers.values, answers.intervals])
    found: list[list[float]] = both.round(4).tolist()
    return found


if __name__ == "__main__":
    main()
