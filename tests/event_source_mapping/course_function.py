# mypy: ignore-errors
"""A function as courses teach it: one ride after the other, without a thought for errors."""

import base64
import json
import os

import boto3

PREDICTIONS_STREAM = os.getenv("PREDICTIONS_STREAM_NAME", "ride_predictions")

kinesis = boto3.client("kinesis", region_name=os.getenv("AWS_REGION", "us-east-1"))


def prepare_features(ride: dict) -> dict:
    return {
        "route": f"{ride['PULocationID']}_{ride['DOLocationID']}",
        "trip_distance": ride["trip_distance"],
    }


def predict(features: dict) -> float:
    return 4.0 + 3.5 * features["trip_distance"]  # in the course, a model from MLflow


def lambda_handler(event, context):
    predictions = []
    for record in event["Records"]:
        ride_event = json.loads(base64.b64decode(record["kinesis"]["data"]))
        minutes = predict(prepare_features(ride_event["ride"]))
        prediction = {"ride_duration": minutes, "ride_id": ride_event["ride_id"]}
        kinesis.put_record(
            StreamName=PREDICTIONS_STREAM,
            Data=json.dumps(prediction),
            PartitionKey=str(ride_event["ride_id"]),
        )
        predictions.append(prediction)
    return {"predictions": predictions}
