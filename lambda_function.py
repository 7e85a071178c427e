"""AWS Lambda entry point of the stream scorer.

The settings are read and the model is loaded once, when Lambda starts the function.
"""

from __future__ import annotations

import gc
import logging
import os
from datetime import UTC, datetime
from itertools import count
from typing import Any

from model_service import models, stream
from model_service.emf import Destination
from model_service.kinesis import invocation, publisher, records, rejects, telemetry
from model_service.kinesis.invocation import Context
from model_service.scoring import Target
from model_service.settings import NO_REJECTS, Settings

settings = Settings.from_env(os.environ)
logging.getLogger().setLevel(settings.log_level)
for library in ("boto3", "botocore", "urllib3"):  # at DEBUG they log payloads
    logging.getLogger(library).setLevel(logging.INFO)
target = Target(
    settings.model_name,
    settings.prediction_field,
    settings.prediction_min,
    settings.prediction_max,
)
model = models.load(
    settings.model_path,
    sha256=settings.model_sha256,
    allow_pickled=settings.allow_pickled_models,
    run_id=settings.run_id,
    field=settings.prediction_field,
)
publish: publisher.Publish = publisher.discard
keep: rejects.Keep = rejects.discard
if not settings.test_run:
    publish = publisher.connect(
        settings.predictions_stream_name, endpoint_url=settings.kinesis_endpoint_url
    )
    if settings.rejects_location != NO_REJECTS:
        keep = rejects.connect(settings.rejects_location, model_name=settings.model_name)
destination = Destination(settings.powertools_metrics_namespace, settings.powertools_service_name)
invocations = count()
gc.freeze()  # the objects that exist now are never garbage, so collections can skip them


def lambda_handler(event: dict[str, Any], context: Context | None) -> dict[str, Any]:
    """Score one batch of Kinesis records.

    The response names the record from which Lambda has to retry, if there is one.
    """
    if settings.test_run:
        event = records.completed(event, datetime.now(UTC))
    report = stream.process(
        event,
        model=model,
        target=target,
        publish=publish,
        keep=keep,
        time_left=invocation.time_left(context),
    )
    print(
        telemetry.log_line(
            report,
            model_name=target.model_name,
            version=model.version,
            predictions=[prediction.value for prediction in report.published],
            invocation=invocation.identify(
                context,
                cold_start=next(invocations) == 0,
                replay=records.is_replay(event),
            ),
            destination=destination,
        )
    )
    return stream.response(report, with_predictions=settings.return_predictions)
