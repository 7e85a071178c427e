"""The rides of a request are decoded one by one, and an invalid ride does not affect the others."""

from __future__ import annotations

from datetime import UTC, datetime

from model_service.errors import RideRejected
from model_service.web import quotes


def test_rejection_in_a_batch_is_stored_without_its_traceback() -> None:
    [rejection] = quotes.decode_batch(b'[{"trip_distance": 1}]', datetime(2021, 3, 1, tzinfo=UTC))

    assert isinstance(rejection, RideRejected)
    assert str(rejection) == "Object missing required field `PULocationID`"
    assert rejection.__traceback__ is None
