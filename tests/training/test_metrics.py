from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_service.features import RideColumns
from model_service.scoring import Answers
from training import metrics
from training.data.dataset import Rides
from training.metrics import Evaluation
from training.reports import plots, svg_style


def rides(count: int, **changes: Any) -> Rides:
    """Return rides in Manhattan (zone 4) that take a minute a mile, one in each hour."""
    begin = np.datetime64("2023-01-02T00:00", "us") + np.arange(count) * np.timedelta64(1, "h")
    known: dict[str, Any] = dict(
        pickup=np.full(count, 4),
        dropoff=np.full(count, 4),
        distance=(np.arange(count) % 10 + 1).astype(np.float64),
        picked_up=begin,
    )
    columns = RideColumns(**known)
    return Rides(replace(columns, **changes), columns.distance.copy(), begin)


def by_distance(columns: RideColumns) -> Answers:
    return Answers(columns.distance, np.stack([columns.distance, columns.distance + 1], axis=1))


def test_a_part_has_the_errors_of_its_rides() -> None:
    month = rides(100)
    late = Evaluation(np.full(100, "2023-01"), month, Answers(month.target + 2))

    [whole] = metrics.of_kind(metrics.by_part(late), "all")

    assert whole == metrics.whole(late)
    assert (whole.rides, whole.rmse, whole.mae, whole.p90, whole.bias) == (100, 2, 2, 2, 2)
    assert whole.coverage is None


def test_a_prediction_is_close_within_2_minutes_or_20_percent() -> None:
    """The rides take 1 to 10 minutes; 20 % of the true value counts from 10 minutes on."""
    month = rides(100)
    long = replace(month, target=month.target * 10)

    def close(month: Rides, error: float) -> float:
        answers = Answers(month.target + error)
        return metrics.whole(Evaluation(np.full(100, "2023-01"), month, answers)).close

    assert (close(month, 2), close(month, -2.01)) == (1, 0)
    assert close(long, -10.01) == 0.5  # those of 60 to 100 minutes


def test_the_median_error_does_not_follow_a_few_long_rides() -> None:
    month = rides(100)
    wrong = Answers(month.target + np.where(np.arange(100) < 40, 50.0, 1.0))

    whole = metrics.whole(Evaluation(np.full(100, "2023-01"), month, wrong))

    assert whole.median == pytest.approx(1)
    assert whole.mae > 20


def test_coverage_counts_the_true_values_within_their_intervals() -> None:
    month = rides(100)
    outside = month.target.copy()
    outside[:25] += 5
    test = metrics.evaluate_month(by_distance, "2023-01", replace(month, target=outside))

    [whole] = metrics.of_kind(metrics.by_part(test), "all")

    assert (whole.coverage, whole.width) == (0.75, 1)


def test_every_hour_and_borough_has_its_own_metrics() -> None:
    pickup = np.where(np.arange(2400) < 1200, 4, 264)
    test = metrics.evaluate_month(by_distance, "2023-01", rides(2400, pickup=pickup))

    found = metrics.by_part(test)

    assert [part.name for part in metrics.of_kind(found, "borough")] == ["Manhattan", "unknown"]
    hours = metrics.of_kind(found, "hour")
    assert [part.name for part in hours] == [f"{hour:02}" for hour in range(24)]
    assert sum(part.rides for part in hours) == 2400


def test_a_part_with_few_rides_has_no_metrics() -> None:
    pickup = np.where(np.arange(1000) < metrics.MIN_RIDES - 1, 264, 4)
    test = metrics.evaluate_month(by_distance, "2023-01", rides(1000, pickup=pickup))

    boroughs = metrics.of_kind(metrics.by_part(test), "borough")

    assert [part.name for part in boroughs] == ["Manhattan"]


@given(st.lists(st.integers(-5, 400), min_size=1))
def test_every_zone_has_a_borough_or_is_unknown(zones: list[int]) -> None:
    found = metrics.boroughs(np.array(zones))

    known = {"Manhattan", "Queens", "Brooklyn", "Bronx", "Staten Island", "EWR"}
    assert set(found.tolist()) <= known | {metrics.UNKNOWN}


def test_an_input_that_a_model_ignores_has_no_importance() -> None:
    found = metrics.importance(by_distance, rides(500), seed=0)

    assert found["distance"] > 1
    assert found["time"] == found["pick-up zone"] == 0


def test_each_subset_contains_the_one_before() -> None:
    small, large = metrics.nested_subsets(rides(1000), (0.1, 0.5), seed=0)

    assert (len(small), len(large)) == (100, 500)
    assert set(small.pickup_datetime.tolist()) < set(large.pickup_datetime.tolist())


@pytest.fixture(scope="module")
def drawn() -> list[plots.Plot]:
    test = metrics.evaluate_month(by_distance, "2023-01", rides(2400))
    return plots.all_plots(
        test,
        metrics.by_part(test),
        importances={"distance": 3.0, "time": 0.5},
        learning=[plots.LearningPoint(100, 3.0), plots.LearningPoint(1000, 2.0)],
        baseline=2.5,
        unit="minutes",
    )


def test_a_model_with_intervals_has_seven_plots(drawn: list[plots.Plot]) -> None:
    assert len({picture.name for picture in drawn}) == len(drawn) == 7
    assert all(picture.alt and picture.caption for picture in drawn)


def test_no_placeholder_colour_is_left_in_a_plot(drawn: list[plots.Plot]) -> None:
    for picture in drawn:
        alone = svg_style.standalone(picture.svg)
        inside = svg_style.inline(picture.svg, picture.name, picture.alt)

        assert any(colour in picture.svg for colour in svg_style.VARIABLES)
        assert not any(colour in alone + inside for colour in svg_style.VARIABLES)


@pytest.mark.parametrize("grown", [0.0, -0.2])
def test_importance_can_be_drawn_for_a_model_that_ignores_its_inputs(grown: float) -> None:
    picture = plots.importance({"distance": grown, "time": 0.0}, "minutes")

    assert f"{grown:+.2f}" in picture.svg


def test_the_same_plot_gives_the_same_text(drawn: list[plots.Plot]) -> None:
    again = plots.importance({"distance": 3.0, "time": 0.5}, "minutes")

    assert again in drawn


@example([5])
@given(st.lists(st.integers(1, 10**6), min_size=1))
def test_the_largest_count_has_the_strongest_shade(counts: list[int]) -> None:
    shades = plots.shaded(np.array(counts, dtype=float))

    assert shades[int(np.argmax(counts))] == svg_style.SHADES[-1]
