"""The table of taxi zones."""

from __future__ import annotations

import numpy as np
import pytest

from model_service.zones import locations, straight_miles, taxi_zones

BOROUGHS = {"Bronx", "Brooklyn", "EWR", "Manhattan", "Queens", "Staten Island"}


def test_every_zone_of_the_city_is_there_once() -> None:
    assert [zone.id for zone in taxi_zones()] == list(range(1, 264))
    assert all(zone.name for zone in taxi_zones())
    assert {zone.borough for zone in taxi_zones()} == BOROUGHS


def test_every_centroid_lies_in_or_beside_the_city() -> None:
    assert all(40.4 < zone.latitude < 41.0 for zone in taxi_zones())
    assert all(-74.3 < zone.longitude < -73.6 for zone in taxi_zones())


def test_every_zone_of_the_table_has_a_location_and_no_other() -> None:
    [placed] = np.nonzero(~np.isnan(locations()).any(axis=1))

    assert placed.tolist() == [zone.id for zone in taxi_zones()]


def test_turning_the_compass_changes_no_distance() -> None:
    east, north, across, along = locations().T

    assert np.hypot(across, along) == pytest.approx(np.hypot(east, north), abs=1e-4, nan_ok=True)


def test_uptown_is_along_the_avenues() -> None:
    battery_park, inwood = locations()[12], locations()[127]

    _, _, across, along = inwood - battery_park

    assert along > 10 * abs(across)


def test_from_the_airport_to_times_square_is_a_dozen_miles() -> None:
    change = locations()[[230]] - locations()[[132]]

    assert straight_miles(change) == pytest.approx([13.5], abs=1.0)
