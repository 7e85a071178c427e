"""Adjusts the test data of schemathesis; `schemathesis.toml` loads this module."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Send whole numbers without a decimal point.

    JSON Schema accepts 130.0 as an integer, but the service requires 130.
    """
    if isinstance(body, dict):
        return {name: map_body(context, value) for name, value in body.items()}
    if isinstance(body, list):
        return [map_body(context, value) for value in body]
    whole = isinstance(body, float) and body.is_integer()
    return int(body) if whole else body
