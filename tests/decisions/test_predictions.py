"""Prediction events, as the decision reads them."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_service.decisions import predictions
from model_service.errors import RideRejected
from model_service.stream import predictions as published

from ..support.decisions import COST, EVENT_ID, prediction_bytes, prediction_event


@given(
    value=st.floats(0, 1e6),
    width=st.none() | st.floats(0, 100),
    ride_id=st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text("aé\U0001f695", min_size=1, max_size=128),
)
def test_what_a_scorer_publishes_is_read_as_it_was(
    value: float, width: float | None, ride_id: int | str
) -> None:
    interval = None if width is None else (value - width, value + width)
    source = published.Source(EVENT_ID, datetime(2022, 6, 2, 8, 5, 14, 132000, UTC))
    made = published.Prediction("a", "1", "ride_cost", value, interval, ride_id, source)

    read = predictions.decode(published.entry(made).data)

    assert (read.value, read.interval, read.ride_id) == (value, interval, ride_id)
    assert (read.model, read.version, read.field) == ("a", "1", "ride_cost")
    assert (read.event_id, read.arrived_at) == (EVENT_ID, source.arrived_at)


def test_unknown_fields_are_ignored() -> None:
    event = prediction_event(COST, explanation=["far"], unit="dollars") | {"further": 1}

    read = predictions.decode(json.dumps(event).encode())

    assert (read.field, read.value) == ("ride_cost", 21.3)


def test_an_id_with_a_decimal_point_is_the_integer() -> None:
    assert predictions.decode(prediction_bytes(ride_id=256.0)).ride_id == 256


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"version": ""}, "$.version"),
        ({"version": "v" * 129}, "$.version"),
        ({"arrived_at": "2022-06-02T08:05:14"}, "$.source.arrived_at"),
        ({"event_id": ""}, "$.source.event_id"),
        ({"ride_id": 1.5}, "$.prediction.ride_id"),
        ({"ride_id": 2**53}, "$.prediction.ride_id"),
        ({"ride_id": ""}, "$.prediction.ride_id"),
        ({"ride_id": None}, "$.prediction.ride_id"),
        ({"ride_id": True}, "$.prediction.ride_id"),
        ({"value": "21"}, "$.prediction"),
        ({"value": True}, "$.prediction"),
        ({"second": 1.0}, "$.prediction"),
        ({"interval": [22, 23]}, "$.prediction.interval"),
        ({"interval": [21]}, "$.prediction.interval"),
        ({"interval": "wide"}, "$.prediction.interval"),
    ],
)
def test_anything_else_is_rejected_by_its_path(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(RideRejected) as refused:
        predictions.decode(prediction_bytes(**changes))

    assert f"`{path}`" in str(refused.value)


def test_values_that_json_cannot_say_are_rejected() -> None:
    for text in (b"NaN", b"1e999"):
        with pytest.raises(RideRejected):
            predictions.decode(prediction_bytes().replace(b"21.3", text))


def test_a_record_may_be_zipped_and_a_bad_one_is_one_rejection() -> None:
    zipped = base64.b64encode(gzip.compress(prediction_bytes())).decode()

    [good] = predictions.read(zipped, "an-id")
    [bad] = predictions.read("no base64", "an-id")

    assert isinstance(good.prediction, predictions.Prediction)
    assert isinstance(bad.prediction, RideRejected)
