"""The table of taxi zones."""

from __future__ import annotations

from model_service.zones import taxi_zones

BOROUGHS = {"Bronx", "Brooklyn", "EWR", "Manhattan", "Queens", "Staten Island"}


def test_every_zone_of_the_city_is_there_once() -> None:
    assert [zone.id for zone in taxi_zones()] == list(range(1, 264))
    assert all(zone.name for zone in taxi_zones())
    assert {zone.borough for zone in taxi_zones()} == BOROUGHS


def test_every_centroid_lies_in_or_beside_the_city() -> None:
    assert all(40.4 < zone.latitude < 41.0 for zone in taxi_zones())
    assert all(-74.3 < zone.longitude < -73.6 for zone in taxi_zones())
