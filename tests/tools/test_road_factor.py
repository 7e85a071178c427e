"""How much longer roads are than a straight line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_service.features import NO_TIME, RideColumns
from model_service.zones import MILES_WITHIN, ROAD_FACTOR
from tools import road_factor

from ..support.training_factories import TLC_DATA, needs_tlc_data, ride, write_month

JAMAICA, SAINT_ALBANS, NOWHERE = 130, 205, 264


def rides(dropoffs: list[int], miles: list[float]) -> RideColumns:
    unknown = np.full(len(miles), NO_TIME)
    pickups = np.full(len(miles), JAMAICA, dtype=np.int64)
    return RideColumns(pickups, np.array(dropoffs), np.array(miles), unknown)


def test_a_straight_line_is_as_long_both_ways_and_nothing_within_a_zone() -> None:
    ends = np.array([JAMAICA, SAINT_ALBANS, JAMAICA, NOWHERE])

    there, back, within, nowhere = road_factor.straight_miles(ends, np.array([205, 130, 130, 130]))

    assert there == back == pytest.approx(2.0, abs=0.3)
    assert within == 0
    assert np.isnan(nowhere)


def test_a_month_says_its_medians_of_rides_that_have_a_distance_and_a_place() -> None:
    [line] = road_factor.straight_miles(np.array([JAMAICA]), np.array([SAINT_ALBANS]))
    dropoffs = [SAINT_ALBANS, SAINT_ALBANS, SAINT_ALBANS, SAINT_ALBANS, JAMAICA, NOWHERE]
    miles = [1.1 * line, 1.5 * line, 9 * line, 0.0, 0.7, 50.0]

    said = road_factor.statistics(rides(dropoffs, miles))

    assert said.rides == 4
    assert said.factor == pytest.approx(1.5)
    assert said.within == pytest.approx(0.7)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["nowhere"]])
def test_a_wrong_call_gets_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert road_factor.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_each_month_and_their_median_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_month(tmp_path, ride(), ride(DOLocationID=130, trip_distance=0.5))

    assert road_factor.main([str(tmp_path)]) == 0

    month, median = capsys.readouterr().out.splitlines()
    assert month.split() == ["2021-03", *median.split()[1:]]


@needs_tlc_data
def test_what_the_page_suggests_by_is_what_real_rides_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert road_factor.main([str(TLC_DATA)]) == 0

    [*_, median] = capsys.readouterr().out.splitlines()
    factor, within = float(median.split()[4]), float(median.split()[8])
    assert factor == pytest.approx(ROAD_FACTOR, abs=0.05)
    assert within == pytest.approx(MILES_WITHIN, abs=0.05)
