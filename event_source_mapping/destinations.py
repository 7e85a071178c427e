"""Sends messages about discarded batches to an on-failure destination with boto3."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .decisions import Discard
from .identity import Identity
from .messages import CONTENT_TYPE, message, message_on_s3, object_key
from .settings import Destination

Deliver = Callable[[Discard, float], None]
"""A function that sends the message about a discarded batch; it gets the decision, and the time in
seconds since 1970."""


def deliver_to(destination: Destination, names: Identity, client: Any) -> Deliver:
    """Return a function that sends messages to *destination*.

    *client* is boto3's client for the service of the destination, S3 or SQS.
    """
    if destination.service == "s3":
        return lambda discard, at: client.put_object(
            Bucket=destination.name,
            Key=object_key(discard, names, at),
            Body=json.dumps(message_on_s3(discard, names, at)).encode(),
            ContentType=CONTENT_TYPE,
        )
    url = client.get_queue_url(QueueName=destination.name)["QueueUrl"]
    return lambda discard, at: client.send_message(
        QueueUrl=url, MessageBody=json.dumps(message(discard, names, at))
    )
