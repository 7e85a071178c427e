"""Replay: failed records are listed by reason, and scored with their original event ids."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from local.aws.server import Embedded
from model_service.kinesis import records, rejects
from model_service.kinesis.records import Record
from model_service.kinesis.rejects import Rejection, S3Rejects
from model_service.scoring import Target
from model_service.stream import processor
from operate import invoke, redelivery, replay
from operate.command import CommandError
from operate.console import OperatorConsole
from operate.failed_records import (
    MARKER_SUFFIX,
    FailedRecordStore,
    ObjectVersion,
    UnreadableObject,
    parse,
)
from operate.inventory import take_inventory
from operate.invoke import InvocationResult
from operate.redelivery import ReplayReport

from ..support.factories import (
    SHARD,
    FakeModel,
    MemoryPublisher,
    batch_line,
    kinesis_event,
    kinesis_record,
    payload,
)
from ..support.operate_fakes import ARN, MODEL, FakeLambda, MemoryS3, client_error

BUCKET, LOCATION = "rejects", "s3://rejects/of-a-test"
REASON = "the model answered outside its range"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def raws(count: int, shard: str = SHARD, first: int = 1) -> list[dict[str, Any]]:
    found = [kinesis_record(payload(n), n) for n in range(first, first + count)]
    return [{**raw, "eventID": raw["eventID"].replace(SHARD, shard)} for raw in found]


def rejections(raw: Sequence[dict[str, Any]], reason: str = REASON) -> list[Rejection]:
    read = records.read({"Records": list(raw)})
    return [Rejection(record, record.event_id, reason) for record in read]


def plenty() -> float:
    return 60.0


def reject(s3: Any, raw: Sequence[dict[str, Any]], reason: str = REASON, model: str = MODEL) -> str:
    """Store rejected records in the same way as the function, and return the key."""
    before = set(keys(s3))
    assert not S3Rejects(s3, LOCATION, model)(rejections(raw, reason), plenty)
    [key] = set(keys(s3)) - before
    return key


def give_up(s3: Any, raw: Sequence[dict[str, Any]], name: str = "a", arn: str = ARN) -> str:
    """Store failed records in the same way as Lambda, and return the key."""
    body = rejects.failure(rejections(raw), now=NOW)
    del body["reasons"]
    body["requestContext"] = {"condition": "RetryAttemptsExhausted", "functionArn": f"{arn}:live"}
    key = f"of-a-test/aws/lambda/1f3e/{SHARD}/2026/11/22/2026-11-22T12.00.00-{name}"
    s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(body).encode())
    return key


def contents(s3: Any) -> dict[str, tuple[Record, ...]]:
    """Return the records in each pending object, by key of the object."""
    return {version.key: store(s3).read(version).records for version in store(s3).pending()[0]}


def keys(s3: Any) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="")
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def store(s3: Any) -> FailedRecordStore:
    return FailedRecordStore.at(s3, LOCATION)


def fine(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Process every record, as a handler without failures."""
    print('{"_aws":{},"rejected":[0]}')
    return {"batchItemFailures": []}


def run(s3: Any, lambda_: FakeLambda, most: int = 1000) -> ReplayReport:
    target = lambda_.connect("ride-duration")
    pending = take_inventory(store(s3)).pending
    return redelivery.replay(
        store(s3), pending, target, most=most, sleep=lambda _: None, advance=lambda _: None
    )


# --- the inventory ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aws(module_aws: Embedded) -> str:
    return module_aws.endpoint


@pytest.fixture
def s3(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a client for an empty bucket of the embedded AWS, which other clients use, too."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_KINESIS"):
        monkeypatch.setenv(name, aws)
    client = boto3.client("s3")
    client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    yield client
    for key in keys(client):
        client.delete_object(Bucket=BUCKET, Key=key)
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture(params=["memory", "moto"])
def either(request: pytest.FixtureRequest) -> Any:
    """Return first the fake bucket, then one of the embedded AWS: both must behave the same."""
    return MemoryS3() if request.param == "memory" else request.getfixturevalue("s3")


