"""What JSON Schema has no words for, told to schemathesis by `schemathesis.toml`."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Send whole numbers without a decimal point.

    To JSON Schema 130.0 is an integer like 130; the service wants integers written as such.
    """
    if isinstance(body, dict):
        return {name: map_body(context, value) for name, value in body.items()}
    if isinstance(body, list):
        return [map_body(context, value) for value in body]
    whole = isinstance(body, float) and body.is_integer()
    return int(body) if whole else body
