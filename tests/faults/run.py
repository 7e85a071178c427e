"""A run of the fault suite: the same records through the real handler, calm and under faults."""

from __future__ import annotations

import gzip
import json
import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from aws_kinesis_agg.aggregator import RecordAggregator

from event_source_mapping.identity import identity
from event_source_mapping.kinesis import KinesisSource
from event_source_mapping.lambda_event import event_of
from event_source_mapping.records import Record
from event_source_mapping.responses import processed
from event_source_mapping.settings import TRIM_HORIZON
from event_source_mapping.sources import Reader
from local.aws.server import Embedded, embedded, environment

from ..support.factories import payload
from ..support.models import write_onnx
from . import audit, proxy
from .audit import Findings, Sent

INPUT, CALM, FAULTY = "ride_events", "calm_predictions", "faulty_predictions"
MODEL = "ride_duration_prediction_model"
SHARDS = 2
CALM_BATCH, FAULTY_BATCH = 173, 80
INVOCATION_SECONDS = 2.5
GRACE_SECONDS = 30.0  # beyond the deadline of an invocation, before the run fails
LIMIT_SECONDS = 240.0  # for the whole run, on a busy machine
AGGREGATED = 7
"""User records in an aggregate, one of them broken."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found, and the faults under which it found it."""

    findings: Findings
    rides: int
    records: int
    faults: Mapping[str, int]
    kills: int
    late: int
    """Invocations that ended after their deadline."""
    retry_reasons: Mapping[str, int]
    """From the metrics lines."""
    seconds: float


class Died(Exception):
    """The worker was killed during an invocation."""


def messages(rides: int, seed: int) -> list[Sent]:
    """Records with *rides* ride events in them, broken ones of each kind included."""
    chosen = random.Random(f"{seed} messages")
    broken = broken_payloads()
    sent: list[Sent] = []
    made = 0
    while made < rides:
        first, kind = made, chosen.random()
        if kind < 0.04:
            users = [good(first + n, chosen) for n in range(AGGREGATED - 1)]
            position = chosen.randrange(AGGREGATED)
            ids: list[int | str | None] = list(range(first, first + AGGREGATED - 1))
            users.insert(position, broken[first % len(broken)] or b"{")
            ids.insert(position, None)
            sent.append(Sent(aggregate(users, first), tuple(ids), aggregated=True))
            made += AGGREGATED
        elif kind < 0.1:
            # A number at the end of the record makes its bytes unique.
            sent.append(Sent(broken[first % len(broken)] + f" {first}".encode(), (None,)))
            made += 1
        else:
            data = good(first, chosen)
            zipped = gzip.compress(data, mtime=0) if kind < 0.25 else data
            sent.append(Sent(zipped, (first,)))
            made += 1
    return sent


def good(ride_id: int, chosen: random.Random) -> bytes:
    return payload(
        ride_id,
        PULocationID=chosen.randint(1, 265),
        DOLocationID=chosen.randint(1, 265),
        trip_distance=round(chosen.uniform(0, 30), 2),
    )


def broken_payloads() -> list[bytes]:
    """Payloads that the service must reject, whatever follows their last byte."""
    return [
        b"",
        b"{}",
        b"not JSON",
        b"\xff\xfe",
        payload(1, PULocationID=266),
        payload(1, trip_distance=-1),
        payload(1, trip_distance=999.0),  # the model answers more than a day
        payload(1, PULocationID="130"),
        b"[" * 5_000,
        gzip.compress(payload(1))[:-4],
        gzip.compress(bytes(2 * 1024 * 1024)),
        b"\xf3\x89\x9a\xc2" + bytes(40),
    ]


def aggregate(users: Sequence[bytes], number: int) -> bytes:
    """A record as the Kinesis Producer Library makes it."""
    aggregator = RecordAggregator()
    for user in users:
        aggregator.add_user_record(str(number), user)
    data: bytes = aggregator.clear_and_get().get_contents()[2]
    return data


@dataclass
class Worker:
    """A process with the handler, which is started when needed and may be killed at any time."""

    environ: Mapping[str, str]
    log: IO[str]
    process: subprocess.Popen[str] | None = None
    kills: int = 0
    late: int = 0

    def __call__(self, event: dict[str, Any]) -> Any:
        """The handler's response.  Raises `Died` where the worker was killed."""
        process = self.process or self.start()
        assert process.stdin is not None
        started = time.monotonic()
        try:
            json.dump({"event": event, "seconds": INVOCATION_SECONDS}, process.stdin)
            process.stdin.write("\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise Died from None
        response = self.read(process, INVOCATION_SECONDS + GRACE_SECONDS)
        self.late += time.monotonic() - started > INVOCATION_SECONDS
        return response

    def start(self) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker"],
            cwd=Path(__file__).parents[2],
            env=dict(self.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.read(self.process, LIMIT_SECONDS)
        return self.process

    def read(self, process: subprocess.Popen[str], seconds: float) -> Any:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], seconds)[0]:
            raise TimeoutError("the handler does not answer")
        line = process.stdout.readline()
        if not line:
            self.stop()
            raise Died
        return json.loads(line)

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.kills += 1

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()