def test_inventory_counts_both_kinds_of_object_by_reason(either: Any) -> None:
    reject(either, raws(3))
    reject(either, raws(2, "shardId-000000000001"), "data is not base64")
    give_up(either, raws(4, first=10))

    seen = take_inventory(store(either))

    assert {name: (span.rides, span.objects) for name, span in seen.reasons.items()} == {
        ("Lambda gave up: RetryAttemptsExhausted", "ride-duration"): (4, 1),
        (REASON, MODEL): (3, 1),
        ("data is not base64", MODEL): (2, 1),
    }
    assert (len(seen.pending), seen.records, seen.replayed, seen.unreadable) == (3, 9, 0, ())


def test_first_and_last_arrival_belong_to_the_rides_of_a_reason() -> None:
    bucket = MemoryS3()
    early, late = kinesis_record(payload(1), 1, 1000.0), kinesis_record(payload(2), 2, 2000.0)
    reject(bucket, [late])
    reject(bucket, [early], model="a_model")
    reject(bucket, [kinesis_record(payload(3), 3, 1500.0), kinesis_record(payload(4), 4, 500.0)])
    reject(bucket, [kinesis_record(payload(5), 5, 9000.0)], "another")

    reasons = take_inventory(store(bucket)).reasons

    times = {
        name: (span.first.timestamp(), span.last.timestamp()) for name, span in reasons.items()
    }
    assert times == {
        (REASON, MODEL): (500.0, 2000.0),
        (REASON, "a_model"): (1000.0, 1000.0),
        ("another", MODEL): (9000.0, 9000.0),
    }


def test_inventory_counts_each_user_record_of_an_aggregate() -> None:
    bucket = MemoryS3()
    [whole] = rejections(raws(1))
    users = [Rejection(whole.record, f"{whole.event_id}#{n}", REASON) for n in (0, 4)]
    S3Rejects(bucket, LOCATION, MODEL)(users, plenty)  # type: ignore[arg-type]

    seen = take_inventory(store(bucket))

    assert (seen.reasons[REASON, MODEL].rides, seen.records) == (2, 1)


def test_inventory_counts_rejections_of_enhanced_fan_out() -> None:
    bucket = MemoryS3()
    [raw] = raws(1)
    raw["eventSourceARN"] += "/consumer/scorer:1654161514"
    [whole] = rejections([raw])
    user = Rejection(whole.record, f"{whole.event_id}#0", REASON)
    S3Rejects(bucket, LOCATION, MODEL)([whole, user], plenty)  # type: ignore[arg-type]

    seen = take_inventory(store(bucket))

    assert (seen.reasons[REASON, MODEL].rides, seen.records) == (2, 1)


def test_inventory_groups_json_errors_at_different_byte_positions() -> None:
    bucket = MemoryS3()
    for n in (1, 2):
        reject(bucket, raws(1, first=n), f"JSON is malformed (byte {n})")

    assert list(take_inventory(store(bucket)).reasons) == [("JSON is malformed", MODEL)]


def test_a_location_matches_complete_key_segments_or_one_key(either: Any) -> None:
    key = reject(either, raws(1))
    reject(either, raws(1, first=2))
    either.put_object(Bucket=BUCKET, Key="of-a-test-of-others/x", Body=b"{}")

    assert len(take_inventory(store(either)).pending) == 2
    assert [
        each.version.key
        for each in take_inventory(FailedRecordStore.at(either, f"s3://{BUCKET}/{key}")).pending
    ] == [key]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        b'{"requestContext": {"condition": "x"}, "payload": "{}"}',
        b'{"requestContext": {"condition": "x"}, "payload": "{\\"Records\\": []}"}',
        b'{"requestContext": {"condition": "x"}, "payload": "["}',
    ],
)
def test_an_object_without_records_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableObject):
        parse(ObjectVersion("key", "etag"), body)


@given(st.binary())
def test_arbitrary_bytes_are_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableObject):
        parse(ObjectVersion("key", "etag"), body)


def test_an_object_replaced_after_listing_is_unreadable(either: Any) -> None:
    key = reject(either, raws(1))
    [found], _ = store(either).pending()
    either.put_object(Bucket=BUCKET, Key=key, Body=b"another")

    with pytest.raises(UnreadableObject, match="PreconditionFailed"):
        store(either).read(found)


