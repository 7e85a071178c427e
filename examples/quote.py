"""A few rides at once, with Python's own library: python examples/quote.py [address]."""

from __future__ import annotations

import json
import sys
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

RIDES: list[dict[str, Any]] = [
    {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66},
    {"PULocationID": 74, "DOLocationID": 75, "trip_distance": -1, "ride_id": "wrong"},
    {"PULocationID": 74, "DOLocationID": 75, "trip_distance": 0.9, "ride_id": "short"},
]


def quotes(address: str, rides: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One outcome a ride, in order: a quote, or a problem with its ``status``."""
    request = Request(
        f"{address}/predict/batch",
        data=json.dumps(rides).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    if not isinstance(found, list) or len(found) != len(rides):
        raise ValueError("another's answer")
    return found


def main(address: str = "http://127.0.0.1:9696") -> int:
    try:
        outcomes = quotes(address, RIDES)
    except HTTPError as exc:  # the request as a whole was refused
        print(f"refused with {exc.code}: {exc.reason}", file=sys.stderr)
        return 1
    except (OSError, HTTPException) as exc:
        print(f"{address} cannot be reached: {getattr(exc, 'reason', exc)}", file=sys.stderr)
        return 1
    except ValueError:
        print(f"{address} is not the address of this service.", file=sys.stderr)
        return 1
    for ride, outcome in zip(RIDES, outcomes, strict=True):
        name = ride.get("ride_id", "a ride")
        if "status" in outcome:
            print(f"{name}: {outcome['detail']}")
        else:
            cost = f", {outcome['cost']:.2f} dollars" if "cost" in outcome else ""
            print(f"{name}: {outcome['duration']:.1f} minutes{cost}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
