"""What a function answered on this machine: ``sam local invoke … | python -m tools.check_invoke``.

`sam local invoke` ends well whatever the function says.  Here its output is passed on as it came,
and an error, or no answer at all, becomes a sentence and an exit code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable


def fault(line: str) -> str:
    """Why *line* is not what a function answers that did its work; nothing where it is.

    >>> fault('{"batchItemFailures": []}')
    ''
    >>> fault('{"errorMessage": "REJECTS_LOCATION is not set", "errorType": "SettingsError"}')
    'The function failed with SettingsError: its answer above says why.'
    """
    try:
        answer = json.loads(line)
    except ValueError:
        return "The function gave no answer: what is above it says why."
    if isinstance(answer, dict) and "batchItemFailures" in answer:
        return ""
    kind = answer.get("errorType") if isinstance(answer, dict) else None
    return f"The function failed{f' with {kind}' if kind else ''}: its answer above says why."


def main(lines: Iterable[str]) -> int:
    last = ""
    for line in lines:
        print(line, end="", flush=True)
        last = line if line.strip() else last
    print(end="" if last.endswith("\n") else "\n", flush=True)
    because = fault(last)
    print(because, file=sys.stderr, end="\n" if because else "")
    return 1 if because else 0


if __name__ == "__main__":
    sys.exit(main(sys.stdin))
