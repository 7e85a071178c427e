"""AWS Lambda entry point of decisions: joins the predictions of each ride, and decides once.

The function has two kinds of invocations: batches of the stream of predictions, and the schedule of
the sweep, which decides the rides whose deadline has passed.  The settings and the policy are read
once, when Lambda starts the function.
"""

from __future__ import annotations

import logging
import os
from itertools import count
from typing import Any

from model_service import decisions
from model_service.decisions import policy, store, sweep, telemetry
from model_service.decisions.decision import Rules
from model_service.emf import Destination
from model_service.kinesis import invocation, publisher, records, rejects
from model_service.kinesis.invocation import Context
from model_service.settings import DECISIONS, NO_REJECTS, DecisionSettings

SCHEDULED = "scheduled_time"
"""The key that an event of the schedule has, and a batch of records has not."""

settings = DecisionSettings.from_env(os.environ)
logging.getLogger().setLevel(settings.log_level)
for library in ("boto3", "botocore", "urllib3"):  # at DEBUG they log payloads
    logging.getLogger(library).setLevel(logging.INFO)
rules = Rules(
    settings.expected_models,
    policy.load(settings.decision_policy),
    settings.decision_deadline_seconds,
)
table = store.connect(settings.decisions_table_name)
publish = publisher.connect(
    settings.decisions_stream_name, endpoint_url=settings.kinesis_endpoint_url
)
keep: rejects.Keep = rejects.discard
if settings.rejects_location != NO_REJECTS:
    keep = rejects.connect(settings.rejects_location, model_name=DECISIONS)
destination = Destination(settings.powertools_metrics_namespace, settings.powertools_service_name)
invocations = count()


def lambda_handler(event: dict[str, Any], context: Context | None) -> dict[str, Any]:
    """Decide the rides of one batch of predictions, or those whose deadline has passed.

    The response to a batch names the record from which Lambda has to retry, if there is one.
    Raises `EventError` if *event* is neither, and `StoreError` if the table fails in a sweep.
    """
    is_replay = records.is_replay(event)
    identity = invocation.identify(context, cold_start=next(invocations) == 0, replay=is_replay)
    if SCHEDULED in event:
        swept = sweep.sweep(
            rules=rules, store=table, publish=publish, time_left=invocation.time_left(context)
        )
        print(telemetry.sweep_line(swept, identity, destination))
        return {"swept": len(swept.decisions)}
    report = decisions.process(
        event,
        rules=rules,
        store=table,
        publish=publish,
        keep=keep,
        time_left=invocation.time_left(context),
    )
    print(telemetry.log_line(report, identity, destination))
    return decisions.response(report)
