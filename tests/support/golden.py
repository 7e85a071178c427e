"""Golden vectors: fixed rides whose predictions must be the same from every entry point.

``python -m tests.support.golden`` trains their models again and rewrites golden.json.  Run it where
the simulation or the training was meant to change, and never to make a test pass.  Training is
imported inside functions, because it takes seconds and most tests do without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec
import numpy as np

from model_service import rides
from model_service.features import columns
from model_service.models import loader

from .factories import ARRIVED, ride_event

FILE = Path(__file__).parent / "golden.json"
TOLERANCE = 1e-3  # minutes or dollars; training refuses to log a model if ONNX differs by more
MONTHS = ("2021-01", "2021-02")
Target = Literal["duration", "cost"]
TARGETS: tuple[Target, ...] = ("duration", "cost")
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


@dataclass(frozen=True, slots=True)
class GoldenModel:
    """A trained and logged model of the golden vectors."""

    run_id: str
    model_location: str
    model_sha256: str


def payloads() -> list[bytes]:
    """The rides as the bytes of ride events."""
    return [json.dumps(ride).encode() for ride in RIDES]


def ride_columns() -> Any:
    """The rides as columns; a ride without a pick-up time has the time of its arrival."""
    arrived_at = datetime.fromtimestamp(ARRIVED, UTC)
    return columns([rides.decode(data, arrived_at).ride for data in payloads()])


def expected(target: Target = "duration") -> list[float]:
    """The predictions, in minutes or dollars."""
    return [value for value, _, _ in _vectors(target)]


def intervals(target: Target = "duration") -> list[float]:
    """The low and high end of each ride's interval, one after the other."""
    return [end for _, *ends in _vectors(target) for end in ends]


def _vectors(target: Target) -> list[list[float]]:
    """A prediction, low and high for each ride."""
    found: list[list[float]] = json.loads(FILE.read_text())[target]
    return found


def train(directory: Path, target: Target = "duration") -> GoldenModel:
    """Train and log the model of the vectors, without a model card."""
    from training import pipeline
    from training.data import simulation
    from training.plan import TrainingPlan

    simulation.write(directory / "rides", MONTHS, 3_000, seed=7)
    plan = TrainingPlan(
        data=directory / "rides",
        train=MONTHS[:1],
        test=MONTHS[1],
        target=target,
        tracking_uri=f"sqlite:///{directory / 'mlflow.db'}",
        artifacts=str(directory / "artifacts"),
        card=False,
    )
    result = pipeline.train(plan, on_step=lambda _: None)
    return GoldenModel(result.run_id, result.model_location, result.model_sha256)


def main() -> None:
    vectors = {target: _predict(target) for target in TARGETS}
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode({"rides": RIDES, **vectors})) + b"\n")


def _predict(target: Target) -> list[list[float]]:
    with TemporaryDirectory() as directory:
        location = train(Path(directory), target).model_location
        answers = loader.load(location).predict(ride_columns())
    assert answers.intervals is not None
    both = np.column_stack([answers.values, answers.intervals])
    found: list[list[float]] = both.round(4).tolist()
    return found


if __name__ == "__main__":
    main()
