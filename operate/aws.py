"""Clients of AWS: patient ones, and one sentence where none can be made."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from .errors import BadInput


def client(service: str, *, attempts: int = 8, **settings: Any) -> Any:
    """boto3's client of a service; *settings* are those of botocore's `Config`.

    Raises `BadInput` where region, profile or endpoint are not what they should be.
    """
    retries = Config(retries={"mode": "standard", "total_max_attempts": attempts}, **settings)
    try:
        return boto3.client(service, config=retries)  # type: ignore[call-overload]
    except (BotoCoreError, ValueError) as exc:
        raise BadInput(f"AWS cannot be reached: {exc}") from None
