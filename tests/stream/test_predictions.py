from __future__ import annotations

from datetime import UTC, datetime

from model_service.stream.predictions import Prediction, Source, entry


def test_a_prediction_event_has_the_fixed_form() -> None:
    prediction = Prediction(
        model="ride_duration_prediction_model",
        version="Test123",
        field="ride_duration",
        value=21.3,
        interval=(17.0, 26.9),
        ride_id=256,
        source=Source("shardId-000000000000:1", datetime(2022, 6, 2, 8, 5, 14, 132999, UTC)),
    )

    assert entry(prediction) == (
        "256",
        b'{"model":"ride_duration_prediction_model","version":"Test123",'
        b'"prediction":{"ride_duration":21.3,"ride_id":256,"interval":[17.0,26.9]},'
        b'"source":{"event_id":"shardId-000000000000:1","arrived_at":"2022-06-02T08:05:14.132Z"}}',
    )
