"""Checks the ride events in a file: ``python -m model_service.rides check FILE``.

The command reads each event with the same code as the stream scorer, and loads no model.  The file
contains either one event per line, or a single event that may have several lines or be a gzip.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from pathlib import Path

from .. import rides
from ..errors import RideRejected
from ..payloads import GZIP_MAGIC


def events(text: bytes) -> list[tuple[str, bytes]]:
    """Return a label and the bytes of each event in a file, whose content is *text*.

    Each line with text is an event, labelled "line 1" and so on, if there is only one such line or
    if at least one of them begins with ``{`` and ends with ``}``.  Otherwise, or if the file is a
    gzip, the whole file is one event, labelled "the event".
    """
    lines = [(f"line {n}", line.strip()) for n, line in enumerate(text.splitlines(), start=1)]
    lines = [(where, line) for where, line in lines if line]
    one_a_line = any(line.startswith(b"{") and line.endswith(b"}") for _, line in lines)
    if text.startswith(GZIP_MAGIC) or (not one_a_line and len(lines) > 1):
        return [("the event", text)]
    return lines


def main(arguments: list[str]) -> int:
    """Print each rejected event, then the counts, and return the exit code.

    The exit code is 0 if all events are valid, 1 if an event is rejected or the file has none, and
    2 if the arguments are wrong or the file cannot be read.
    """
    if len(arguments) != 2 or arguments[0] != "check":
        print("usage: python -m model_service.rides check FILE", file=sys.stderr)
        return 2
    try:
        found = events(Path(arguments[1]).read_bytes())
    except OSError as exc:
        print(f"cannot read {arguments[1]}: {exc.strerror}", file=sys.stderr)
        return 2
    if not found:
        print(f"there is no event in {arguments[1]}", file=sys.stderr)
        return 1
    good = rejected = 0
    for where, data in found:
        for result in rides.read(b64encode(data).decode(), where, None):
            if isinstance(result.event, RideRejected):
                rejected += 1
                print(f"{result.event_id}: rejected: {result.event}")
            else:
                good += 1
    print(f"{good} good, {rejected} rejected")
    return 1 if rejected else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
