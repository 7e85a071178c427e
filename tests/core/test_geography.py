"""Zones as places."""

from __future__ import annotations

import numpy as np
import pytest

from model_service.geography import places, straight
from model_service.zones import taxi_zones


def test_every_zone_of_the_table_has_a_place_and_no_other() -> None:
    [placed] = np.nonzero(~np.isnan(places()).any(axis=1))

    assert placed.tolist() == [zone.id for zone in taxi_zones()]


def test_turning_the_compass_changes_no_distance() -> None:
    east, north, across, along = places().T

    assert np.hypot(across, along) == pytest.approx(np.hypot(east, north), abs=1e-4, nan_ok=True)


def test_uptown_is_along_the_avenues() -> None:
    battery_park, inwood = places()[12], places()[127]

    _, _, across, along = inwood - battery_park

    assert along > 10 * abs(across)


def test_from_the_airport_to_times_square_is_a_dozen_miles() -> None:
    change = places()[[230]] - places()[[132]]

    assert straight(change) == pytest.approx([13.5], abs=1.0)
