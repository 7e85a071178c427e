"""The audit: what came out, compared with what was sent and with a calm run.

It imports nothing of the service, so that a fault in the service cannot hide itself.  It reads
streams and buckets by boto3 alone.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Identity = tuple[str, str]
"""The model and the event id of a ride event."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A record that was sent, and the ride events in it."""

    data: bytes
    ride_ids: tuple[int | str | None, ...]
    """The id of each good ride event; None for each broken one."""
    aggregated: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it lies on a stream."""

    shard: str
    number: str
    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Outputs:
    """What one run left: predictions by identity, and rejections by identity."""

    published: Mapping[Identity, tuple[Stored, ...]]
    rejected: Mapping[Identity, tuple[tuple[str, bytes], ...]]
    """The reason and the bytes of the record, once for each object that holds them."""
    versions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Findings:
    """The results of an audit; all but *duplicates* must be empty."""

    lost: tuple[str, ...]
    """Event ids that were neither published nor rejected."""
    made_up: tuple[str, ...]
    """Event ids that came out and were never sent."""
    differing: tuple[str, ...]
    """Event ids with another fate or other bytes than they should have."""
    both: tuple[str, ...]
    """Event ids that were published and rejected."""
    duplicates: int
    """Predictions beyond the first of each identity."""
    published: int
    rejected: int

    @property
    def clean(self) -> bool:
        return not (self.lost or self.made_up or self.differing or self.both)


def stream(kinesis: Any, name: str) -> Iterator[Stored]:
    """All records of a stream."""
    for shard in kinesis.list_shards(StreamName=name)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while True:
            reply = kinesis.get_records(ShardIterator=iterator)
            for record in reply["Records"]:
                number, key = record["SequenceNumber"], record["PartitionKey"]
                yield Stored(shard["ShardId"], number, key, record["Data"])
            iterator = reply["NextShardIterator"]
            if not reply["Records"] and not reply["MillisBehindLatest"]:
                break


def outputs(kinesis: Any, s3: Any, *, predictions: str, bucket: str) -> Outputs:
    """What a run left on the stream *predictions* and in *bucket*."""
    published: dict[Identity, tuple[Stored, ...]] = {}
    versions = set[str]()
    for record in stream(kinesis, predictions):
        event = json.loads(record.data)
        identity = event["model"], event["source"]["event_id"]
        published[identity] = (*published.get(identity, ()), record)
        versions.add(event["version"])
    rejected: dict[Identity, tuple[tuple[str, bytes], ...]] = {}
    for key in keys(s3, bucket):
        failure = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        records = {
            record["eventID"]: base64.b64decode(record["kinesis"]["data"], validate=True)
            for record in json.loads(failure["payload"])["Records"]
        }
        for event_id, reason in failure["reasons"].items():
            identity = key.split("/")[-4], event_id
            found = reason, records[event_id.partition("#")[0]]
            rejected[identity] = (*rejected.get(identity, ()), found)
    return Outputs(published, rejected, frozenset(versions))


def keys(s3: Any, bucket: str) -> list[str]:
    """The keys of a bucket."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def audit(
    sent: Sequence[Sent], stored: Sequence[Stored], calm: Outputs, faulty: Outputs, *, model: str
) -> Findings:
    """Compare a run with what was sent to it and with a calm run over the same records.

    *stored* are the records on the input stream.  Raises `ValueError` where they are not the
    records that were sent, or where the runs had different versions of the model.
    """
    if sorted(record.data for record in stored) != sorted(record.data for record in sent):
        raise ValueError("the input stream does not hold the records that were sent")
    if len(calm.versions | faulty.versions) != 1:
        raise ValueError("the runs used different versions of the model")
    expected = expectations(sent, stored, model)
    came_out = faulty.published.keys() | faulty.rejected.keys()
    differing = {
        identity
        for identity, (ride_id, data) in expected.items()
        if identity in came_out and not _as_expected(identity, ride_id, data, calm, faulty)
    }
    return Findings(
        lost=_names(expected.keys() - came_out),
        made_up=_names(came_out - expected.keys()),
        differing=_names(differing),
        both=_names(faulty.published.keys() & faulty.rejected.keys()),
        duplicates=sum(len(copies) - 1 for copies in faulty.published.values()),
        published=len(faulty.published),
        rejected=len(faulty.rejected),
    )


def expectations(
    sent: Sequence[Sent], stored: Sequence[Stored], model: str
) -> dict[Identity, tuple[int | str | None, bytes]]:
    """The ride id (None for a broken event) and the record of each identity that must come out."""
    by_data = {record.data: record for record in sent}
    expected: dict[Identity, tuple[int | str | None, bytes]] = {}
    for record in stored:
        event_id = f"{record.shard}:{record.number}"
        source = by_data[record.data]
        for index, ride_id in enumerate(source.ride_ids):
            name = f"{event_id}#{index}" if source.aggregated else event_id
            expected[model, name] = ride_id, record.data
            if ride_id is not None and not source.aggregated:
                _check_ride_id(record.data, ride_id)
    return expected


def _check_ride_id(data: bytes, ride_id: int | str) -> None:
    content = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    if json.loads(content)["ride_id"] != ride_id:
        raise ValueError(f"the record of ride {ride_id} holds another ride")


def _as_expected(
    identity: Identity, ride_id: int | str | None, data: bytes, calm: Outputs, faulty: Outputs
) -> bool:
    published = {(one.key, one.data) for one in faulty.published.get(identity, ())}
    rejected = set(faulty.rejected.get(identity, ()))
    if published != {(one.key, one.data) for one in calm.published.get(identity, ())}:
        return False
    if rejected != set(calm.rejected.get(identity, ())):
        return False
    if ride_id is None:
        return not published and {kept for _, kept in rejected} == {data}
    answers = [json.loads(prediction)["prediction"]["ride_id"] for _, prediction in published]
    return not rejected and answers == [ride_id]


def _names(identities: set[Identity]) -> tuple[str, ...]:
    return tuple(sorted(event_id for _, event_id in identities))
