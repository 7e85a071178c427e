"""The models of a run: a stub, or a real ONNX model that the service's loader has loaded.

Both compute the same sum.  Its terms are multiples of 1/2048 and its values are below 2048, so
also an ONNX model's 32-bit numbers hold it exactly, and `minutes` gives the same value without any
code of the service.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from model_service import models
from model_service.features import RideColumns
from model_service.scoring import Answers, Model

VERSIONS = 4
POISON_MILES = 13.0
"""The miles at which version 0 of the stub raises; each later version adds an eighth of a mile."""
FAR_MILES = 900.0
"""At this distance and beyond, the value is outside the target's range."""

GRAPH = """<ir_version: 8, opset_import: ["": 17]>
ride (float[N, 1] PULocationID, float[N, 1] DOLocationID, float[N, 1] trip_distance,
      float[N, 1] minute_of_day) => (float[N, 1] value) {{
    per_mile = Constant <value_float = 4.0> ()
    per_pickup = Constant <value_float = 0.125> ()
    per_dropoff = Constant <value_float = 0.0009765625> ()
    per_minute = Constant <value_float = 0.25> ()
    offset = Constant <value_float = {offset}> ()
    miles = Mul (trip_distance, per_mile)
    pickup = Mul (PULocationID, per_pickup)
    dropoff = Mul (DOLocationID, per_dropoff)
    minute = Mul (minute_of_day, per_minute)
    ride = Add (miles, pickup)
    and_dropoff = Add (ride, dropoff)
    and_minute = Add (and_dropoff, minute)
    value = Add (and_minute, offset)
}}"""


def minutes(pickup: int, dropoff: int, miles: float, minute_of_day: int, version: int) -> float:
    """Return the prediction of version number *version* for a ride, in minutes."""
    return 4 * miles + pickup / 8 + dropoff / 1024 + minute_of_day / 4 + version / 2048


def poison_miles(version: int) -> float:
    """Return the distance in miles at which version number *version* of the stub raises."""
    return POISON_MILES + version / 8


def name(version: int) -> str:
    return f"version-{version}"


Step = Callable[[float], None]
"""A function that the model calls before it scores, with the seconds that this takes."""


@dataclass(frozen=True, slots=True)
class StubModel:
    """A test double of a model; it raises at rides that are poison to its version."""

    number: int
    seconds: float
    intervals: bool
    step: Step

    @property
    def version(self) -> str:
        return name(self.number)

    def predict(self, rides: RideColumns, /) -> Answers:
        self.step(self.seconds * len(rides))
        if (rides.distance == poison_miles(self.number)).any():
            raise KeyError("a ride that this version cannot score")
        values: NDArray[np.float64] = (
            4 * rides.distance
            + rides.pickup / 8
            + rides.dropoff / 1024
            + rides.minute_of_day / 4
            + self.number / 2048
        )
        return Answers(
            values, np.stack([values - 1, values + 1], axis=1) if self.intervals else None
        )


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A real ONNX model, whose calls take virtual time."""

    number: int
    seconds: float
    step: Step

    @property
    def version(self) -> str:
        return name(self.number)

    def predict(self, rides: RideColumns, /) -> Answers:
        self.step(self.seconds * len(rides))
        return loaded(self.number).predict(rides)


@cache
def loaded(number: int) -> Model:
    """Return version *number* of the ONNX model; it is written to disk and loaded once."""
    import onnx.parser
    import yaml

    with TemporaryDirectory() as folder:
        graph = onnx.parser.parse_model(GRAPH.format(offset=number / 2048))
        Path(folder, "model.onnx").write_bytes(graph.SerializeToString())
        flavour = {"data": "model.onnx", "onnx_version": onnx.__version__}
        described = {"flavors": {"onnx": flavour}, "run_id": name(number)}
        Path(folder, "MLmodel").write_text(yaml.safe_dump(described))
        return models.load(folder)
