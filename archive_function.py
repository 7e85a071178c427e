"""AWS Lambda entry point of the archive: stores the records of a stream on S3.

Every record is archived, whether it is valid or not.  The settings are read once, when Lambda
starts the function.
"""

from __future__ import annotations

import logging
import os
from itertools import count
from typing import Any

from model_service import archive
from model_service.archive import telemetry, writer
from model_service.emf import Destination
from model_service.kinesis import invocation
from model_service.kinesis.invocation import Context
from model_service.settings import ArchiveSettings

settings = ArchiveSettings.from_env(os.environ)
logging.getLogger().setLevel(settings.log_level)
for library in ("boto3", "botocore", "urllib3"):  # at DEBUG they log what is sent
    logging.getLogger(library).setLevel(logging.INFO)
store = writer.connect(settings.archive_location)
destination = Destination(settings.powertools_metrics_namespace, settings.powertools_service_name)
invocations = count()


def lambda_handler(event: dict[str, Any], context: Context | None) -> dict[str, Any]:
    """Archive one batch of records; the response says from which record to retry, if any.

    Raises `EventError` if *event* is not a batch of Kinesis records.
    """
    report = archive.process(event, store=store, time_left=invocation.time_left(context))
    identity = invocation.identify(context, cold_start=next(invocations) == 0)
    print(telemetry.log_line(report, identity, destination))
    return archive.response(report)