# --- markers ----------------------------------------------------------------------------------


def test_a_processed_object_is_marked_and_not_replayed_again(either: Any) -> None:
    key = reject(either, raws(3))
    once, twice = FakeLambda(fine), FakeLambda(fine)

    first, second = run(either, once), run(either, twice)

    assert (first.objects, first.records, first.remaining) == (1, 3, {})
    assert (second.records, twice.batches) == (0, [])
    assert [
        mark for mark in keys(either) if mark.startswith(f"{key}.") and mark.endswith(MARKER_SUFFIX)
    ]
    assert store(either).pending() == ([], 1)


def test_records_rejected_again_wait_under_the_same_key(either: Any) -> None:
    key = reject(either, raws(2))

    def rejects_again(event: dict[str, Any], context: Any) -> dict[str, Any]:
        S3Rejects(either, LOCATION, MODEL)(rejections(event["Records"], "still no good"), plenty)
        print('{"_aws":{},"rejected":[2]}')
        return {"batchItemFailures": []}

    report = run(either, FakeLambda(rejects_again))

    assert (report.objects, report.rejected) == (1, 2)
    seen = take_inventory(store(either))
    assert [each.version.key for each in seen.pending] == [key]
    assert list(seen.reasons) == [("still no good", MODEL)]


# --- rules of redelivery ----------------------------------------------------------------------


def test_records_of_a_shard_are_replayed_in_order() -> None:
    bucket = MemoryS3()
    give_up(bucket, raws(2, first=7), "a")  # its key sorts before the others
    for first in (5, 1, 3):
        reject(bucket, raws(2, first=first))
    lambda_ = FakeLambda(fine)

    run(bucket, lambda_)

    numbers = [identifier.partition(":")[2] for identifier in lambda_.event_ids]
    assert numbers == sorted(numbers)
    assert len(numbers) == 8


def test_sequence_numbers_are_compared_as_numbers() -> None:
    bucket = MemoryS3()
    for number in ("9", "10", "11"):
        [raw] = raws(1)
        raw["kinesis"]["sequenceNumber"] = number
        reject(bucket, [raw | {"eventID": f"{SHARD}:{number}"}])
    lambda_ = FakeLambda(fine)

    run(bucket, lambda_)

    assert lambda_.event_ids == [f"{SHARD}:{number}" for number in ("9", "10", "11")]


def test_replay_continues_from_a_reported_failure() -> None:
    bucket = MemoryS3()
    reject(bucket, raws(5))
    failing = iter([3, 4])

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        at = next(failing, None)
        failures = [r["kinesis"]["sequenceNumber"] for r in raws(5)][at:][:1] if at else []
        return {"batchItemFailures": [{"itemIdentifier": number} for number in failures]}

    lambda_ = FakeLambda(handler)
    report = run(bucket, lambda_)

    assert [len(batch) for batch in lambda_.batches] == [5, 2, 1]
    assert (report.records, report.objects, report.remaining) == (5, 1, {})


def test_a_failed_invocation_is_repeated_with_half_of_its_records() -> None:
    bucket = MemoryS3()
    reject(bucket, raws(8))

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        if len(event["Records"]) > 2:
            raise TimeoutError("a batch that takes too long")
        return fine(event, context)

    lambda_ = FakeLambda(handler)
    report = run(bucket, lambda_)

    assert [len(batch) for batch in lambda_.batches] == [8, 4, 2, 2, 2, 2]
    assert (report.records, report.remaining) == (8, {})


def test_an_object_without_progress_stays_unmarked() -> None:
    bucket = MemoryS3()
    bad, good = reject(bucket, raws(2)), reject(bucket, raws(2, first=3))
    first = raws(1)[0]["kinesis"]["sequenceNumber"]

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        numbers = {record["kinesis"]["sequenceNumber"] for record in event["Records"]}
        return {"batchItemFailures": [{"itemIdentifier": first}] if first in numbers else []}

    lambda_ = FakeLambda(handler)
    report = run(bucket, lambda_)

    assert list(report.remaining) == [bad]
    assert report.objects == 1
    assert len(lambda_.batches) == redelivery.ATTEMPTS + 1
    assert [found.key for found in store(bucket).pending()[0]] == [bad]
    assert good != bad


