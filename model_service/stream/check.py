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
from ..format_names import WHITE_SPACE
from ..local_time import new_york
from ..payloads import GZIP_MAGIC, KPL_MAGIC
from ..rides import Ride
from ..zones import name_of

NO_TIME = "picked up when the event arrives"
IGNORED_TIME = "; an unknown field looks like a pick-up time: send it as pickup_datetime in ride"


def events(text: bytes) -> list[tuple[str, bytes]]:
    """The events of a file and where they stand: one a line, or one in the whole file."""
    if text.startswith((GZIP_MAGIC, KPL_MAGIC)):
        return [("the event", text)]
    lines = [
        (f"line {n}", line.strip(WHITE_SPACE)) for n, line in enumerate(text.splitlines(), start=1)
    ]
    lines = [(where, line) for where, line in lines if line]
    one_a_line = any(line.startswith(b"{") and line.endswith(b"}") for _, line in lines)
    if not one_a_line and len(lines) > 1:
        return [("the event", text)]
    return lines


def description(ride: Ride) -> str:
    """A ride in words: the names of its zones, its miles, and its pick-up time in New York.

    >>> description(Ride(130, 205, 3.66))
    'Jamaica (130) to Saint Albans (205), 3.66 miles, picked up when the event arrives'
    """
    zones = f"{name_of(ride.pickup)} ({ride.pickup}) to {name_of(ride.dropoff)} ({ride.dropoff})"
    moment = NO_TIME
    if ride.pickup_datetime is not None:
        local = new_york(ride.pickup_datetime)
        moment = f"picked up on {local:%A} {local.replace(tzinfo=None)} {local:%Z}, New York time"
    return f"{zones}, {ride.distance:g} miles, {moment}"


def main(arguments: list[str]) -> int:
    """Print how each event is read, and the counts.

    Returns 1 where an event was rejected or none was found.
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
                ignored = IGNORED_TIME if result.ignores_time else ""
                print(f"{result.event_id}: {description(result.event.ride)}{ignored}")
    print(f"{good} good, {rejected} rejected")
    return 1 if rejected else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
