from __future__ import annotations

import numpy as np
import pytest

from model_service.features import columns
from model_service.rides import Ride
from tests.support.training_factories import Months
from training.data import dataset
from training.model import baselines
from training.model.baselines import BASELINES


@pytest.mark.parametrize("name", BASELINES)
def test_each_baseline_is_better_than_a_constant_prediction(months: Months, name: str) -> None:
    trained, tested = months

    error = BASELINES[name](trained, 0)(tested.columns) - tested.target

    # The routes of long rides are rare, so the mean by route is little better on so few rides.
    assert np.sqrt(np.mean(error**2)) < 0.95 * tested.target.std()


@pytest.mark.parametrize("name", BASELINES)
def test_each_baseline_is_the_same_for_the_same_seed(months: Months, name: str) -> None:
    trained, tested = months
    trained = dataset.take(trained, slice(500))

    one, other = (BASELINES[name](trained, 7)(tested.columns) for _ in range(2))

    np.testing.assert_allclose(one, other, rtol=1e-12)  # two threads add in any order


def test_the_mean_by_route_is_the_mean_of_its_rides(months: Months) -> None:
    trained, _ = months
    first = trained.columns.pickup[0], trained.columns.dropoff[0]
    alike = (trained.columns.pickup == first[0]) & (trained.columns.dropoff == first[1])
    route = Ride(int(first[0]), int(first[1]), 1.0)
    never = Ride(pickup=1, dropoff=265, distance=1.0)

    known, unknown = baselines.mean_by_route(trained, 0)(columns([route, never]))

    assert known == pytest.approx(trained.target[alike].mean())
    assert unknown == pytest.approx(trained.target.mean())