def test_replay_ends_when_no_object_makes_progress() -> None:
    bucket = MemoryS3()
    listed = [reject(bucket, raws(1, first=n)) for n in range(1, 9)]

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        raise ValueError("the model is broken")

    lambda_ = FakeLambda(handler)
    report = run(bucket, lambda_)

    assert len(lambda_.batches) == redelivery.GIVE_UP * redelivery.ATTEMPTS
    assert sorted(report.remaining) == sorted(listed)
    assert report.remaining[listed[0]] == "1 records remain: ValueError"


def test_replay_continues_while_some_objects_make_progress() -> None:
    bucket = MemoryS3()
    for n in range(1, 13):
        reject(bucket, raws(1, first=n))
    bad = {record["eventID"] for n in (1, 2, 4, 5, 7, 8) for record in raws(1, first=n)}

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        if event["Records"][0]["eventID"] in bad:
            raise ValueError
        return fine(event, context)

    report = run(bucket, FakeLambda(handler))

    assert (report.objects, len(report.remaining)) == (6, 6)


def test_replay_continues_while_objects_make_partial_progress() -> None:
    bucket = MemoryS3()
    for n in range(0, 40, 10):
        reject(bucket, raws(2, first=n))

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        if len(event["Records"]) == 1:
            raise ValueError
        second = event["Records"][1]["kinesis"]["sequenceNumber"]
        return {"batchItemFailures": [{"itemIdentifier": second}]}

    report = run(bucket, FakeLambda(handler))

    assert report.records == 4
    assert set(report.remaining.values()) == {"1 records remain: ValueError"}


@pytest.mark.parametrize(
    "fault",
    [
        client_error("TooManyRequestsException", 429),
        client_error("ServiceException", 500),
        client_error("Anything", 503),
        client_error(invoke.TOO_LARGE, 413),
        ReadTimeoutError(endpoint_url="http://127.0.0.1"),
    ],
)
def test_transient_errors_are_retried(fault: Exception) -> None:
    bucket = MemoryS3()
    reject(bucket, raws(3))

    report = run(bucket, FakeLambda(fine, faults=[fault] * (redelivery.ATTEMPTS - 1)))

    assert (report.records, report.remaining) == (3, {})


def test_replay_ends_at_once_if_the_function_may_not_be_invoked() -> None:
    bucket = MemoryS3()
    reject(bucket, raws(3))

    with pytest.raises(CommandError, match="cannot be invoked"):
        run(bucket, FakeLambda(fine, faults=[client_error("AccessDeniedException", 403)]))

    assert len(store(bucket).pending()[0]) == 1


@pytest.mark.parametrize(
    "response",
    [
        None,
        {},
        [],
        "ok",
        {"batchItemFailures": None},
        {"batchItemFailures": [{"itemIdentifier": "from another batch"}]},
        {"batchItemFailures": [{"id": "1"}]},
    ],
)
def test_an_object_is_not_marked_after_a_response_of_another_service(response: Any) -> None:
    bucket = MemoryS3()
    reject(bucket, raws(1))

    report = run(bucket, FakeLambda(lambda event, context: response))

    assert report.records == 0
    assert len(store(bucket).pending()[0]) == 1


