from __future__ import annotations

import gzip
import hashlib
import time
import tracemalloc
import zlib
from base64 import b64encode

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from hypothesis import given, settings
from hypothesis import strategies as st

from model_service import payloads
from model_service.errors import RideRejected
from model_service.payloads import Budget, Payload, unzip

KPL_VECTOR = bytes.fromhex(
    "f3899ac20a03706b300a03706b310a03706b321a0b08001a077b2269223a307d1a0b08011a077b2269223a317d"
    "1a0b08021a077b2269223a327d4bad8a74d8dce1e2d84b0096d2b471c1"
)


EVENT_ID = "shardId-000000000000:4963"


def read(data: bytes | str) -> list[Payload]:
    """The payloads of a record; *data* as str is the base64 itself."""
    text = data if isinstance(data, str) else b64encode(data).decode()
    return list(payloads.payloads(text, EVENT_ID))


def reason(data: bytes | str) -> str:
    """Why a whole record cannot be read."""
    [payload] = read(data)
    assert payload.event_id == EVENT_ID
    assert payload.raw is None
    assert isinstance(payload.content, RideRejected)
    return str(payload.content)


def aggregated(*users: bytes) -> bytes:
    """The aggregate that the reference implementation of the format makes of *users*."""
    aggregator = RecordAggregator()
    for number, data in enumerate(users):
        aggregator.add_user_record(f"key {number}", data)
    _, _, data = aggregator.clear_and_get().get_contents()
    return bytes(data)


def kpl(message: bytes) -> bytes:
    return payloads.KPL_MAGIC + message + hashlib.md5(message).digest()


@given(st.binary())
def test_a_plain_record_is_one_payload_of_the_same_bytes(data: bytes) -> None:
    if data.startswith((payloads.KPL_MAGIC, payloads.GZIP_MAGIC)):
        return

    assert read(data) == [Payload(EVENT_ID, data, data)]


@given(st.binary())
def test_a_gzip_unzips_to_its_payload(data: bytes) -> None:
    zipped = gzip.compress(data)

    assert read(zipped) == [Payload(EVENT_ID, data, zipped)]


@given(st.text())
def test_any_text_for_base64_gives_payloads_or_one_rejection(text: str) -> None:
    found = read(text)

    assert found
    assert len(found) == 1 or all(payload.raw is not None for payload in found)


@pytest.mark.parametrize("text", ["!", "e30", "e30=\n", "é"])
def test_broken_base64_is_rejected(text: str) -> None:
    assert "not base64" in reason(text)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (gzip.compress(bytes(10_000_000)), "gzip holds more than 1048576 bytes"),
        (gzip.compress(b"{}")[:-1], "gzip ends too early"),
        (gzip.compress(b"{}") + b"{}", "gzip has bytes behind its end"),
        (gzip.compress(b"{}")[:-8] + bytes(8), "gzip is damaged"),
        (payloads.GZIP_MAGIC, "gzip ends too early"),
        (payloads.GZIP_MAGIC + b"nothing of the kind", "gzip is damaged"),
    ],
)
def test_a_broken_gzip_is_rejected(data: bytes, rule: str) -> None:
    [payload] = read(data)

    assert str(payload.content) == rule
    assert payload.raw == data


@settings(deadline=None)  # a megabyte takes as long as the machine is busy
@given(st.binary(min_size=1, max_size=300), st.integers(0, payloads.MAX_PAYLOAD))
def test_a_gzip_of_many_steps_unzips_to_its_payload(pattern: bytes, size: int) -> None:
    data = (pattern * (size // len(pattern) + 1))[:size]
    budget = Budget()

    assert unzip(gzip.compress(data), budget) == data
    assert budget.left == payloads.MAX_UNZIPPED - size


def test_a_gzip_may_fill_its_limit_exactly() -> None:
    unzipped = unzip(gzip.compress(bytes(payloads.MAX_PAYLOAD)), Budget())

    assert len(unzipped) == payloads.MAX_PAYLOAD


def test_user_records_add_their_number_to_the_event_id() -> None:
    users = [b'{"i":%d}' % n for n in range(3)]

    assert read(KPL_VECTOR) == [Payload(f"{EVENT_ID}#{n}", u, u) for n, u in enumerate(users)]


@given(st.lists(st.binary(), min_size=1, max_size=20))
def test_an_aggregate_of_the_reference_implementation_gives_its_user_records(
    users: list[bytes],
) -> None:
    assert [payload.raw for payload in read(aggregated(*users))] == users


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (KPL_VECTOR[:-1] + b"?", "checksum"),
        (KPL_VECTOR[:30], "checksum"),
        (payloads.KPL_MAGIC, "checksum"),
        (kpl(b""), "no user records"),
        (kpl(bytes.fromhex("0a03706b30")), "no user records"),
        (kpl(bytes.fromhex("1a020800")), "damaged"),  # a user record without data
        (kpl(bytes.fromhex("1a0b08001a07")), "damaged"),  # cut off
        (kpl(bytes.fromhex("1b")), "damaged"),  # a wire type that was never used
        (kpl(b"\xff" * 11), "damaged"),  # a number without end
        (kpl(b"\x20" + b"\x80" * 10 + b"\x01"), "damaged"),  # a varint of eleven bytes
        (kpl(bytes.fromhex("1a021a00350000")), "damaged"),  # a fixed32 that is cut off
    ],
)
def test_a_broken_aggregate_is_rejected(data: bytes, rule: str) -> None:
    assert rule in reason(data)


def test_a_varint_may_have_ten_bytes() -> None:
    known = bytes.fromhex("1a021a00")

    [payload] = read(kpl(b"\x20" + b"\x80" * 9 + b"\x01" + known))

    assert payload.raw == b""


