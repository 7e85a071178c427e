"""A run on the embedded AWS with a small function reads every result of this function."""

import base64
import json
from typing import Any

import pytest

from local import run_stream
from local.aws.server import Embedded
from local.demo.counts import count
from local.messages import Message
from local.rides import RidesError, consecutive, tlc
from tests.support import embedded_aws


@pytest.fixture
def aws(session_aws: Embedded) -> Embedded:
    embedded_aws.clear(session_aws)
    run_stream.create_resources(session_aws)
    return session_aws


class Function:
    """Predicts ten minutes for JSON, and rejects empty records; some batches fail half way."""

    def __init__(self, aws: Embedded, failures: int) -> None:
        self.kinesis, self.s3 = aws.kinesis(), aws.s3()
        self.failures = failures

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        records = event["Records"]
        failed = None
        if self.failures:
            self.failures -= 1
            failed = records[len(records) // 2]
            records = records[: len(records) // 2]
        for record in records:
            self.process(record)
        number = failed and failed["kinesis"]["sequenceNumber"]
        return {"batchItemFailures": [{"itemIdentifier": number}] if number else []}

    def process(self, record: dict[str, Any]) -> None:
        name = record["eventID"]
        data = base64.b64decode(record["kinesis"]["data"])
        if not data:
            body = json.dumps({"reasons": {name: "empty"}})
            self.s3.put_object(Bucket=run_stream.REJECTS, Key=name, Body=body.encode())
            return
        prediction = {
            "model": "m",
            "version": "v",
            "prediction": {"ride_duration": 10.0, "ride_id": json.loads(data)["ride_id"]},
            "source": {"event_id": name},
        }
        self.kinesis.put_record(
            StreamName=run_stream.PREDICTIONS, Data=json.dumps(prediction), PartitionKey="1"
        )


def messages() -> list[Message]:
    rides = [Message(str(n), json.dumps({"ride_id": n}).encode()) for n in range(60)]
    return [*rides[:40], Message("broken", b"", "empty"), *rides[40:]]


def test_every_record_has_one_result_although_batches_fail_half_way(aws: Embedded) -> None:
    progress_seen: list[int] = []

    seen = run_stream.run(
        aws,
        Function(aws, failures=3),
        messages(),
        on_progress=lambda progress: progress_seen.append(len(progress.published)),
        per_second=400,
    )

    counts = count(
        sent=seen.sent,
        arrived=run_stream.arrivals(aws),
        published=seen.published,
        rejected=seen.rejected,
        true={str(n): 10.0 for n in range(60)},
    )
    assert (counts.rides_sent, counts.rides_predicted, counts.rejected) == (60, 60, 1)
    assert (counts.lost, counts.duplicates, counts.unexpected) == (0, 0, 0)
    assert progress_seen == sorted(progress_seen)


def test_a_run_ends_if_the_function_always_fails(aws: Embedded) -> None:
    def function(event: dict[str, Any], context: Any) -> Any:
        raise ValueError("no")

    seen = run_stream.run(aws, function, messages(), on_progress=lambda _: None, patience=1)

    assert len(seen.sent) == 61
    assert not seen.published


def test_the_first_consecutive_months_are_taken() -> None:
    assert consecutive(["2020-05", "2022-01", "2021-12"]) == ("2021-12", "2022-01")
    assert consecutive(["2021-01", "2021-03", "2021-00", "2021-13"]) is None


def test_missing_data_is_reported_on_one_line(tmp_path: Any) -> None:
    with pytest.raises(RidesError, match=r"^There is no directory .*nowhere\.$"):
        tlc(tmp_path / "nowhere")
    with pytest.raises(RidesError, match="it has no green_tripdata"):
        tlc(tmp_path)