def test_the_sdk_retries_a_throttled_invocation(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = [429, 503, 200]

    class Service(BaseHTTPRequestHandler):
        """A Lambda API that throttles the first call and fails the second."""

        def do_GET(self) -> None:
            self.reply(200)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(statuses.pop(0))

        def reply(self, status: int) -> None:
            body = json.dumps({"FunctionArn": ARN, "batchItemFailures": []}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    pauses: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", pauses.append)
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{server.server_port}")
        target = invoke.connect("ride-duration")
        found = target(records.read({"Records": raws(2)}))
        server.shutdown()

    assert found == InvocationResult(2, "", None)
    assert (statuses, len(pauses)) == ([], 2)


# --- properties -------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4_000_000), max_size=12), st.integers(1, 5))
@example([2_500_000] * 5, 5)
@example([7_000_000, 1, 1], 5)
@settings(max_examples=40, deadline=None)
def test_batches_contain_every_record_once_in_order_within_the_limits(
    sizes: list[int], most: int
) -> None:
    raw = [kinesis_record("A" * size, n) for n, size in enumerate(sizes)]
    waiting = records.read({"Records": raw})
    batches: list[list[Record]] = []

    rest = waiting
    while rest:
        length = redelivery.batch_length(rest, most)
        batches.append(rest[:length])
        rest = rest[length:]

    assert [record for batch in batches for record in batch] == waiting
    assert all(0 < len(batch) <= most for batch in batches)
    assert all(len(b) == 1 or len(invoke.event(b)) <= redelivery.BATCH_BYTES + 20 for b in batches)


class Killed(BaseException):
    """Raised in place of a signal that kills the process."""


@dataclass
class Mortal(MemoryS3):
    """A bucket that kills its user at the n-th call, before or after the call takes effect."""

    calls: int = 10**9
    late: bool = False

    def _count_down(self) -> None:
        self.calls -= 1
        if self.calls == 0:
            raise Killed

    def put_object(self, **options: Any) -> dict[str, Any]:
        if not self.late:
            self._count_down()
        found = super().put_object(**options)
        if self.late:
            self._count_down()
        return found

    def get_object(self, **options: Any) -> dict[str, Any]:
        self._count_down()
        return super().get_object(**options)


@dataclass
class Flaky:
    """A handler that processes as many records as the next of *moods*, or fails if it is None."""

    moods: list[int | None]
    processed: list[str] = field(default_factory=list)

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        batch = event["Records"]
        mood = self.moods.pop() if self.moods else len(batch)
        if mood is None:
            raise ValueError("out of order")
        self.processed += [record["eventID"] for record in batch[:mood]]
        numbers = [record["kinesis"]["sequenceNumber"] for record in batch[mood:]]
        return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers[:1]]}


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from("01")), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(1, 25), st.booleans()), max_size=4),
    st.integers(1, 4),
)
@settings(max_examples=80, deadline=None)
def test_a_killed_replay_loses_nothing_and_repeats_only_the_current_object(
    objects: list[tuple[int, str]], kills: list[tuple[int, bool]], most: int
) -> None:
    bucket, handler = Mortal(), Flaky([])
    for n, (count, shard) in enumerate(objects):
        reject(bucket, raws(count, f"shardId-00000000000{shard}", first=1 + 10 * n))
    by_key = {
        each.version.key: store(bucket).read(each.version).records
        for each in take_inventory(store(bucket)).pending
    }

    for bucket.calls, bucket.late in [*kills, (10**9, False)]:
        lambda_ = FakeLambda(handler)
        try:
            run(bucket, lambda_, most)
        except Killed:
            continue

    times = Counter(handler.processed)
    repeated = {key for key, batch in by_key.items() if any(times[r.event_id] > 1 for r in batch)}
    everything = {record.event_id for batch in by_key.values() for record in batch}
    assert set(times) == everything
    assert sum(count - 1 for count in times.values()) <= 5 * len(kills)
    assert len(repeated) <= len(kills)
    assert store(bucket).pending()[0] == []


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
    st.lists(st.none() | st.integers(0, 6), max_size=40),
)
@settings(max_examples=80, deadline=None)
def test_an_object_is_marked_only_if_all_its_records_are_processed(
    counts: list[int], moods: list[int | None]
) -> None:
    bucket, handler = MemoryS3(), Flaky(moods)
    for n, count in enumerate(counts):
        reject(bucket, raws(count, first=1 + 10 * n))
    by_key = {
        each.version.key: store(bucket).read(each.version).records
        for each in take_inventory(store(bucket)).pending
    }

    report = run(bucket, FakeLambda(handler), most=3)

    waiting = {found.key for found in store(bucket).pending()[0]}
    done = {r.event_id for key, batch in by_key.items() if key not in waiting for r in batch}
    assert done <= set(handler.processed)
    assert waiting == set(report.remaining)
    assert max(Counter(handler.processed).values(), default=0) <= 1


