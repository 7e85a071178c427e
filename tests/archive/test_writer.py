"""The archive has every record once, however Lambda delivers the records."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from model_service import archive
from model_service.archive import writer
from model_service.archive.writer import ArchiveObject, ArchiveReport, S3Store
from model_service.datasets import files
from model_service.datasets.formats import reader
from model_service.errors import EventError
from model_service.scoring import TimeLeft

from ..support.factories import ARRIVED, SHARD, kinesis_record, payload

HOUR = 3600.0
FOLDER = "ride_events/2022/06/02/09"


@dataclass
class MemoryStore:
    """A `Store` that refuses the objects at some positions of each batch."""

    refuse: frozenset[int] = frozenset()
    bodies: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, written: Sequence[ArchiveObject], time_left: TimeLeft) -> frozenset[int]:
        lost = frozenset(n for n in range(len(written)) if n in self.refuse)
        self.bodies |= {str(one.key): one.body for n, one in enumerate(written) if n not in lost}
        return lost

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for body in self.bodies.values() for line in unzipped(body)]


def unzipped(body: bytes) -> list[bytes]:
    return gzip.decompress(body).splitlines()


def process(records: Sequence[dict[str, Any]], store: writer.Store) -> ArchiveReport:
    return archive.process({"Records": list(records)}, store=store, time_left=lambda: 60.0)


def number(record: dict[str, Any]) -> str:
    text: str = record["kinesis"]["sequenceNumber"]
    return text


def test_a_line_has_the_record_and_the_event_id_of_the_scorer() -> None:
    store = MemoryStore()
    record = kinesis_record(payload(256), 7)

    process([record], store)

    assert store.lines() == [
        {
            "event_id": record["eventID"],
            "arrived_at": "2022-06-02T09:18:34.132000Z",
            "partition_key": "1",
            "data": base64.b64encode(payload(256)).decode(),
        }
    ]


def test_bytes_that_are_no_ride_are_archived_as_they_are() -> None:
    store = MemoryStore()

    process([kinesis_record(b"\x00\xff\n")], store)

    assert base64.b64decode(store.lines()[0]["data"]) == b"\x00\xff\n"


def test_a_batch_becomes_one_object_for_each_hour() -> None:
    store = MemoryStore()
    batch = [
        kinesis_record(b"a", 1),
        kinesis_record(b"b", 2),
        kinesis_record(b"c", 3, ARRIVED + HOUR),
    ]

    report = process(batch, store)

    assert list(store.bodies) == [
        f"{FOLDER}/{SHARD}-{number(batch[0])}-{number(batch[1])}.jsonl.gz",
        f"ride_events/2022/06/02/10/{SHARD}-{number(batch[2])}-{number(batch[2])}.jsonl.gz",
    ]
    assert archive.response(report) == {"batchItemFailures": []}


def test_the_same_records_give_the_same_bytes() -> None:
    stores = [MemoryStore(), MemoryStore()]

    for store in stores:
        process([kinesis_record(payload(n), n) for n in (1, 2)], store)

    assert stores[0].bodies == stores[1].bodies


def test_lambda_retries_from_the_first_record_of_a_lost_object() -> None:
    batch = [
        kinesis_record(b"a", 1),
        kinesis_record(b"b", 2, ARRIVED + HOUR),
        kinesis_record(b"c", 3),
    ]

    report = process(batch, MemoryStore(refuse=frozenset({1})))

    assert archive.response(report) == {"batchItemFailures": [{"itemIdentifier": number(batch[1])}]}
    assert (sum(one.records for one in report.objects), report.to_retry) == (2, 1)


def test_an_event_of_another_service_is_refused() -> None:
    with pytest.raises(EventError, match="not a batch of Kinesis records"):
        archive.process({"Records": [{"s3": {}}]}, store=MemoryStore(), time_left=lambda: 60.0)


def test_records_of_enhanced_fan_out_are_refused() -> None:
    record = kinesis_record(b"a", 1)
    record["eventSourceARN"] += "/consumer/archive:1654161514"

    with pytest.raises(EventError, match="without enhanced fan-out"):
        process([record], MemoryStore())


def test_a_partition_key_that_utf_8_cannot_hold_does_not_stop_the_batch() -> None:
    store = MemoryStore()
    record = kinesis_record(b"a", 1)
    record["kinesis"]["partitionKey"] = "a\ud800"

    process([record], store)

    assert store.lines()[0]["partition_key"] == "a?"


# --- the law: every record once, whatever is delivered --------------------------------------------


@st.composite
def deliveries(
    draw: st.DrawFn,
) -> tuple[list[dict[str, Any]], list[tuple[int, int, frozenset[int]]]]:
    """Records of a shard, and batches of them: first, end, and the objects that S3 refuses.

    As Lambda does, each batch begins at the checkpoint or before it; a part may come again.
    """
    count = draw(st.integers(1, 12))
    hours = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    records = [kinesis_record(payload(n), n, ARRIVED + hours[n] * HOUR) for n in range(count)]
    batches = draw(
        st.lists(
            st.tuples(
                st.integers(0, 4),  # records that come again
                st.integers(1, 6),  # records of the batch
                st.frozensets(st.integers(0, 2), max_size=1),
            ),
            max_size=8,
        )
    )
    return records, batches


@given(deliveries())
def test_every_record_is_read_once(
    given_: tuple[list[dict[str, Any]], list[tuple[int, int, frozenset[int]]]],
) -> None:
    records, batches = given_
    store = MemoryStore()
    checkpoint = 0
    calm: list[tuple[int, int, frozenset[int]]] = [(0, 3, frozenset())] * len(records)
    for again, length, refused in [*batches, *calm]:
        start = max(0, checkpoint - again)
        batch = records[start : start + length]
        if not batch:
            continue
        store.refuse = refused
        report = process(batch, store)
        end = start + len(batch)
        if report.checkpoint is not None:
            end = next(n for n, one in enumerate(records) if number(one) == report.checkpoint)
        checkpoint = max(checkpoint, end)

    assert sorted(read_back(store)) == sorted(record["eventID"] for record in records)


def read_back(store: MemoryStore) -> list[str]:
    """The event ids of the rides that batch scoring reads from the archive."""
    with TemporaryDirectory() as directory:
        for key, body in store.bodies.items():
            path = Path(directory, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        inputs = files.matching(f"{directory}/ride_events/**/*.jsonl.gz")
        return [
            event_id
            for one in inputs
            for chunk in reader.chunks(
                Path(one.location), name=one.location, skip_through=one.skip_through
            )
            for event_id in chunk.parse().rides["event_id"].to_pylist()
        ]


# --- S3 -------------------------------------------------------------------------------------------


@dataclass
class FakeS3:
    """An S3 client whose PutObject returns or raises what it was given."""

    reply: Any
    calls: list[dict[str, Any]] = field(default_factory=list)

    def put_object(self, **call: Any) -> Any:
        self.calls.append(call)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


def at_once(calls: Sequence[Callable[[], Any]], seconds: float) -> list[Any]:
    return [call() for call in calls]


def test_an_object_is_stored_below_the_prefix_of_the_location() -> None:
    client = FakeS3({"ETag": '"1"'})

    report = process([kinesis_record(b"a", 1)], S3Store(client, "s3://bucket/some/prefix", at_once))  # type: ignore[arg-type]

    [call] = client.calls
    assert (call["Bucket"], call["Key"]) == ("bucket", f"some/prefix/{report.objects[0].key}")
    assert call["Body"] == report.objects[0].body


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"ETag": ""},
        None,
        ConnectTimeoutError(endpoint_url="https://bucket"),
        ClientError({"Error": {"Code": "SlowDown", "Message": "arn:aws:iam::123"}}, "PutObject"),
        ValueError("a reply that is not S3's"),
    ],
)
def test_without_an_etag_an_object_is_retried(reply: Any, caplog: pytest.LogCaptureFixture) -> None:
    record = kinesis_record(b"a", 1)

    report = process([record], S3Store(FakeS3(reply), "s3://bucket", at_once))  # type: ignore[arg-type]

    assert (report.checkpoint, report.objects) == (number(record), ())
    assert "so they will be retried" in caplog.text
    assert "arn:aws:iam" not in caplog.text


def test_a_call_that_is_late_is_retried() -> None:
    record = kinesis_record(b"a", 1)

    def late(calls: Sequence[Callable[[], Any]], seconds: float) -> list[Any]:
        return [None for _ in calls]

    report = process([record], S3Store(FakeS3({"ETag": "1"}), "s3://bucket", late))  # type: ignore[arg-type]

    assert report.checkpoint == number(record)


def test_the_hour_is_that_of_the_arrival_in_utc() -> None:
    store = MemoryStore()
    last_moment = datetime(2022, 6, 2, 23, 59, 59, 999000, UTC).timestamp()

    process(
        [kinesis_record(b"a", 1, last_moment), kinesis_record(b"b", 2, last_moment + 0.001)], store
    )

    assert [key.rpartition("/")[0] for key in store.bodies] == [
        "ride_events/2022/06/02/23",
        "ride_events/2022/06/03/00",
    ]
