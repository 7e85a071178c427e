"""Quotes a ride with the client that openapi-python-client generated: generated.py address."""

from __future__ import annotations

import sys

from rides.api.default import predict, predict_batch  # type: ignore[import-not-found]
from rides.client import Client  # type: ignore[import-not-found]
from rides.models import BareRide, Problem, Ride, WrappedRide  # type: ignore[import-not-found]

client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)
bare = BareRide(130, 205, 3.66, pickup_datetime=None, ride_id=None)
wrapped = WrappedRide(Ride(130, 205, 3.66), ride_id=256)
quote, other = (predict.sync(client=client, body=body) for body in (bare, wrapped))
assert other.ride_id == 256
first, second = predict_batch.sync(client=client, body=[wrapped, BareRide(130, 0, 3.66)])
assert first == other
assert isinstance(second, Problem) and second.field == "DOLocationID"
print(quote.duration)
