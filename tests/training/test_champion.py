from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_service.features import NO_TIME, columns
from model_service.rides import Ride
from tests.support.training_factories import (
    TLC_DATA,
    Months,
    fit_quickly,
    needs_tlc_data,
)
from training.data import dataset
from training.data.dataset import DataError, Rides
from training.model import baselines, champion
from training.model.champion import FittedChampion
from training.model.parameters import DEFAULTS


def rmse(fitted: FittedChampion, rides: Rides) -> float:
    predicted = champion.predict(fitted, rides.columns)
    return champion.error_metrics(rides.target, predicted, "duration")["rmse_minutes"]


def test_the_champion_beats_the_linear_baseline(months: Months, fitted: FittedChampion) -> None:
    train, test = months
    predicted = baselines.linear(train, 0)(test.columns)

    assert (
        rmse(fitted, test)
        < champion.error_metrics(test.target, predicted, "duration")["rmse_minutes"]
    )


def test_a_ride_between_zones_without_a_position_is_predicted_near_the_mean(
    months: Months, fitted: FittedChampion
) -> None:
    train, _ = months
    typical = float(np.median(train.columns.distance))
    nowhere = columns([Ride(pickup=264, dropoff=265, distance=typical)])

    [minutes] = champion.predict(fitted, nowhere)

    assert abs(minutes - train.target.mean()) < train.target.std()


def test_rides_without_time_are_predicted_without_bias(
    months: Months, fitted: FittedChampion
) -> None:
    test = months[1]
    timeless = replace(test.columns, picked_up=np.full(len(test), NO_TIME))

    without = champion.predict(fitted, timeless)

    assert abs(np.mean(without - test.target)) < 0.1 * np.mean(test.target)


def test_a_wrong_pick_up_time_increases_the_error(months: Months, fitted: FittedChampion) -> None:
    test = months[1]
    wrong = replace(test.columns, picked_up=test.columns.picked_up + np.timedelta64(8, "h"))

    assert rmse(fitted, replace(test, columns=wrong)) > rmse(fitted, test)


def test_the_same_rides_and_seed_make_the_same_model(
    months: Months, fitted: FittedChampion, fitted_again: FittedChampion
) -> None:
    columns = months[1].columns

    first, second = (
        champion.predict_with_intervals(model, columns) for model in (fitted, fitted_again)
    )

    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_all_features_and_thresholds_fit_into_32_bits(
    months: Months, fitted: FittedChampion
) -> None:
    seen = champion.frame(months[1].columns)
    models = (fitted.value, fitted.spread)
    thresholds = np.concatenate(
        [tree.nodes["num_threshold"] for model in models for [tree] in model._predictors]
    )

    assert set(seen.dtypes) == {np.dtype(np.float32)}
    assert np.array_equal(thresholds, thresholds.astype(np.float32))


floats_32 = st.floats(width=32, allow_nan=False)


@given(ride=floats_32, threshold=st.floats(-1e30, 1e30))
def test_a_32_bit_threshold_splits_rides_like_the_64_bit_threshold(
    ride: float, threshold: float
) -> None:
    [floor] = champion.floor_32(np.array([threshold]))

    assert (ride <= floor) == (ride <= threshold)


def test_too_few_rides_are_refused(months: Months) -> None:
    few = dataset.take(months[0], np.arange(99))

    with pytest.raises(DataError, match="99 rides to train on; at least 100 are needed"):
        fit_quickly(few)


def test_metrics_are_in_the_unit_of_the_target() -> None:
    true, predicted = np.array([10.0, 20.0]), np.array([13.0, 16.0])

    assert champion.error_metrics(true, predicted, "duration") == {
        "rmse_minutes": pytest.approx(np.sqrt(12.5)),
        "mae_minutes": 3.5,
        "median_minutes": 3.5,
        "close": 0.5,
        "rides": 2,
    }
    assert set(champion.error_metrics(true, predicted, "cost")) == {
        "rmse_dollars",
        "mae_dollars",
        "median_dollars",
        "close",
        "rides",
    }


def test_recent_rides_have_more_weight(months: Months) -> None:
    train = months[0]
    day = dataset.days(train)
    counts = champion.weights(train)

    assert counts[day == day.max()] == pytest.approx(1)
    assert counts[day == day.max() - 15] == pytest.approx(0.5, abs=0.03)
    assert counts.min() >= 0.25 - 1e-9


def test_a_wrong_date_does_not_change_the_weights_of_other_rides(months: Months) -> None:
    train = months[0]
    when = train.pickup_datetime.copy()
    when[0] = np.datetime64("2098-01-01")

    counts = champion.weights(replace(train, pickup_datetime=when))

    assert counts[1:] == pytest.approx(champion.weights(train)[1:])


def test_intervals_contain_four_of_five_rides_of_another_month(
    months: Months, fitted: FittedChampion
) -> None:
    test = months[1]
    low, high = champion.predict_with_intervals(fitted, test.columns)[1].T

    inside = np.mean((low <= test.target) & (test.target <= high))

    assert 0.76 <= inside <= 0.84


def test_intervals_of_long_rides_are_wider(months: Months, fitted: FittedChampion) -> None:
    test = months[1]
    width = np.diff(champion.predict_with_intervals(fitted, test.columns)[1], axis=1)[:, 0]
    far = test.columns.distance > np.median(test.columns.distance)

    assert width[far].mean() > 1.3 * width[~far].mean()


def test_intervals_can_be_calibrated_on_a_later_month(months: Months) -> None:
    train, later = months
    slower = replace(later, target=np.minimum(1.3 * later.target, 60))

    even = dataset.days(slower) % 2 == 0
    calibration, test = dataset.take(slower, even), dataset.take(slower, ~even)

    calibrated = fit_quickly(train, calibration=calibration)

    low, high = champion.predict_with_intervals(calibrated, test.columns)[1].T
    assert 0.76 <= np.mean((low <= test.target) & (test.target <= high)) <= 0.84


def test_rides_of_one_day_can_be_trained_on(months: Months) -> None:
    train = months[0]
    one_day = dataset.take(train, dataset.days(train) == np.bincount(dataset.days(train)).argmax())

    assert np.isfinite(fit_quickly(one_day).reach).all()


@pytest.mark.slow
@needs_tlc_data
def test_the_model_reaches_the_planned_error_on_the_tlcs_rides() -> None:
    """Train fewer trees than the default, to save time; docs/models.md has the figures of all
    trees.
    """
    train, test = (dataset.read(TLC_DATA, month, "duration") for month in ("2023-01", "2023-02"))

    parameters = {**DEFAULTS, "max_iter": 90, "learning_rate": 0.1, "max_leaf_nodes": 63}

    fitted = champion.fit(train, seed=0, parameters=parameters)

    error = champion.predict(fitted, test.columns) - test.target
    low, high = champion.predict_with_intervals(fitted, test.columns)[1].T
    assert np.sqrt(np.mean(error**2)) <= 4.15
    assert 0.75 <= np.mean((low <= test.target) & (test.target <= high)) <= 0.85