def deliver(aws: Embedded, worker: Worker, *, most: int, sizes: random.Random) -> None:
    """Deliver all records of the input stream, as Lambda does, in batches of random size.

    A batch that is delivered again may have another size, as after a bisection.
    """
    source = KinesisSource(aws.kinesis(), INPUT)
    names = identity(INPUT, "ride-predictions")
    shards = [info.shard_id for info in source.shards()]
    waiting = {shard: list(rest(source.open(shard, TRIM_HORIZON, None))) for shard in shards}
    limit = time.monotonic() + LIMIT_SECONDS
    while any(waiting.values()):
        if time.monotonic() > limit:
            raise TimeoutError("the run takes too long")
        shard = sizes.choice([shard for shard, records in waiting.items() if records])
        batch = waiting[shard][: sizes.randint(1, most)]
        try:
            response = worker(event_of(batch, shard, names))
        except Died:
            continue
        del waiting[shard][: processed(batch, response) or 0]


def rest(reader: Reader) -> Iterator[Record]:
    while records := reader().records:
        yield from records


def settings(endpoint: str, directory: Path, predictions: str, bucket: str) -> dict[str, str]:
    """The environment of a worker."""
    return {
        "PATH": "/usr/bin:/bin",
        **environment(endpoint),
        "MODEL_LOCATION": str(directory / "model"),
        "PREDICTIONS_STREAM_NAME": predictions,
        "REJECTS_LOCATION": f"s3://{bucket}/rejects",
    }


def run(directory: Path, *, rides: int, seed: int) -> Result:
    """Send records, deliver them twice, once under faults, and audit the outputs."""
    started = time.monotonic()
    write_onnx(directory / "model")
    sent = messages(rides, seed)
    with embedded() as aws, ExitStack() as stack:
        kinesis, s3 = aws.kinesis(), aws.s3()
        for name in (INPUT, CALM, FAULTY):
            kinesis.create_stream(StreamName=name, ShardCount=SHARDS)
            kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
        for bucket in ("calm", "faulty"):
            s3.create_bucket(Bucket=bucket)
        for first in range(0, len(sent), 500):
            chunk = sent[first : first + 500]
            kinesis.put_records(
                StreamName=INPUT,
                Records=[{"Data": one.data, "PartitionKey": str(n)} for n, one in enumerate(chunk)],
            )
        log = stack.enter_context((directory / "worker.log").open("w+"))

        calm = Worker(settings(aws.endpoint, directory, CALM, "calm"), log)
        stack.callback(calm.stop)
        deliver(aws, calm, most=CALM_BATCH, sizes=random.Random(f"{seed} calm"))
        calm.stop()

        faulty = Worker({}, log)
        stack.callback(faulty.stop)
        between = stack.enter_context(
            proxy.running(aws.endpoint, seed=seed, stream=FAULTY, kill=faulty.kill)
        )
        faulty.environ = settings(between.endpoint, directory, FAULTY, "faulty")
        deliver(aws, faulty, most=FAULTY_BATCH, sizes=random.Random(f"{seed} faulty"))
        time.sleep(proxy.LATE_SECONDS)  # calls that are still on the way arrive
        faulty.stop()

        findings = audit.audit(
            sent,
            list(audit.stream(kinesis, INPUT)),
            audit.outputs(kinesis, s3, predictions=CALM, bucket="calm"),
            audit.outputs(kinesis, s3, predictions=FAULTY, bucket="faulty"),
            model=MODEL,
        )
        log.seek(0)
        return Result(
            findings=findings,
            rides=sum(len(one.ride_ids) for one in sent),
            records=len(sent),
            faults={
                f"{operation}: {kind}": count
                for operation, faults in (
                    ("PutRecords", between.put_records),
                    ("PutObject", between.put_object),
                )
                for kind, count in sorted(faults.dealt.items())
                if kind != proxy.NONE
            },
            kills=faulty.kills,
            late=faulty.late,
            retry_reasons=reasons(log),
            seconds=round(time.monotonic() - started, 1),
        )


def reasons(log: IO[str]) -> dict[str, int]:
    """The sums of ``retry_reasons`` on the metrics lines in a log."""
    found: dict[str, int] = {}
    for line in log:
        if line.startswith('{"_aws"'):
            for code, count in json.loads(line)["retry_reasons"].items():
                found[code] = found.get(code, 0) + count
    return found