def test_fields_that_a_later_format_adds_are_skipped() -> None:
    known = bytes.fromhex("1a0408001a00")
    later = bytes.fromhex("200129" + "00" * 8 + "35" + "00" * 4 + "3a0161")

    assert [payload.raw for payload in read(kpl(later + known + later))] == [b""]


def test_the_last_of_a_repeated_data_field_counts() -> None:
    twice = bytes.fromhex("1a061a01611a0162")  # data "a", then data "b"

    assert [payload.raw for payload in read(kpl(twice))] == [b"b"]


@given(st.binary())
def test_any_message_in_an_aggregate_gives_payloads_or_one_rejection(message: bytes) -> None:
    found = read(kpl(message))

    assert found
    assert len(found) == 1 or all(payload.raw is not None for payload in found)


def test_a_gzip_bomb_takes_no_more_memory_than_its_limit() -> None:
    bomb = zlib.compress(bytes(20_000_000), wbits=31)

    tracemalloc.start()
    try:
        with pytest.raises(RideRejected, match="gzip holds more"):
            unzip(bomb, Budget())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 * payloads.MAX_PAYLOAD


def test_the_gzips_of_one_record_share_a_limit() -> None:
    megabyte = gzip.compress(bytes(payloads.MAX_PAYLOAD))

    found = read(aggregated(*[megabyte] * 11))

    assert [isinstance(payload.content, bytes) for payload in found] == [True] * 10 + [False]
    assert str(found[10].content) == "the record's gzips hold more than 10485760 bytes"


def test_each_record_has_a_limit_of_its_own() -> None:
    megabyte = gzip.compress(bytes(payloads.MAX_PAYLOAD))

    contents = [payload.content for _ in range(11) for payload in read(megabyte)]

    assert all(isinstance(content, bytes) for content in contents)


@pytest.mark.parametrize("end", [b"", b"?" * 8])
def test_a_rejected_gzip_counts_on_the_limit_too(end: bytes) -> None:
    budget = Budget()
    damaged = gzip.compress(bytes(500_000))[:-8] + end

    with pytest.raises(RideRejected):
        unzip(damaged, budget)

    assert budget.left <= payloads.MAX_UNZIPPED - 500_000 + payloads.UNZIP_STEP


def test_an_aggregate_of_too_many_user_records_is_rejected_as_one() -> None:
    tiny = bytes.fromhex("1a021a00")

    assert len(read(kpl(tiny * payloads.MAX_USER_RECORDS))) == 20_000
    assert "more than 20000 user records" in reason(kpl(tiny * (payloads.MAX_USER_RECORDS + 1)))


@pytest.mark.parametrize("field", ["0a00", "0800", "1a00"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_aggregate_of_millions_of_empty_fields_is_rejected_early(
    field: str, wrapped: bool
) -> None:
    """Two bytes are a field, so a record of 6 MB could have three million."""
    message = bytes.fromhex(field) * 2_000_000
    if wrapped:
        message = b"\x1a" + bytes.fromhex("80 92 f4 01") + message  # a record of 4,000,000 bytes
    record = kpl(message)
    started = time.process_time()

    assert "KPL record" in reason(record)

    assert time.process_time() - started < 0.5


def test_an_aggregate_of_as_many_user_records_as_allowed_has_room_for_their_keys() -> None:
    user = bytes.fromhex("1a06 0800 1000 1a00")  # the positions of both keys, and no data
    keys = bytes.fromhex("0a00 1200")

    assert len(read(kpl((keys + user) * payloads.MAX_USER_RECORDS))) == 20_000


def test_a_gzip_of_several_members_is_read_as_one() -> None:
    members = [gzip.compress(part) for part in (b'{"ride"', b": ", b"{}}")]

    assert unzip(b"".join(members), Budget()) == b'{"ride": {}}'


@pytest.mark.parametrize("padding", [b"\n", b"\r\n", bytes(512), b"\0\n"])
def test_zeros_and_line_ends_behind_a_gzip_are_skipped(padding: bytes) -> None:
    member = gzip.compress(b"{}")

    assert unzip(member + padding, Budget()) == b"{}"
    assert unzip(member + padding + member, Budget()) == b"{}{}"


@given(st.lists(st.binary(), min_size=1, max_size=20))
def test_members_are_unzipped_as_python_s_gzip_does(parts: list[bytes]) -> None:
    data = b"".join(gzip.compress(part) for part in parts)

    assert unzip(data, Budget()) == gzip.decompress(data)


def test_the_members_of_a_gzip_share_its_limits() -> None:
    half, budget = gzip.compress(bytes(payloads.MAX_PAYLOAD // 2)), Budget()

    assert len(unzip(half * 2, budget)) == payloads.MAX_PAYLOAD
    assert budget.left == payloads.MAX_UNZIPPED - payloads.MAX_PAYLOAD
    with pytest.raises(RideRejected, match="gzip holds more than 1048576 bytes"):
        unzip(half * 3, Budget())


def test_a_gzip_of_too_many_empty_members_is_rejected() -> None:
    member = gzip.compress(b"")

    assert unzip(member * payloads.MAX_MEMBERS, Budget()) == b""
    with pytest.raises(RideRejected, match="gzip has more than 1000 members"):
        unzip(member * (payloads.MAX_MEMBERS + 1), Budget())


def test_a_later_member_that_is_broken_is_named() -> None:
    member = gzip.compress(b"{}")

    with pytest.raises(RideRejected, match="gzip ends too early"):
        unzip(member + member[:-1], Budget())
    with pytest.raises(RideRejected, match="gzip is damaged"):
        unzip(member + member[:-8] + bytes(8), Budget())