def test_replay_reads_the_number_of_rejections_from_the_metrics_line() -> None:
    report = processor.process(
        kinesis_event(payload(1), b"bad", b"bad too"),
        model=FakeModel(),
        target=Target(),
        publish=MemoryPublisher(),
        keep=rejects.discard,
        time_left=lambda: 60.0,
    )
    line = batch_line(report)

    assert invoke.rejected(line.encode()) == 2
    assert invoke.rejected(f"START\n{line}\nEND\n".encode()[60:]) == 2
    assert invoke.rejected(b"START RequestId") is None


# --- the command ------------------------------------------------------------------------------


def command(*arguments: str, lambda_: FakeLambda | None = None) -> int:
    connect = (lambda_ or FakeLambda(fine)).connect
    return replay.main([LOCATION, *arguments], connect=connect, sleep=lambda _: None)


def test_a_listing_prints_reasons_and_totals(s3: Any, capsys: Any) -> None:
    reject(s3, raws(3))
    s3.put_object(Bucket=BUCKET, Key="of-a-test/notes.txt", Body=b"a note")

    assert command() == 0

    assert capsys.readouterr().out.splitlines() == [
        f"3 rides in 1 objects, 2022-06-02T09:18:34Z to 2022-06-02T09:18:34Z, {MODEL}: {REASON}",
        "skipped: of-a-test/notes.txt: does not hold rejected or failed records",
        "1 objects with 3 records wait to be replayed; 0 were replayed",
    ]


def test_a_terminal_shows_a_table_and_a_progress_bar(s3: Any) -> None:
    reject(s3, raws(3), "Expected [bold] - at `$.ride`")
    shown = io.StringIO()
    console = OperatorConsole(Console(file=shown, force_terminal=True, width=160))

    console.show_inventory(take_inventory(store(s3)))
    with console.replaying(3) as advance:
        advance(3)

    assert "Expected [bold] - at `$.ride`" in shown.getvalue()
    assert "3/3" in shown.getvalue()


def test_the_function_is_invoked_only_with_yes(s3: Any, capsys: Any) -> None:
    reject(s3, raws(3))
    lambda_ = FakeLambda(fine)

    assert command("--function", "ride-duration", lambda_=lambda_) == 0
    assert "Dry run: ride-duration was not invoked" in capsys.readouterr().out
    assert lambda_.batches == []

    assert command("--function", "ride-duration", "--yes", lambda_=lambda_) == 0
    assert "3 records of 1 objects were replayed" in capsys.readouterr().out
    assert len(lambda_.event_ids) == 3


def test_the_command_lists_remaining_objects_and_exits_with_1(s3: Any, capsys: Any) -> None:
    key = reject(s3, raws(3))

    def handler(event: dict[str, Any], context: Any) -> Any:
        raise ValueError

    assert command("--function", "f", "--yes", lambda_=FakeLambda(handler)) == 1
    assert f"remains: {key}: 3 records remain: ValueError" in capsys.readouterr().out


def test_the_command_skips_unreadable_objects_and_exits_with_1(s3: Any, capsys: Any) -> None:
    reject(s3, raws(3))
    s3.put_object(Bucket=BUCKET, Key="of-a-test/notes.txt", Body=b"a note")
    lambda_ = FakeLambda(fine)

    assert command("--function", "f", "--yes", lambda_=lambda_) == 1
    assert "3 records of 1 objects were replayed; 1 objects remain" in capsys.readouterr().out
    assert len(lambda_.event_ids) == 3


def test_the_command_exits_with_1_if_rides_are_rejected_again(s3: Any, capsys: Any) -> None:
    reject(s3, raws(3))

    def handler(event: dict[str, Any], context: Any) -> Any:
        print('{"_aws":{},"rejected":[2]}')
        return {"batchItemFailures": []}

    assert command("--function", "f", "--yes", lambda_=FakeLambda(handler)) == 1
    assert "2 rides were rejected again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["s3://no-such-bucket/x"], "cannot be listed"),
        (["rejects/x"], "rejects/x is not of the form s3://bucket/prefix"),
        ([LOCATION, "--function", "no-such"], "the function no-such cannot be looked up"),
    ],
)
def test_bad_input_prints_one_line_and_exits_with_2(
    arguments: list[str], sentence: str, s3: Any, capsys: Any
) -> None:
    assert replay.main(arguments, connect=FakeLambda(fine).connect) == 2

    captured = capsys.readouterr().err
    assert sentence in captured
    assert captured.startswith("replay: ")
    assert captured.count("\n") == 1


