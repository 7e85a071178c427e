"""A model of simulated rides gives plausible quotes for long rides, as ``make web`` serves them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from model_service.features import RideColumns, picked_up
from model_service.local_time import instants
from model_service.zones import ROAD_FACTOR, taxi_zones
from tools.road_factor import straight_miles
from training.data import dataset, simulation
from training.data.dataset import Target
from training.model import champion

RIDES = 10_000  # of `make model`
PLAUSIBLE: dict[float, dict[Target, tuple[float, float]]] = {
    12: {"duration": (21, 60), "cost": (32, 56)},
    20: {"duration": (30, 78), "cost": (43, 76)},
    30: {"duration": (40, 93), "cost": (58, 102)},
}
"""Miles -> the minutes and dollars between which nine of ten such rides were in early 2021.

They are the TLC's green rides of 2021-01 to 03 that were at most a mile longer or shorter (two
miles at 20 and 30).
"""
NEAR, FAR = (74, 75), (130, 230)  # zones that are about 1 and 14 miles apart
TIMES = np.array(["2021-03-03T03:00", "2021-03-03T12:00", "2021-03-03T17:00"], "datetime64[us]")

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]
Zones = NDArray[np.int64]
Quote = Callable[[Zones, Zones, Floats], Floats]


@pytest.fixture(scope="module", params=["duration", "cost"])
def target(request: pytest.FixtureRequest) -> Target:
    of: Target = request.param
    return of


@pytest.fixture(scope="module")
def quote(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Quote:
    """Return a function that predicts rides at night, at noon and in the rush hour."""
    directory = tmp_path_factory.mktemp("rides")
    simulation.write(directory, ["2021-01"], RIDES, seed=0)
    trees = champion.fit_value(dataset.read(directory, "2021-01", target), seed=0)

    def predict(pickup: Zones, dropoff: Zones, miles: Floats) -> Floats:
        times = instants(np.repeat(TIMES, len(miles)).astype(np.int64))
        rides = RideColumns(
            np.tile(pickup, len(TIMES)),
            np.tile(dropoff, len(TIMES)),
            np.tile(miles, len(TIMES)),
            picked_up(times, known=np.full(len(times), True)),
        )
        return champion.predict_trees(trees, rides)

    return predict


def routes(miles: float) -> tuple[Zones, Zones, Floats]:
    """Return the zones between which the page suggests *miles*, and the suggested distances."""
    zones = np.array([zone.id for zone in taxi_zones()])
    pickup, dropoff = (ends.ravel() for ends in np.meshgrid(zones, zones))
    suggested = ROAD_FACTOR * straight_miles(pickup, dropoff)
    near = np.abs(suggested - miles) < 0.25
    return pickup[near], dropoff[near], suggested[near]


@pytest.mark.parametrize("miles", list(PLAUSIBLE))
def test_quotes_between_zones_that_are_far_apart_are_plausible(
    quote: Quote, target: Target, miles: float
) -> None:
    low, high = PLAUSIBLE[miles][target]

    quotes = quote(*routes(miles))

    assert len(quotes) > 100
    assert np.mean((quotes >= low) & (quotes <= high)) > 0.9


def test_quotes_grow_with_the_distance_of_the_zones(quote: Quote) -> None:
    medians = [np.median(quote(*routes(miles))) for miles in (2, 5, 12, 20, 30)]

    assert np.all(np.diff(medians) > 0), medians


@pytest.mark.parametrize("zones", [NEAR, FAR], ids=["near", "far"])
def test_quotes_grow_with_a_distance_that_a_rider_enters(
    quote: Quote, target: Target, zones: tuple[int, int]
) -> None:
    entered = np.array([5.0, 12.0, 20.0, 30.0])
    pickup, dropoff = (np.full(len(entered), zone) for zone in zones)

    quotes = quote(pickup, dropoff, entered).reshape(len(TIMES), len(entered))

    assert np.all(np.diff(quotes) > -0.5), quotes
    for column, miles in enumerate(entered[1:], start=1):
        low, high = PLAUSIBLE[miles][target]
        assert np.all((quotes[:, column] >= low) & (quotes[:, column] <= high)), quotes
