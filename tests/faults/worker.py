"""A process that runs the real handler: one JSON line in for each invocation, one line out.

The first line out says that the handler is ready.  What the handler prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """The part of Lambda's context that the handler uses."""

    deadline: float
    aws_request_id: str = "a-request"
    function_version: str = "$LATEST"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(1000 * (self.deadline - time.monotonic())))


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from lambda_function import lambda_handler

    print(json.dumps("ready"), file=replies, flush=True)
    for line in sys.stdin:
        invocation = json.loads(line)
        context = Context(time.monotonic() + invocation["seconds"])
        reply = lambda_handler(invocation["event"], context)
        sys.stdout.flush()
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
