"""Clients for AWS that retry patiently, with one readable error where none can be created."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from .command import CommandError


def client(service: str, *, attempts: int = 8, **settings: Any) -> Any:
    """A boto3 client for *service*; *settings* are those of botocore's `Config`.

    Raises `CommandError` if the region, the profile or the endpoint is missing or wrong.
    """
    retries = Config(retries={"mode": "standard", "total_max_attempts": attempts}, **settings)
    try:
        return boto3.client(service, config=retries)  # type: ignore[call-overload]
    except (BotoCoreError, ValueError) as exc:
        raise CommandError(f"AWS cannot be reached: {exc}") from None
