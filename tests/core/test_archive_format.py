from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from model_service.archive_format import Line, ObjectKey, covered

HOUR = "s3://bucket/ride_events/2026/03/01/08"
KEY = ObjectKey("ride_events", datetime(2026, 3, 1, 8, tzinfo=UTC), "shardId-000000000001", 5, 9)


def location(first: int, last: int, *, folder: str = HOUR, shard: str = "shardId-0") -> str:
    return f"{folder}/{shard}-{first}-{last}.jsonl.gz"


def test_a_key_is_read_as_it_was_written() -> None:
    assert ObjectKey.parse(f"s3://bucket/any/prefix/{KEY}") == KEY


@pytest.mark.parametrize(
    "name",
    [
        "shardId-0-5-9.jsonl.gz",  # no hour
        "ride_events/2026/13/01/08/shardId-0-5-9.jsonl.gz",
        "ride_events/2026/03/01/08/shardId-0-5.jsonl.gz",
        "ride_events/2026/03/01/08/shardId-0-5-9.jsonl",
        "rides.parquet",
    ],
)
def test_other_names_are_no_keys(name: str) -> None:
    assert ObjectKey.parse(name) is None


def test_objects_that_do_not_overlap_are_read_whole() -> None:
    assert covered([location(1, 4), location(5, 9)]) == {}


def test_the_end_of_an_earlier_object_is_skipped_in_a_later_one() -> None:
    assert covered([location(3, 9), location(1, 5)]) == {location(3, 9): 5}


def test_an_object_inside_another_is_skipped_whole() -> None:
    assert covered([location(1, 9), location(3, 5), location(8, 12)]) == {
        location(3, 5): 9,
        location(8, 12): 9,
    }


def test_the_longer_of_two_objects_with_the_same_start_is_read() -> None:
    assert covered([location(1, 4), location(1, 9)]) == {location(1, 4): 9}


@pytest.mark.parametrize(
    "other",
    [
        location(1, 9, shard="shardId-1"),
        location(1, 9, folder="s3://bucket/ride_events/2026/03/01/09"),
        location(1, 9, folder="s3://bucket/ride_predictions/2026/03/01/08"),
        "s3://bucket/ride_events/2026/03/01/08/rides.jsonl.gz",
        "s3://bucket/copies/shardId-0-1-9.jsonl.gz",  # its hour is unknown
    ],
)
def test_only_objects_of_one_hour_and_shard_overlap(other: str) -> None:
    assert covered([location(1, 9), other]) == {}


def test_a_location_that_is_given_twice_does_not_cover_itself() -> None:
    assert covered([location(1, 9), location(1, 9)]) == {}


def test_sequence_numbers_are_compared_as_numbers() -> None:
    assert covered([location(9, 10), location(2, 9)]) == {location(9, 10): 9}


@pytest.mark.parametrize(
    ("event_id", "number"),
    [
        ("shardId-000000000000:4961", 4961),
        ("shardId-000000000000:4961#2", 4961),
        ("256", 0),
        ("", 0),
        ("shardId-0:x", 0),
        ("shardId-0:" + "9" * 5_000, 0),
        ("shardId-0:\u0664\u0662", 0),  # digits, but not of ASCII
    ],
)
def test_a_line_knows_its_sequence_number(event_id: str, number: int) -> None:
    line = Line(event_id=event_id, arrived_at=datetime.now(UTC), data="")

    assert line.sequence_number == number


def test_a_line_is_one_object_of_json() -> None:
    moment = datetime(2022, 6, 2, 11, 18, 34, 132000, timezone(timedelta(hours=2)))
    line = Line(event_id="shardId-0:7", arrived_at=moment, partition_key="256", data="eyJhIjogMX0=")

    assert msgspec.json.encode(line) == (
        b'{"event_id":"shardId-0:7","arrived_at":"2022-06-02T11:18:34.132000+02:00",'
        b'"partition_key":"256","data":"eyJhIjogMX0="}'
    )
