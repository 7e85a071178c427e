"""Checks the response of a local invocation: ``sam local invoke … | python -m tools.check_invoke``.

`sam local invoke` exits with 0 even if the function fails.  This command prints its output
unchanged, and exits with 1 and a message if the last line is an error or is missing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable


def fault(line: str) -> str:
    """Return why *line* is not the response of a successful invocation; empty if it is.

    >>> fault('{"batchItemFailures": []}')
    ''
    >>> fault('{"errorMessage": "REJECTS_LOCATION is not set", "errorType": "SettingsError"}')
    'The function failed with SettingsError; see its response above.'
    """
    try:
        response = json.loads(line)
    except ValueError:
        return "The function did not respond; see its log above."
    if isinstance(response, dict) and "batchItemFailures" in response:
        return ""
    kind = response.get("errorType") if isinstance(response, dict) else None
    return f"The function failed{f' with {kind}' if kind else ''}; see its response above."


def main(lines: Iterable[str]) -> int:
    last = ""
    for line in lines:
        print(line, end="", flush=True)
        last = line if line.strip() else last
    print(end="" if last.endswith("\n") else "\n", flush=True)
    error = fault(last)
    print(error, file=sys.stderr, end="\n" if error else "")
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main(sys.stdin))
