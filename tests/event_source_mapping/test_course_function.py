"""The mapping shows what happens to a function that does not expect a bad record."""

from __future__ import annotations

from typing import Any

import pytest

from event_source_mapping.pytest_plugin import KinesisMapping

from . import course_function
from .course_function import lambda_handler


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ride ids of the predictions that the function publishes."""
    ride_ids: list[str] = []

    class Kinesis:
        def put_record(self, *, PartitionKey: str, **_: Any) -> None:
            ride_ids.append(PartitionKey)

    monkeypatch.setattr(course_function, "kinesis", Kinesis())
    return ride_ids


def ride(ride_id: int) -> dict[str, Any]:
    return {
        "ride": {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66},
        "ride_id": ride_id,
    }


def test_one_bad_record_blocks_the_shard_and_loses_rides(
    kinesis_mapping: KinesisMapping, published: list[str]
) -> None:
    mapping = kinesis_mapping(lambda_handler)  # with the default settings of AWS
    mapping.put(ride(1))
    mapping.put(b"no JSON")
    mapping.put(ride(2))

    mapping.run(seconds=3600)
    assert mapping.blocked == ["shardId-000000000000"]  # for an hour, ride 2 was never scored
    assert published == ["1"] * len(mapping.invocations)  # but ride 1 in every attempt

    mapping.run()  # until nothing is left to do: a day later, the stream forgets the records
    assert len(mapping.lost) == 3
