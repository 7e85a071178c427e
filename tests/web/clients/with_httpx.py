"""Quotes a ride with httpx, with Content-Length and in chunks: with_httpx.py address."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import httpx  # type: ignore[import-not-found]

RIDE = {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66}


def chunks() -> Iterator[bytes]:
    yield json.dumps(RIDE).encode()[:10]
    yield json.dumps(RIDE).encode()[10:]


with httpx.Client(base_url=sys.argv[1]) as client:
    whole = client.post("/predict", json=RIDE)
    headers = {"Content-Type": "application/json"}
    chunked = client.post("/predict", content=chunks(), headers=headers)
assert chunked.request.headers["Transfer-Encoding"] == "chunked"
assert whole.json() == chunked.json()
print(whole.json()["duration"])
