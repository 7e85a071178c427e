"""Creates clients for AWS that retry often; if none can be created, the error is one sentence."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from .command import CommandError


def client(service: str, *, attempts: int = 8, **settings: Any) -> Any:
    """Return a boto3 client for *service*; *settings* are arguments of botocore's `Config`.

    Raises `CommandError` if the region, the profile or the endpoint is missing or wrong.
    """
    retries = Config(retries={"mode": "standard", "total_max_attempts": attempts}, **settings)
    try:
        return boto3.client(service, config=retries)  # type: ignore[call-overload]
    except (BotoCoreError, ValueError) as exc:
        raise CommandError(f"AWS cannot be reached: {exc}") from None
