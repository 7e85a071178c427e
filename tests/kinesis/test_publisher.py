from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_service.kinesis import publisher
from model_service.kinesis.publisher import MAX_RECORDS, Entry, KinesisPublisher, Publish

from ..support.factories import MemoryPublisher

THROTTLED = "ProvisionedThroughputExceededException"


def entry(ride: int) -> Entry:
    return Entry(str(ride), b'{"ride": %d}' % ride)


def entries(number: int) -> list[Entry]:
    return [entry(n) for n in range(number)]


Refuse = Callable[[int, int], str | None]
"""The error code for a ride's nth time on the way, from 0; None where it is accepted."""


@dataclass
class FakeStream:
    """A Kinesis client whose stream refuses what *refuse* says, entry by entry."""

    refuse: Refuse = lambda ride, nth: None
    accepted: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    seen: dict[int, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put_records(self, *, StreamName: str, Records: Sequence[Any]) -> dict[str, Any]:
        assert StreamName == "out"
        assert 0 < len(Records) <= MAX_RECORDS
        with self.lock:
            self.calls.append(len(Records))
            return {"Records": [self._put(json.loads(record["Data"])) for record in Records]}

    def _put(self, event: dict[str, Any]) -> dict[str, str]:
        ride = event["ride"]
        nth = self.seen.get(ride, 0)
        self.seen[ride] = nth + 1
        code = self.refuse(ride, nth)
        if code is None:
            self.accepted.append(ride)
        return {"SequenceNumber": "1", "ShardId": "0"} if code is None else {"ErrorCode": code}


class Clock:
    """Time that passes only in sleep."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.left -= seconds

    def time_left(self) -> float:
        return self.left


def publish(
    client: Any, batch: Sequence[Entry], clock: Clock | None = None
) -> publisher.PublishResult:
    clock = clock or Clock(60)
    send = KinesisPublisher(client, "out", sleep=clock.sleep, uniform=lambda low, high: high)
    return send(batch, clock.time_left)


def call_in_order[T](calls: Sequence[Callable[[], T]], seconds: float) -> list[T | None]:
    return [call() for call in calls]


def in_memory(refuse: frozenset[int], number: int) -> Iterator[Publish]:
    yield MemoryPublisher(refuse=frozenset(map(str, refuse)))


def kinesis(refuse: frozenset[int], number: int) -> Iterator[Publish]:
    client = boto3.client(
        "kinesis", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(client) as stubber:
        for start in range(0, number, MAX_RECORDS):
            found = [
                {"ErrorCode": "AccessDenied"} if n in refuse else {"SequenceNumber": "1"}
                for n in range(start, min(start + MAX_RECORDS, number))
            ]
            stubber.add_response("put_records", {"Records": found})
        yield KinesisPublisher(client, "out", call_all=call_in_order)


@pytest.mark.parametrize("make", [in_memory, kinesis])
@pytest.mark.parametrize("number", [0, 1, MAX_RECORDS, MAX_RECORDS + 1])
@pytest.mark.parametrize("refuse", [frozenset(), frozenset({0}), frozenset({0, MAX_RECORDS})])
def test_the_fake_and_the_real_publisher_say_which_positions_are_not_there(
    make: Callable[[frozenset[int], int], Iterator[Publish]], number: int, refuse: frozenset[int]
) -> None:
    for send in make(refuse, number):
        published = send(entries(number), lambda: 60.0)

        assert published.refused == {n for n in refuse if n < number}


def test_a_record_has_the_data_and_the_key_of_its_entry() -> None:
    sent: list[dict[str, Any]] = []

    class Recorder:
        def put_records(self, *, StreamName: str, Records: Any) -> dict[str, Any]:
            sent.extend(Records)
            return {"Records": [{"SequenceNumber": "1"} for _ in Records]}

    publish(Recorder(), [entry(256), Entry("Łódź", b"{}")])

    assert sent == [
        {"PartitionKey": "256", "Data": b'{"ride": 256}'},
        {"PartitionKey": "Łódź", "Data": b"{}"},
    ]


def test_only_what_was_refused_is_sent_again() -> None:
    stream = FakeStream(lambda ride, nth: THROTTLED if ride % 7 == 0 and nth < 2 else None)

    published = publish(stream, entries(1000))

    assert published == publisher.PublishResult(frozenset(), 2 * 143, {THROTTLED: 2 * 143})
    assert sorted(stream.accepted) == list(range(1000))
    assert stream.calls == [500, 500, 143, 143]


def test_an_error_that_no_pause_mends_fails_its_entries_at_once() -> None:
    stream = FakeStream(lambda ride, nth: "InvalidArgumentException" if ride == 3 else None)
    clock = Clock(60)

    assert publish(stream, entries(5), clock) == publisher.PublishResult(
        frozenset({3}), 0, {"InvalidArgumentException": 1}
    )
    assert clock.pauses == []


def test_retries_end_at_the_deadline() -> None:
    stream = FakeStream(lambda ride, nth: THROTTLED if ride == 3 else None)
    clock = Clock(1.0)

    published = publish(stream, entries(5), clock)

    assert published.refused == {3}
    assert clock.pauses == [0.05, 0.1, 0.2, 0.4]
    assert clock.left > 0


def test_pauses_grow_to_a_bound_and_no_further() -> None:
    clock = Clock(12)

    publish(FakeStream(lambda ride, nth: THROTTLED), entries(1), clock)

    assert clock.pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0]


def test_without_time_nothing_is_sent() -> None:
    stream = FakeStream()

    assert publish(stream, entries(2), Clock(0)).refused == {0, 1}
    assert stream.calls == []


def test_pauses_are_drawn_anew_in_every_publisher() -> None:
    send = KinesisPublisher(FakeStream(), "out")  # type: ignore[arg-type]
    random.seed(0)
    first = send.uniform(0, 1)
    random.seed(0)  # as in two clones of one process

    assert send.uniform(0, 1) != first


def failing(error: Exception, times: int) -> Any:
    class Failing(FakeStream):
        tries = count()

        def put_records(self, *, StreamName: str, Records: Sequence[Any]) -> dict[str, Any]:
            if next(self.tries) < times:
                raise error
            return super().put_records(StreamName=StreamName, Records=Records)

    return Failing()


def refusal(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "PutRecords",
    )


@pytest.mark.parametrize(
    "error",
    [
        refusal(THROTTLED, 400),
        refusal("SomethingNew", 503),
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
    ],
)
def test_a_call_that_failed_in_passing_is_made_again(error: Exception) -> None:
    stream = failing(error, times=2)

    published = publish(stream, entries(3))

    assert (published.refused, published.retries) == (frozenset(), 6)
    assert sum(published.refusals.values()) == 6
    assert stream.accepted == [0, 1, 2]


def test_a_call_that_is_not_allowed_is_made_once() -> None:
    stream = failing(refusal("AccessDeniedException", 400), times=1)

    assert publish(stream, entries(3)).refused == {0, 1, 2}
    assert stream.accepted == []


def test_a_call_without_an_answer_at_the_deadline_counts_as_refused() -> None:
    release = threading.Event()

    class Stuck(FakeStream):
        def put_records(self, *, StreamName: str, Records: Sequence[Any]) -> dict[str, Any]:
            release.wait(10)
            return super().put_records(StreamName=StreamName, Records=Records)

    send = KinesisPublisher(Stuck(), "out")  # type: ignore[arg-type]
    left = iter([0.05, 0.05])
    published = send(entries(3), lambda: next(left, 0.0))

    assert published.refused == {0, 1, 2}
    healthy = KinesisPublisher(FakeStream(), "out")  # type: ignore[arg-type]
    assert healthy(entries(3), lambda: 1.0).refused == set()
    release.set()


def test_calls_that_are_stuck_do_not_hold_up_the_next_batch() -> None:
    release = threading.Event()
    stuck = iter([True] * 4)

    class Recovering(FakeStream):
        def put_records(self, *, StreamName: str, Records: Sequence[Any]) -> dict[str, Any]:
            if next(stuck, False):
                release.wait(10)
            return super().put_records(StreamName=StreamName, Records=Records)

    send = KinesisPublisher(Recovering(), "out")  # type: ignore[arg-type]
    left = iter([0.05, 0.05])
    assert len(send(entries(2000), lambda: next(left, 0.0)).refused) == 2000

    assert send(entries(3), lambda: 1.0).refused == set()
    release.set()


ACCEPTED = {"SequenceNumber": "1", "ShardId": "shardId-000000000000"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        None,
        [],
        "<html>Sign in</html>",
        {"Records": None},
        {"Records": []},
        {"Records": [ACCEPTED] * 2},
        {"Records": [ACCEPTED] * 4},
        {"Records": [None] * 3},
        {"Records": [{}] * 3},
        {"Records": [{"ShardId": "shardId-000000000000"}] * 3},
        {"Records": [{"SequenceNumber": None}] * 3},
        {"Records": [{"SequenceNumber": ""}] * 3},
        {"Records": [{"SequenceNumber": 1}] * 3},
    ],
)
def test_a_reply_without_sequence_numbers_publishes_nothing(body: Any) -> None:
    class Proxy:
        def put_records(self, **_: Any) -> Any:
            return body

    published = publish(Proxy(), entries(3), Clock(0.1))

    assert published.refused == {0, 1, 2}
    assert {*published.refusals} == {publisher.NO_ANSWER}


@pytest.mark.parametrize(
    "body",
    [b"null", b"[]", b"\xff\xfe", b"<html>", b'{"Records": [null]}', b"", b'{"Records": {}}'],
)
@pytest.mark.parametrize("status", [200, 302, 403, 404, 407, 429])
def test_any_body_that_is_not_from_kinesis_is_no_answer_to_the_real_client(
    body: bytes, status: int
) -> None:
    """The SDK parses the body of a proxy; whatever it raises, the entry is sent again later."""

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        send = publisher.connect("out", endpoint_url=f"http://127.0.0.1:{server.server_port}")
        left = iter([5.0, 5.0])
        published = send(entries(1), lambda: next(left, 0.0))
        server.shutdown()

    assert published.refused == {0}
    assert {*published.refusals} == {publisher.NO_ANSWER}


def test_entries_refused_inside_a_200_are_counted_and_logged_without_the_account(
    caplog: pytest.LogCaptureFixture,
) -> None:
    message = (
        "Rate exceeded for shard shardId-000000000001 in stream out under account 111122223333."
    )

    class Throttling(FakeStream):
        def _put(self, event: dict[str, Any]) -> dict[str, str]:
            answer = super()._put(event)
            return answer | ({"ErrorMessage": message} if "ErrorCode" in answer else {})

    stream = Throttling(lambda ride, nth: THROTTLED if nth < 2 else None)

    published = publish(stream, entries(3))

    assert published.refusals == {THROTTLED: 6}
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "WARNING",
        f"out refused entries of this batch: {THROTTLED} (6), on shardId-000000000001",
    )


def test_entries_that_there_was_no_time_to_send_are_counted() -> None:
    published = publish(FakeStream(), entries(2), Clock(0))

    assert published == publisher.PublishResult(frozenset({0, 1}), 0, {publisher.NO_TIME: 2})


def test_without_credentials_nothing_is_tried_again() -> None:
    stream = failing(NoCredentialsError(), times=1)
    clock = Clock(60)

    assert publish(stream, entries(3), clock).refused == {0, 1, 2}
    assert clock.pauses == []


def test_the_client_itself_tries_once_and_not_for_long() -> None:
    config: Any = publisher.connect("out", endpoint_url="http://127.0.0.1:1").client.meta.config

    assert config.retries["total_max_attempts"] == 1
    assert (config.connect_timeout, config.read_timeout) == (1, 5)


def test_an_endpoint_that_was_named_is_the_one_that_is_used() -> None:
    assert publisher.connect("out", endpoint_url="http://127.0.0.1:1").client.meta.endpoint_url == (
        "http://127.0.0.1:1"
    )
    assert "amazonaws.com" in publisher.connect("out").client.meta.endpoint_url


def test_aws_s_own_limits_are_kept() -> None:
    """PutRecords: 500 records; 10 MiB at AWS, of which 5 are safe everywhere."""
    assert (publisher.MAX_RECORDS, publisher.MAX_BYTES) == (500, 5 * 2**20)


@pytest.mark.parametrize("code", sorted(publisher.RETRYABLE))
def test_every_passing_error_is_tried_again(code: str) -> None:
    stream = FakeStream(lambda ride, nth: code if nth == 0 else None)

    assert publish(stream, entries(2)) == publisher.PublishResult(frozenset(), 2, {code: 2})


@pytest.mark.parametrize(
    "code",
    [
        "ProvisionedThroughputExceededException",
        "KMSThrottlingException",
        "ThrottlingException",
        "InternalFailure",
        "InternalFailureException",
        "ServiceUnavailable",
    ],
)
def test_every_error_that_a_pause_may_mend_is_retried(code: str) -> None:
    assert code in publisher.RETRYABLE


@dataclass
class SizeRecorder:
    """A Kinesis client that accepts everything and remembers the size of each call, in bytes."""

    calls: list[list[int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put_records(self, *, StreamName: str, Records: Sequence[Any]) -> dict[str, Any]:
        sizes = [len(one["Data"]) + len(one["PartitionKey"].encode()) for one in Records]
        with self.lock:
            self.calls.append(sizes)
        return {"Records": [{"SequenceNumber": "1"} for _ in Records]}


@settings(deadline=None)
@given(st.lists(st.integers(0, 3_000_000), max_size=20), st.text(min_size=1, max_size=40))
@example([publisher.MAX_BYTES - 2, 1, 1, publisher.MAX_BYTES // 2], "kk")
@example([0] * 20, "Ł" * 40)
def test_no_call_is_larger_than_kinesis_accepts(sizes: list[int], key: str) -> None:
    client = SizeRecorder()

    publish(client, [Entry(key, bytes(size)) for size in sizes])

    assert sorted(size - len(key.encode()) for call in client.calls for size in call) == sorted(
        sizes
    )
    for call in client.calls:
        assert len(call) == 1 or sum(call) <= publisher.MAX_BYTES


def test_the_size_of_a_call_counts_bytes_and_not_characters() -> None:
    """Keys of two bytes a character fill a call with half as many characters."""
    client = SizeRecorder()
    half = publisher.MAX_BYTES // 2 - 100

    publish(client, [Entry("Ł" * 200, bytes(half)), Entry("Ł" * 200, bytes(half))])

    assert [len(call) for call in client.calls] == [1, 1]


def test_entries_share_calls_as_far_as_they_fit() -> None:
    """Also the second call starts empty: its size does not count the first call's entries."""
    client = SizeRecorder()
    third = publisher.MAX_BYTES // 3 - 10

    publish(client, [Entry("k", bytes(third)) for _ in range(6)])

    assert [len(call) for call in client.calls] == [3, 3]


CODES = st.sampled_from([None, None, THROTTLED, "InternalFailure", "InvalidArgumentException"])


@given(st.lists(st.lists(CODES, max_size=6), max_size=30))
def test_what_is_not_refused_is_there_and_once(scripts: list[list[str | None]]) -> None:
    """Each ride meets its own sequence of errors, then success."""
    stream = FakeStream(lambda ride, nth: scripts[ride][nth] if nth < len(scripts[ride]) else None)

    published = publish(stream, entries(len(scripts)), Clock(1.0))

    everyone = set(range(len(scripts)))
    assert sorted(stream.accepted) == sorted(everyone - published.refused)
