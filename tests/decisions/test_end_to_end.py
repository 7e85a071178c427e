"""Two scorers' predictions through the template's mapping to decisions, while invocations fail."""

from __future__ import annotations

import json
import random
from collections import Counter
from threading import Event
from typing import Any

from event_source_mapping import threads
from event_source_mapping.faults import faulty, recurring
from event_source_mapping.functions import in_process, one_at_a_time
from event_source_mapping.identity import Identity
from event_source_mapping.kinesis import KinesisSource
from event_source_mapping.settings import settings_from
from event_source_mapping.template import mapping_of
from local.aws.kinesis_reader import readers
from local.aws.lambda_api import ARN
from local.aws.server import Embedded
from local.template import unrolled_template
from model_service import decisions
from model_service.decisions.processor import Outcome, rides
from model_service.decisions.store import Table
from model_service.kinesis.accounting import BatchReport
from model_service.kinesis.publisher import KinesisPublisher

from ..support.decisions import COST, DURATION, create_table, prediction_bytes, rules
from ..support.factories import MemoryRejects

PREDICTIONS, DECISIONS = "ride_predictions", "ride_decisions"
RIDES, APART = 300, 20


def predictions() -> list[tuple[str, bytes]]:
    """The predictions of two models, of which one lags by `APART` rides, and some twice."""
    each = [
        (ride + APART * (model == COST), str(ride), prediction_bytes(model, ride))
        for ride in range(RIDES)
        for model in (DURATION, COST)
    ]
    again = random.Random(1).sample(each, RIDES // 10)
    ordered = sorted([*each, *[(place + 50, ride, data) for place, ride, data in again]])
    return [(ride, data) for _, ride, data in ordered]


def test_every_ride_has_one_decision_although_invocations_fail(module_aws: Embedded) -> None:
    kinesis, dynamodb = module_aws.kinesis(), module_aws.dynamodb()
    for stream in (PREDICTIONS, DECISIONS):
        kinesis.create_stream(StreamName=stream, ShardCount=2)
    create_table(dynamodb, "decisions")
    table = Table(dynamodb, "decisions")
    records: list[Any] = [{"PartitionKey": key, "Data": data} for key, data in predictions()]
    for start in range(0, len(records), 500):
        kinesis.put_records(StreamName=PREDICTIONS, Records=records[start : start + 500])
    reports: list[BatchReport[Outcome]] = []
    failures: Counter[str] = Counter()

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        report = decisions.process(
            event,
            rules=rules(),
            store=table,
            publish=KinesisPublisher(kinesis, DECISIONS),
            keep=MemoryRejects(),
            time_left=lambda: context.get_remaining_time_in_millis() / 1000,
        )
        reports.append(report)
        return decisions.response(report)

    mapped = mapping_of(
        unrolled_template({}),
        "DecisionFunction",
        given={
            "batch_size": 100,
            "maximum_batching_window_in_seconds": 0,
            "destination_config": None,
        },
    )
    source = KinesisSource(kinesis, PREDICTIONS)
    names = Identity(source.arn, ARN)
    function = one_at_a_time(in_process(handler, names, mapped.timeout))
    threads.run(
        faulty(function, recurring(3), lambda kind: failures.update([kind])),
        source,
        settings_from(mapped.keywords),
        names,
        finished=lambda: True,
        stop=Event(),
        idle=0.02,
    )

    published: dict[str, set[bytes]] = {}
    for reader in readers(kinesis, DECISIONS):
        while found := reader():
            for record in found:
                ride = str(json.loads(record.data)["ride_id"])
                published.setdefault(ride, set()).add(record.data)
    assert failures
    assert published.keys() == {str(ride) for ride in range(RIDES)}
    assert all(len(copies) == 1 for copies in published.values())
    assert list(table.due(1e12)) == []
    made = [
        of_ride[0].joined
        for report in reports
        for of_ride in rides(report.published).values()
        if of_ride[0].joined and of_ride[0].joined.is_new
    ]
    assert len(made) == RIDES
