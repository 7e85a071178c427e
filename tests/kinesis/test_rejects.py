from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from model_service.kinesis import records, rejects
from model_service.kinesis.rejects import Keep, Rejection, RejectsKey, S3Rejects

from ..support.factories import SHARD, STREAM_ARN, MemoryRejects, kinesis_record

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class FakeBucket:
    """An S3 client that refuses keys with *refuse* in them."""

    refuse: str = "\0"
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> dict[str, str]:
        if self.refuse in Key:
            raise ClientError({"Error": {"Code": "SlowDown"}}, "PutObject")
        self.objects[f"{Bucket}/{Key}"] = json.loads(Body)
        return {"ETag": '"1"'}


def plenty() -> float:
    return 60.0


def rejection(number: int = 1, shard: str = SHARD, user_record: str = "") -> Rejection:
    raw = kinesis_record(f"broken {number}", number)
    raw["eventID"] = raw["eventID"].replace(SHARD, shard)
    [record] = records.read({"Records": [raw]})
    return Rejection(record, record.event_id + user_record, "data is not base64")


def keeper(bucket: Any, location: str = "s3://bucket/rejects") -> S3Rejects:
    return S3Rejects(bucket, location, "a_model")


def in_memory(lost: str) -> Keep:
    return MemoryRejects(lose=frozenset({rejection(2, lost).event_id}))


def on_s3(lost: str) -> Keep:
    return keeper(FakeBucket(refuse=lost))


@pytest.mark.parametrize("make", [in_memory, on_s3])
def test_the_fake_and_the_real_keeper_say_which_positions_are_lost(
    make: Callable[[str], Keep],
) -> None:
    keep = make("shardId-000000000001")

    assert keep([], plenty) == set()
    assert keep([rejection(1)], plenty) == set()
    assert keep([rejection(1), rejection(2, "shardId-000000000001"), rejection(3)], plenty) == {1}


def test_an_object_is_what_lambda_itself_writes_with_reasons() -> None:
    bucket = FakeBucket()
    first, last = rejection(1), rejection(3)

    keeper(bucket)([first, last], plenty)

    [(key, body)] = bucket.objects.items()
    assert (body["version"], body["requestContext"]["condition"]) == ("1.0", "RidesRejected")
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is UTC
    numbers = [r.record.sequence_number for r in (first, last)]
    digest = records.short_digest(f"{first.event_id}\n{last.event_id}".encode())
    assert key == f"bucket/rejects/a_model/ride_events/{SHARD}/{numbers[0]}-{numbers[1]}-{digest}"
    assert json.loads(body["payload"]) == {"Records": [first.record.raw, last.record.raw]}
    assert body["reasons"] == {r.event_id: "data is not base64" for r in (first, last)}
    assert body["KinesisBatchInfo"] == {
        "shardId": SHARD,
        "startSequenceNumber": numbers[0],
        "endSequenceNumber": numbers[1],
        "approximateArrivalOfFirstRecord": "2022-06-02T09:18:34.132Z",
        "approximateArrivalOfLastRecord": "2022-06-02T09:18:34.132Z",
        "batchSize": 2,
        "streamArn": STREAM_ARN,
    }


@pytest.mark.parametrize("location", ["s3://bucket", "s3://bucket/"])
def test_a_bucket_needs_no_prefix(location: str) -> None:
    bucket = FakeBucket()

    keeper(bucket, location)([rejection()], plenty)

    assert [key.split("/")[:2] for key in bucket.objects] == [["bucket", "a_model"]]


def test_user_records_of_one_record_keep_it_once() -> None:
    first = rejection(1, user_record="#0")
    second = Rejection(first.record, first.record.event_id + "#4", "another reason")

    kept = rejects.failure([first, second], now=NOW)

    assert len(json.loads(kept["payload"])["Records"]) == 1
    assert list(kept["reasons"].values()) == ["data is not base64", "another reason"]


@given(st.lists(st.sampled_from(["shardId-0", "shardId-1"]), max_size=12))
def test_every_rejection_is_kept_once(shards: list[str]) -> None:
    bucket = FakeBucket()
    rejections = [rejection(n, shard) for n, shard in enumerate(shards)]

    assert keeper(bucket)(rejections, plenty) == set()

    kept = [event_id for body in bucket.objects.values() for event_id in body["reasons"]]
    assert sorted(kept) == sorted(r.event_id for r in rejections)


@pytest.mark.parametrize("reply", [None, {}, [], {"ETag": ""}, {"ETag": None}, "<html>"])
def test_a_reply_without_an_etag_keeps_nothing(reply: Any) -> None:
    class Proxy:
        def put_object(self, **_: Any) -> Any:
            return reply

    assert keeper(Proxy())([rejection(1), rejection(2)], plenty) == {0, 1}


def test_any_exception_of_the_client_keeps_nothing() -> None:
    class Broken:
        def put_object(self, **_: Any) -> Any:
            raise RuntimeError("not XML")

    assert keeper(Broken())([rejection(1)], plenty) == {0}


def large(number: int, users: int) -> list[Rejection]:
    """The rejections of one record of half a megabyte with *users* user records."""
    raw = kinesis_record("A" * 500_000, number)
    [record] = records.read({"Records": [raw]})
    return [Rejection(record, f"{record.event_id}#{n}", "a reason") for n in range(users)]


