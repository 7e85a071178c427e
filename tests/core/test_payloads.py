from __future__ import annotations

import gzip
import hashlib
import tracemalloc
import zlib
from typing import Any

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from hypothesis import given, settings
from hypothesis import strategies as st

from model_service import payloads as records
from model_service.errors import EventError, RideRejected

from ..support.factories import SHARD, kinesis_event, kinesis_record

KPL_VECTOR = bytes.fromhex(
    "f3899ac20a03706b300a03706b310a03706b321a0b08001a077b2269223a307d1a0b08011a077b2269223a317d"
    "1a0b08021a077b2269223a327d4bad8a74d8dce1e2d84b0096d2b471c1"
)


def read_one(data: bytes | str) -> records.Record:
    [record] = records.read(kinesis_event(data))
    return record


def aggregated(*payloads: bytes) -> bytes:
    """What the reference implementation of the format makes of payloads."""
    aggregator = RecordAggregator()
    for number, data in enumerate(payloads):
        aggregator.add_user_record(f"key {number}", data)
    _, _, data = aggregator.clear_and_get().get_contents()
    return bytes(data)


def kpl(message: bytes) -> bytes:
    return records.KPL_MAGIC + message + hashlib.md5(message).digest()


def test_a_record_keeps_its_identity() -> None:
    record = read_one(b"{}")

    assert (record.stream, record.shard) == ("ride_events", SHARD)
    assert record.event_id == f"{SHARD}:{record.sequence_number}"
    assert record.arrived_at.isoformat() == "2022-06-02T09:18:34.132000+00:00"


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({}, "Records"),
        ({"Records": [{"body": "a queue's message"}]}, "kinesis"),
        ({"Records": [{**kinesis_record(b""), "eventID": None}]}, "eventID"),
        ([], "object"),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(event: Any, path: str) -> None:
    with pytest.raises(EventError, match=path):
        records.read(event)


@given(st.binary())
def test_a_payload_survives_the_way(data: bytes) -> None:
    if data.startswith(records.KPL_MAGIC):
        return

    assert records.payloads(read_one(data)) == [(read_one(data).event_id, data)]


@given(st.binary())
def test_a_gzip_is_its_payload(data: bytes) -> None:
    assert records.plain(gzip.compress(data), records.Budget()) == data


@given(st.text())
def test_any_text_for_base64_is_payloads_or_a_rejection(text: str) -> None:
    try:
        found = records.payloads(read_one(text))
    except RideRejected as exc:
        assert str(exc)
    else:
        assert found


@pytest.mark.parametrize("text", ["!", "e30", "e30=\n", "é"])
def test_broken_base64_is_rejected(text: str) -> None:
    with pytest.raises(RideRejected, match="not base64"):
        records.payloads(read_one(text))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(bytes(10_000_000)), "gzip holds more than 1048576 bytes"),
        (gzip.compress(b"{}")[:-1], "gzip ends too early"),
        (gzip.compress(b"{}") + b"{}", "gzip has bytes behind its end"),
        (gzip.compress(b"{}")[:-8] + bytes(8), "gzip is damaged"),
        (records.GZIP_MAGIC, "gzip ends too early"),
        (records.GZIP_MAGIC + b"nothing of the kind", "gzip is damaged"),
    ],
)
def test_a_broken_gzip_is_rejected(data: bytes, reason: str) -> None:
    with pytest.raises(RideRejected, match=reason):
        records.plain(data, records.Budget())


@settings(deadline=None)  # a megabyte takes as long as the machine is busy
@given(st.binary(min_size=1, max_size=300), st.integers(0, records.MAX_PAYLOAD))
def test_a_gzip_of_many_steps_is_its_payload(pattern: bytes, size: int) -> None:
    data = (pattern * (size // len(pattern) + 1))[:size]
    budget = records.Budget()

    assert records.plain(gzip.compress(data), budget) == data
    assert budget.left == records.MAX_UNZIPPED - size


def test_a_gzip_may_just_fill_its_bound() -> None:
    unzipped = records.plain(gzip.compress(bytes(records.MAX_PAYLOAD)), records.Budget())

    assert len(unzipped) == records.MAX_PAYLOAD


def test_user_records_number_their_event_ids() -> None:
    record = read_one(KPL_VECTOR)

    assert records.payloads(record) == [
        (f"{record.event_id}#{n}", b'{"i":%d}' % n) for n in range(3)
    ]


@given(st.lists(st.binary(), min_size=1, max_size=20))
def test_what_the_reference_aggregates_is_taken_apart_again(payloads: list[bytes]) -> None:
    record = read_one(aggregated(*payloads))

    assert [data for _, data in records.payloads(record)] == payloads


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (KPL_VECTOR[:-1] + b"?", "checksum"),
        (KPL_VECTOR[:30], "checksum"),
        (records.KPL_MAGIC, "checksum"),
        (kpl(b""), "no user records"),
        (kpl(bytes.fromhex("0a03706b30")), "no user records"),
        (kpl(bytes.fromhex("1a020800")), "damaged"),  # a user record without data
        (kpl(bytes.fromhex("1a0b08001a07")), "damaged"),  # cut off
        (kpl(bytes.fromhex("1b")), "damaged"),  # a wire type that was never used
        (kpl(b"\xff" * 11), "damaged"),  # a number without end
    ],
)
def test_a_broken_aggregate_is_rejected(data: bytes, reason: str) -> None:
    with pytest.raises(RideRejected, match=reason):
        records.payloads(read_one(data))


def test_fields_that_a_later_format_adds_are_passed_over() -> None:
    known = bytes.fromhex("1a0408001a00")
    later = bytes.fromhex("200129" + "00" * 8 + "35" + "00" * 4 + "3a0161")

    assert [data for _, data in records.payloads(read_one(kpl(later + known + later)))] == [b""]


@given(st.binary())
def test_any_message_in_an_aggregate_is_payloads_or_a_rejection(message: bytes) -> None:
    try:
        found = records.payloads(read_one(kpl(message)))
    except RideRejected as exc:
        assert str(exc)
    else:
        assert found


def test_a_gzip_bomb_costs_no_more_memory_than_its_bound() -> None:
    bomb = zlib.compress(bytes(200_000_000), wbits=31)

    tracemalloc.start()
    try:
        with pytest.raises(RideRejected, match="gzip holds more"):
            records.plain(bomb, records.Budget())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 * records.MAX_PAYLOAD


def test_what_a_record_s_gzips_may_hold_together_is_bounded() -> None:
    with pytest.raises(RideRejected, match="the record's gzips hold more than 10485760 bytes"):
        records.plain(gzip.compress(b"{}" * 100), records.Budget(50))


@pytest.mark.parametrize("end", [b"", b"?" * 8])
def test_a_gzip_that_is_rejected_is_paid_for_too(end: bytes) -> None:
    budget = records.Budget()
    damaged = gzip.compress(bytes(500_000))[:-8] + end

    with pytest.raises(RideRejected):
        records.plain(damaged, budget)

    assert budget.left <= records.MAX_UNZIPPED - 500_000 + records.UNZIP_STEP


def test_an_aggregate_of_countless_user_records_is_rejected_as_one() -> None:
    tiny = bytes.fromhex("1a021a00")

    assert len(records.payloads(read_one(kpl(tiny * records.MAX_USER_RECORDS)))) == 20_000
    with pytest.raises(RideRejected, match="more than 20000 user records"):
        records.payloads(read_one(kpl(tiny * (records.MAX_USER_RECORDS + 1))))
