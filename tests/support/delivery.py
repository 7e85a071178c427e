"""Delivers the records of `ride_events` to a handler, with the mapping of the template."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from event_source_mapping.functions import Handler, in_process, one_at_a_time
from event_source_mapping.identity import Identity
from event_source_mapping.kinesis import KinesisSource
from event_source_mapping.threads import run
from local.aws.lambda_api import ARN
from local.run_stream import RIDE_EVENTS
from local.template import scorer_settings

IDLE_SECONDS = 0.02


def deliver(
    kinesis: Any,
    handler: Handler,
    *,
    finished: Callable[[], bool] = lambda: True,
    idle: float = IDLE_SECONDS,
    **settings: Any,
) -> None:
    """Deliver the stream until *finished* returns True and all records are processed.

    *settings* replace those of the template, whose batching window is not awaited.
    """
    given = {"maximum_batching_window_in_seconds": 0, **settings}
    mapping, timeout = scorer_settings("unused", **given)
    source = KinesisSource(kinesis, RIDE_EVENTS)
    names = Identity(source.arn, ARN)
    function = one_at_a_time(in_process(handler, names, timeout))
    run(function, source, mapping, names, finished=finished, idle=idle)