def test_many_rejections_are_kept_in_objects_of_bounded_size_that_end_between_records() -> None:
    bucket = FakeBucket()
    rejections = [one for number in range(20) for one in large(number, users=3)]

    assert keeper(bucket)(rejections, plenty) == set()

    sizes = [len(body["payload"]) for body in bucket.objects.values()]
    assert len(sizes) == 5
    assert max(sizes) < 1.1 * rejects.MAX_PART_BYTES
    for body in bucket.objects.values():
        owners = {event_id.partition("#")[0] for event_id in body["reasons"]}
        held = {one["eventID"] for one in json.loads(body["payload"])["Records"]}
        assert owners == held
        assert all(f"{owner}#{n}" in body["reasons"] for owner in owners for n in range(3))


def test_a_part_that_was_written_counts_though_others_were_not() -> None:
    rejections = [one for number in range(20) for one in large(number, users=1)]
    third = rejections[8].record.sequence_number
    bucket = FakeBucket(refuse=f"{third}-")

    lost = keeper(bucket)(rejections, plenty)

    assert lost == {8, 9, 10, 11}


def test_keeping_twice_is_keeping_once() -> None:
    bucket = FakeBucket()

    for _ in range(2):
        keeper(bucket)([rejection(1), rejection(2)], plenty)

    assert len(bucket.objects) == 1


def test_records_of_two_streams_are_kept_apart() -> None:
    bucket = FakeBucket()
    other = kinesis_record("broken", 2)
    other["eventSourceARN"] = STREAM_ARN.replace("ride_events", "other_events")
    [record] = records.read({"Records": [other]})

    keeper(bucket)([rejection(1), Rejection(record, record.event_id, "no ride")], plenty)

    assert sorted(key.split("/")[3] for key in bucket.objects) == ["other_events", "ride_events"]


class _Failing(FakeBucket):
    def put_object(self, **_: Any) -> dict[str, str]:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def test_what_s3_never_answered_is_not_kept() -> None:
    assert keeper(_Failing())([rejection(1), rejection(2)], plenty) == {0, 1}


def test_a_write_that_is_stuck_at_the_deadline_counts_as_lost() -> None:
    release = threading.Event()

    class Stuck(FakeBucket):
        def put_object(self, **request: Any) -> dict[str, str]:
            release.wait(10)
            return {}

    lost = keeper(Stuck())([rejection(1)], lambda: 0.05)
    release.set()

    assert lost == {0}


segments = st.text(
    st.characters(codec="ascii", exclude_characters="/\n", min_codepoint=32), min_size=1
)
numbers = st.integers(0, 10**56).map(str)


digests = st.just("") | st.binary().map(records.short_digest)


@given(st.builds(RejectsKey, segments, segments, segments, numbers, numbers, digests), segments)
def test_a_key_is_parsed_as_it_was_written(key: RejectsKey, prefix: str) -> None:
    assert RejectsKey.parse(str(key)) == key
    assert RejectsKey.parse(f"{prefix}/{key}") == key


@pytest.mark.parametrize("key", ["", "notes.txt", "a_model/ride_events/1-2", "a/b/c/1"])
def test_a_key_with_another_layout_is_not_parsed(key: str) -> None:
    assert RejectsKey.parse(key) is None


def test_the_key_of_a_single_rejected_record_is_its_sequence_number() -> None:
    bucket = FakeBucket()
    only = rejection(1)

    keeper(bucket)([only], plenty)

    number = only.record.sequence_number
    assert [*bucket.objects] == [f"bucket/rejects/a_model/ride_events/{SHARD}/{number}-{number}"]


some_rejections = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["", "#0", "#1"])), min_size=1, unique=True
).map(sorted)


@given(some_rejections, some_rejections)
def test_an_object_is_replaced_by_the_same_ride_events_and_by_no_others(
    first: list[tuple[int, str]], second: list[tuple[int, str]]
) -> None:
    """A late write of a version that rejects fewer rides must not remove a rejection."""
    bucket = FakeBucket()

    for chosen in (first, second):
        keeper(bucket)([rejection(n, user_record=user) for n, user in chosen], plenty)

    assert len(bucket.objects) == (1 if first == second else 2)


def test_rejections_of_one_aggregate_of_enhanced_fan_out_are_separate_objects() -> None:
    """Its user records have one sequence number, and a retried batch may begin between them."""
    bucket = FakeBucket()
    arn = f"{STREAM_ARN}/consumer/scorer:1654161514"
    raws = [{**kinesis_record(data), "eventSourceARN": arn} for data in (b"1", b"2")]
    both = [Rejection(r, r.event_id, "bad") for r in records.read({"Records": raws})]

    for rejections in (both[:1], both[1:], both[1:]):
        assert keeper(bucket)(rejections, plenty) == frozenset()

    keys = [RejectsKey.parse(key) for key in bucket.objects]
    assert [key and (key.model, key.stream) for key in keys] == [("a_model", "ride_events")] * 2
    assert [len(kept["reasons"]) for kept in bucket.objects.values()] == [1, 1]
    assert {reason for kept in bucket.objects.values() for reason in kept["reasons"]} == {
        rejection.event_id for rejection in both
    }