@pytest.mark.parametrize("size", ["0", "-1", "ten", "10001", "1e3"])
def test_a_batch_size_outside_lambdas_limits_is_refused(size: str, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        command("--batch-size", size)
    assert "a whole number from 1 to 10000" in capsys.readouterr().err


def test_a_function_that_does_not_publish_is_refused(s3: Any, capsys: Any) -> None:
    reject(s3, raws(1))
    lambda_ = FakeLambda(fine, environment={"TEST_RUN": "True"})

    assert command("--function", "f", "--yes", lambda_=lambda_) == 2
    assert "publishes nothing" in capsys.readouterr().err


def test_records_of_another_model_or_function_need_the_option_from_any(
    s3: Any, capsys: Any
) -> None:
    reject(s3, raws(1), model="ride_cost_prediction_model")
    lambda_ = FakeLambda(fine)

    assert command("--function", "f", "--yes", lambda_=lambda_) == 2
    assert "rejected by ride_cost_prediction_model" in capsys.readouterr().err
    cost = FakeLambda(fine, environment={"MODEL_NAME": "ride_cost_prediction_model"})
    assert command("--function", "f", "--yes", lambda_=cost) == 0

    give_up(s3, raws(1), arn=ARN.replace("duration", "cost"))
    assert command("--function", "f", "--yes", lambda_=lambda_) == 2
    assert "gave up on some records of ride-cost" in capsys.readouterr().err
    assert command("--function", "f", "--yes", "--from-any", lambda_=lambda_) == 0


def test_the_archive_gets_only_the_batches_on_which_its_own_mapping_gave_up(
    s3: Any, capsys: Any
) -> None:
    """Readers skip what lies between the first and the last record of an object."""
    archive = FakeLambda(fine, environment={"ARCHIVE_LOCATION": "s3://archive"})
    reject(s3, raws(1))

    assert command("--function", "f", "--yes", lambda_=archive) == 2
    assert "name the folder of its event source mapping" in capsys.readouterr().err
    assert command("--function", "f", "--yes", "--from-any", lambda_=archive) == 2
    assert "--from-any is not allowed" in capsys.readouterr().err
    assert archive.batches == []


def test_rejected_predictions_go_to_the_function_of_decisions(s3: Any, capsys: Any) -> None:
    reject(s3, raws(1), model="decisions")
    decides = FakeLambda(fine, environment={"EXPECTED_MODELS": "one,two"})

    assert command("--function", "f", "--yes", lambda_=FakeLambda(fine)) == 2
    assert "rejected by decisions" in capsys.readouterr().err
    assert command("--function", "f", "--yes", lambda_=decides) == 0


def test_an_interrupted_replay_says_how_to_continue(s3: Any, capsys: Any) -> None:
    reject(s3, raws(1))

    def handler(event: dict[str, Any], context: Any) -> Any:
        raise KeyboardInterrupt

    assert command("--function", "f", "--yes", lambda_=FakeLambda(handler)) == 130
    assert "run the same command again to continue" in capsys.readouterr().err
    assert len(store(s3).pending()[0]) == 1


def test_the_first_of_several_records_with_the_failed_sequence_number_is_sent_again() -> None:
    """With enhanced fan-out, all user records of an aggregate have one sequence number."""
    raw = [kinesis_record(payload(n), number) for n, number in enumerate([1, 2, 2, 2, 3])]
    batch = records.read({"Records": raw})
    response = {"batchItemFailures": [{"itemIdentifier": batch[2].sequence_number}]}

    result = invoke.read_response(batch, json.dumps(response).encode(), b"")

    assert result.processed == 1
