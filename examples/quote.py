"""Quotes several rides with the standard library: python examples/quote.py [address]."""

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
    """Return for each ride, in order, a quote or a problem with a ``status``.

    *address* is the URL of the web service.

    Raises `ValueError` if the response is not one of this service.
    """
    request = Request(
        f"{address}/predict/batch",
        data=json.dumps(rides).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=10) as response:
        results: list[dict[str, Any]] = json.load(response)
    if not isinstance(results, list) or len(results) != len(rides):
        raise ValueError("unexpected response")
    return results


def main(address: str = "http://127.0.0.1:9696") -> int:
    try:
        results = quotes(address, RIDES)
    except HTTPError as exc:  # the whole request failed
        print(f"the request failed: {exc.code} {exc.reason}", file=sys.stderr)
        return 1
    except (OSError, HTTPException) as exc:
        print(f"cannot reach {address}: {getattr(exc, 'reason', exc)}", file=sys.stderr)
        return 1
    except ValueError:
        print(f"{address} is not the ride prediction service", file=sys.stderr)
        return 1
    for ride, result in zip(RIDES, results, strict=True):
        name = ride.get("ride_id", "a ride")
        if "status" in result:
            print(f"{name}: {result['detail']}")
        else:
            cost = f", {result['cost']:.2f} dollars" if "cost" in result else ""
            print(f"{name}: {result['duration']:.1f} minutes{cost}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
