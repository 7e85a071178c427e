"""The producer sends every ride once, and broken records that the service rejects."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_source_mapping.identity import identity
from event_source_mapping.lambda_event import event_of
from event_source_mapping.records import Record
from local import sending
from local.messages import BROKEN, Message, messages, ride_event
from local.sending import chunks, send
from model_service import rides
from model_service.errors import RideRejected
from model_service.kinesis import records
from model_service.rides import RideEvent


def read(data: bytes) -> RideEvent | RideRejected:
    """Return the ride event, or the rejection, that the service reads from a record with *data*."""
    names = identity("ride_events", "ride-predictions")
    sent = [Record("1", "key", data, datetime.now(UTC).timestamp())]
    [record] = records.read(event_of(sent, "shardId-000000000000", names))
    [result] = rides.read(record.data, record.event_id, None)
    return result.event


def events(count: int) -> list[dict[str, object]]:
    return [ride_event(n, 130, 205, 3.66, "2021-03-01T08:15:00") for n in range(1, count + 1)]


class FakeStream:
    """A stream that refuses a message as often as *refused* counts by its key, then accepts it."""

    def __init__(self, refused: dict[str, int]) -> None:
        self.refusals = Counter(refused)
        self.taken: list[str] = []

    def put(self, sent: Sequence[Message]) -> list[str | None]:
        return [self.take(message) for message in sent]

    def take(self, message: Message) -> str | None:
        if self.refusals[message.key]:
            self.refusals[message.key] -= 1
            return None
        self.taken.append(message.key)
        return f"shardId-000000000000:{len(self.taken)}"


@pytest.mark.parametrize("kind", BROKEN)
def test_the_service_rejects_each_kind_of_broken_record(kind: str) -> None:
    assert isinstance(read(BROKEN[kind]()), RideRejected)


def test_the_service_reads_every_ride_gzipped_or_not() -> None:
    sent = [message for message in messages(events(100)) if not message.broken]

    found = [read(message.data) for message in sent]
    assert [isinstance(ride, RideEvent) and ride.ride_id for ride in found] == [*range(1, 101)]
    assert any(message.data.startswith(b"\x1f\x8b") for message in sent)


def test_rides_are_partitioned_by_their_ids() -> None:
    sent = [message for message in messages(events(3)) if not message.broken]

    assert [message.key for message in sent] == ["1", "2", "3"]


def test_broken_records_are_few_and_reproducible() -> None:
    once, again = (list(messages(events(1000))) for _ in range(2))

    assert once == again
    assert sum(message.broken is not None for message in once) == 17
    assert {message.broken for message in once} - {None} == set(BROKEN)


def test_a_single_ride_is_followed_by_a_broken_record() -> None:
    assert [message.broken is None for message in messages(events(1))] == [True, False]


@given(st.lists(st.integers(0, 3 * 1024 * 1024), max_size=8), st.integers(1, 1000))
@settings(max_examples=30, deadline=None)
def test_chunks_contain_all_messages_in_order_within_the_limits(
    sizes: list[int], most: int
) -> None:
    sent = [Message(str(number), bytes(size)) for number, size in enumerate(sizes)]

    pieces = list(chunks(sent, most))

    assert [message for piece in pieces for message in piece] == sent
    assert all(len(piece) <= min(most, sending.MOST_RECORDS) for piece in pieces)
    assert all(sum(len(m.data) + len(m.key) for m in p) <= sending.MOST_BYTES for p in pieces)


@given(st.dictionaries(st.integers(1, 12).map(str), st.integers(1, 2), max_size=4))
@settings(max_examples=8, deadline=None)
def test_only_refused_records_are_sent_again(refused: dict[str, int]) -> None:
    stream = FakeStream(refused)
    known: dict[str, Message] = {}
    sent = list(messages(events(12)))

    send(sent, stream.put, per_second=1e6, sent=known.update)

    assert sorted(stream.taken) == sorted(message.key for message in sent)
    assert {name: stream.taken[int(name.split(":")[1]) - 1] for name in known} == {
        name: message.key for name, message in known.items()
    }


def test_a_stream_that_keeps_refusing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "ATTEMPTS", 2)

    with pytest.raises(RuntimeError, match="refused 1 record 2 times"):
        send([Message("1", b"")], FakeStream({"1": 9}).put, per_second=1e6, sent=lambda _: None)


def test_records_are_sent_at_the_given_rate() -> None:
    began = datetime.now(UTC)

    send(
        [Message(str(number), b"") for number in range(30)],
        FakeStream({}).put,
        per_second=100,
        sent=lambda _: None,
    )

    assert 0.2 <= (datetime.now(UTC) - began).total_seconds() < 2


def test_sending_can_be_stopped() -> None:
    stream = FakeStream({})

    send([Message("1", b"")], stream.put, per_second=1, sent=lambda _: None, stopped=lambda: True)

    assert stream.taken == []


def test_a_ride_event_is_in_the_wire_format() -> None:
    assert json.loads(json.dumps(events(1)[0])) == {
        "ride": {
            "PULocationID": 130,
            "DOLocationID": 205,
            "trip_distance": 3.66,
            "pickup_datetime": "2021-03-01T08:15:00",
        },
        "ride_id": 1,
    }
