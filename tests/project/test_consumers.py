"""The programs of docs/consumers.md, with duplicates, a changed order, and interruptions."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.aws.server import Embedded

from ..support.decisions import COST, DURATION, prediction_event
from ..support.factories import kinesis_event, sequence_number
from .test_docs import ROOT, blocks

PAGE = ROOT / "docs" / "consumers.md"
STREAM, SHARD = "consumed", "shardId-000000000000"

EARLY, LATE = "2022-06-02T08:05:14.132Z", "2022-06-02T08:05:14.133Z"


@pytest.fixture
def program() -> dict[str, Any]:
    [source] = blocks(PAGE, "python")
    found: dict[str, Any] = {}
    exec(source, found)
    return found


def predictions() -> list[dict[str, Any]]:
    """Two models and two rides; the duration of ride 1 is predicted twice more."""
    each = [prediction_event(model, ride) for model in (DURATION, COST) for ride in (1, 2)]
    later = prediction_event(DURATION, "1", value=1.0, arrived_at=LATE, event_id=f"{SHARD}:1")
    higher = prediction_event(DURATION, 1, value=2.0, arrived_at=LATE, event_id=f"{SHARD}:2")
    return [*each, later, higher]


def test_the_latest_prediction_counts_in_any_order_and_number(program: dict[str, Any]) -> None:
    for seed in range(50):
        shuffled = predictions() * 2
        random.Random(seed).shuffle(shuffled)
        latest: dict[tuple[str, str], Any] = {}
        for event in shuffled:
            program["remember"](event, latest)

        assert latest.keys() == {(ride, model) for ride in "12" for model in (DURATION, COST)}
        assert latest["1", DURATION]["prediction"]["ride_duration"] == 2.0


def test_a_reader_resumes_behind_the_last_record_that_it_handled(
    program: dict[str, Any], module_aws: Embedded, tmp_path: Path
) -> None:
    kinesis = module_aws.kinesis()
    kinesis.create_stream(StreamName=STREAM, ShardCount=1)
    checkpoint = tmp_path / "checkpoint"
    handled: list[Any] = []

    def put(*rides: int) -> None:
        for ride in rides:
            data = json.dumps(prediction_event(DURATION, ride)).encode()
            kinesis.put_record(StreamName=STREAM, PartitionKey=str(ride), Data=data)

    def read(handle: Any = lambda event: handled.append(event["prediction"]["ride_id"])) -> None:
        program["read_shard"](kinesis, STREAM, SHARD, checkpoint, handle)

    put(1, 2)
    read()
    put(3)

    def dies(event: Any) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        read(dies)
    read()
    read()

    assert handled == [1, 2, 3]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_a_function_handles_each_decision_once_and_names_the_one_that_failed(
    tmp_path: Path,
) -> None:
    [source] = blocks(PAGE, "js")
    (tmp_path / "consumer.mjs").write_text(source)
    rides = [1, "1", 2, 3, 1]
    event = kinesis_event(*(json.dumps({"ride_id": ride}).encode() for ride in rides))
    script = """
        import { consumer } from "./consumer.mjs";
        const [event, handled] = [JSON.parse(process.argv[2]), []];
        let fails = true;
        const handler = consumer(new Set(), async (decision) => {
          if (decision.ride_id === 2 && fails) throw new Error("not now");
          handled.push(decision.ride_id);
        });
        const first = await handler(event);
        fails = false;
        const second = await handler(event);
        console.log(JSON.stringify({ first, second, handled }));
    """
    (tmp_path / "run.mjs").write_text(script)

    done = subprocess.run(
        ["node", "run.mjs", json.dumps(event)],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip

    assert json.loads(done.stdout) == {
        "first": {"batchItemFailures": [{"itemIdentifier": sequence_number(event, 2)}]},
        "second": {"batchItemFailures": []},
        "handled": [1, 2, 3],
    }
