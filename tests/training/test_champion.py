from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_service.features import NO_TIME, columns
from model_service.rides import Ride
from tests.support.training_factories import (
    QUICK,
    TLC_DATA,
    Months,
    needs_tlc_data,
    simulated_months,
)
from training.data import dataset
from training.data.dataset import DataError, Rides
from training.model import baselines
from training.model import champion as fit
from training.model.champion import Fitted


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Months:
    return simulated_months(tmp_path_factory.mktemp("rides"))


@pytest.fixture(scope="module")
def champion(months: Months) -> Fitted:
    return fit.champion(months[0], seed=0, parameters=QUICK)


def rmse(fitted: Fitted, rides: Rides) -> float:
    predicted = fit.predict(fitted, rides.columns)
    return fit.metrics(rides.target, predicted, "duration")["rmse_minutes"]


def test_the_champion_beats_the_linear_baseline(months: Months, champion: Fitted) -> None:
    train, test = months
    predicted = baselines.linear(train, 0)(test.columns)

    assert rmse(champion, test) < fit.metrics(test.target, predicted, "duration")["rmse_minutes"]


def test_a_ride_between_zones_that_lie_nowhere_gets_an_answer_near_the_mean(
    months: Months, champion: Fitted
) -> None:
    train, _ = months
    typical = float(np.median(train.columns.distance))
    nowhere = columns([Ride(pickup=264, dropoff=265, distance=typical)])

    [minutes] = fit.predict(champion, nowhere)

    assert abs(minutes - train.target.mean()) < train.target.std()


def test_rides_without_time_are_predicted_without_bias(months: Months, champion: Fitted) -> None:
    test = months[1]
    timeless = replace(test.columns, picked_up=np.full(len(test), NO_TIME))

    without = fit.predict(champion, timeless)

    assert abs(np.mean(without - test.target)) < 0.1 * np.mean(test.target)


def test_the_time_of_a_ride_matters(months: Months, champion: Fitted) -> None:
    test = months[1]
    wrong = replace(test.columns, picked_up=test.columns.picked_up + np.timedelta64(8, "h"))

    assert rmse(champion, replace(test, columns=wrong)) > rmse(champion, test)


def test_the_same_rides_and_seed_make_the_same_model(months: Months, champion: Fitted) -> None:
    train, test = months

    again = fit.champion(train, seed=0, parameters=QUICK)

    answers = fit.predict(again, test.columns)
    assert np.array_equal(answers, fit.predict(champion, test.columns))
    assert again.reach == champion.reach


def test_every_number_that_a_tree_sees_has_32_bits(months: Months, champion: Fitted) -> None:
    seen = fit.frame(months[1].columns)
    models = (champion.value, champion.spread)
    thresholds = np.concatenate(
        [tree.nodes["num_threshold"] for model in models for [tree] in model._predictors]
    )

    assert set(seen.dtypes) == {np.dtype(np.float32)}
    assert np.array_equal(thresholds, thresholds.astype(np.float32))


floats_32 = st.floats(width=32, allow_nan=False)


@given(ride=floats_32, threshold=st.floats(-1e30, 1e30))
def test_a_threshold_of_32_bits_divides_rides_as_the_one_of_64_did(
    ride: float, threshold: float
) -> None:
    [floor] = fit.floor_32(np.array([threshold]))

    assert (ride <= floor) == (ride <= threshold)


def test_too_few_rides_are_refused(months: Months) -> None:
    few = dataset.take(months[0], np.arange(99))

    with pytest.raises(DataError, match="99 rides to train on; it takes 100"):
        fit.champion(few, seed=0, parameters=QUICK)


def test_metrics_are_in_the_unit_of_the_target() -> None:
    true, predicted = np.array([10.0, 20.0]), np.array([13.0, 16.0])

    assert fit.metrics(true, predicted, "duration") == {
        "rmse_minutes": pytest.approx(np.sqrt(12.5)),
        "mae_minutes": 3.5,
        "rides": 2,
    }
    assert set(fit.metrics(true, predicted, "cost")) == {"rmse_dollars", "mae_dollars", "rides"}


def test_rides_of_late_count_for_more(months: Months) -> None:
    train = months[0]
    day = dataset.days(train)
    counts = fit.weights(train)

    assert counts[day == day.max()] == pytest.approx(1)
    assert counts[day == day.max() - 15] == pytest.approx(0.5, abs=0.03)
    assert counts.min() >= 0.25 - 1e-9


def test_a_stray_date_takes_no_weight_from_the_others(months: Months) -> None:
    train = months[0]
    when = train.pickup_datetime.copy()
    when[0] = np.datetime64("2098-01-01")

    counts = fit.weights(replace(train, pickup_datetime=when))

    assert counts[1:] == pytest.approx(fit.weights(train)[1:])


def test_four_of_five_rides_of_another_month_lie_in_their_intervals(
    months: Months, champion: Fitted
) -> None:
    test = months[1]
    low, high = fit.says(champion, test.columns)[1].T

    inside = np.mean((low <= test.target) & (test.target <= high))

    assert 0.76 <= inside <= 0.84


def test_a_long_ride_is_less_certain_than_a_short_one(months: Months, champion: Fitted) -> None:
    test = months[1]
    width = np.diff(fit.says(champion, test.columns)[1], axis=1)[:, 0]
    far = test.columns.distance > np.median(test.columns.distance)

    assert width[far].mean() > 1.3 * width[~far].mean()


def test_intervals_can_be_calibrated_on_a_later_month(months: Months) -> None:
    train, later = months
    slower = replace(later, target=np.minimum(1.3 * later.target, 60))

    even = dataset.days(slower) % 2 == 0
    calibration, test = dataset.take(slower, even), dataset.take(slower, ~even)

    calibrated = fit.champion(train, seed=0, calibration=calibration, parameters=QUICK)

    low, high = fit.says(calibrated, test.columns)[1].T
    assert 0.76 <= np.mean((low <= test.target) & (test.target <= high)) <= 0.84


def test_rides_of_few_days_are_enough(months: Months) -> None:
    train = months[0]
    one_day = dataset.take(train, dataset.days(train) == np.bincount(dataset.days(train)).argmax())

    assert np.isfinite(fit.champion(one_day, seed=0, parameters=QUICK).reach).all()


@pytest.mark.slow
@needs_tlc_data
def test_the_model_is_as_good_as_planned_on_the_tlcs_rides() -> None:
    """With fewer trees, to be quick; docs/models.md has what all of them do."""
    train, test = (dataset.read(TLC_DATA, month, "duration") for month in ("2023-01", "2023-02"))

    champion = fit.champion(train, seed=0, parameters=QUICK)

    error = fit.predict(champion, test.columns) - test.target
    low, high = fit.says(champion, test.columns)[1].T
    assert np.sqrt(np.mean(error**2)) <= 4.15
    assert 0.75 <= np.mean((low <= test.target) & (test.target <= high)) <= 0.85
