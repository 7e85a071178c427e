from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.pipeline import Pipeline

from model_service.features import columns, rows
from model_service.rides import Ride
from tests.training_factories import TLC_DATA, needs_tlc_data
from training import data, fit, simulation
from training.data import DataError, Rides, Target

Months = tuple[Rides, Rides]


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Months:
    directory = tmp_path_factory.mktemp("rides")
    simulation.write(directory, ["2021-01", "2021-02"], 3_000, seed=0)
    return (
        data.read(directory, "2021-01", "duration"),
        data.read(directory, "2021-02", "duration"),
    )


@pytest.fixture(scope="module")
def champion(months: Months) -> Pipeline:
    return fit.champion(months[0], seed=0)


def rmse(pipeline: Pipeline, rides: Rides) -> float:
    predicted = fit.predict(pipeline, rides.columns)
    return fit.metrics(rides.target, predicted, "duration")["rmse_minutes"]


def test_the_champion_beats_the_linear_baseline(months: Months, champion: Pipeline) -> None:
    train, test = months
    predicted = fit.baseline(train).predict(rows(test.columns))

    assert rmse(champion, test) < fit.metrics(test.target, predicted, "duration")["rmse_minutes"]


def test_a_ride_on_an_unknown_route_gets_an_answer_near_the_mean(
    months: Months, champion: Pipeline
) -> None:
    train, _ = months
    typical = float(np.median(train.columns.distance))
    nowhere = columns([Ride(pickup=0, dropoff=0, distance=typical)])

    [minutes] = fit.predict(champion, nowhere)

    assert abs(minutes - train.target.mean()) < train.target.std()


def test_rides_without_time_are_predicted_without_bias(months: Months, champion: Pipeline) -> None:
    test = months[1]
    unknown = np.full(len(test), np.nan)

    without = fit.predict(champion, replace(test.columns, hour=unknown, weekday=unknown))

    assert abs(np.mean(without - test.target)) < 0.1 * np.mean(test.target)


def test_the_time_of_a_ride_matters(months: Months, champion: Pipeline) -> None:
    test = months[1]
    wrong = replace(test.columns, hour=(test.columns.hour + 8) % 24)

    assert rmse(champion, replace(test, columns=wrong)) > rmse(champion, test)


def test_the_same_rides_and_seed_make_the_same_model(months: Months, champion: Pipeline) -> None:
    train, test = months

    again = fit.champion(train, seed=0)

    answers = fit.predict(again, test.columns)
    assert np.array_equal(answers, fit.predict(champion, test.columns))


def test_every_number_that_a_tree_sees_has_32_bits(months: Months, champion: Pipeline) -> None:
    seen = champion["columns"].transform(fit.frame(months[1].columns))
    thresholds = np.concatenate(
        [tree.nodes["num_threshold"] for [tree] in champion["trees"]._predictors]
    )

    assert np.array_equal(seen, seen.astype(np.float32))
    assert np.array_equal(thresholds, thresholds.astype(np.float32))


floats_32 = st.floats(width=32, allow_nan=False)


@given(ride=floats_32, threshold=st.floats(-1e30, 1e30))
def test_a_threshold_of_32_bits_divides_rides_as_the_one_of_64_did(
    ride: float, threshold: float
) -> None:
    [floor] = fit.floor_32(np.array([threshold]))

    assert (ride <= floor) == (ride <= threshold)


def test_too_few_rides_are_refused(months: Months) -> None:
    few = replace(months[0], target=months[0].target[:99])

    with pytest.raises(DataError, match="99 rides to train on; it takes 100"):
        fit.champion(few, seed=0)


def test_metrics_are_in_the_unit_of_the_target() -> None:
    true, predicted = np.array([10.0, 20.0]), np.array([13.0, 16.0])

    assert fit.metrics(true, predicted, "duration") == {
        "rmse_minutes": pytest.approx(np.sqrt(12.5)),
        "mae_minutes": 3.5,
        "rides": 2,
    }
    assert set(fit.metrics(true, predicted, "cost")) == {"rmse_dollars", "mae_dollars", "rides"}


@needs_tlc_data
@pytest.mark.parametrize(
    ("train", "test", "target", "most"),
    [
        ("2021-01", "2021-02", "duration", 5.8),
        ("2023-01", "2023-02", "duration", 4.6),
        ("2023-01", "2023-02", "cost", 5.0),
    ],
)
def test_the_model_is_as_good_as_planned_on_the_tlcs_rides(
    train: str, test: str, target: Target, most: float
) -> None:
    rides = data.read(TLC_DATA, test, target)

    champion = fit.champion(data.read(TLC_DATA, train, target), seed=0)

    predicted = fit.predict(champion, rides.columns)
    assert np.sqrt(np.mean((predicted - rides.target) ** 2)) <= most
