"""A function as in tutorials: MLflow loads the model on import, and scores one ride at a time."""

import base64
import json
import os

import mlflow.pyfunc
import pandas as pd
from features import places, row

PLACES = places("zones.csv")
model = mlflow.pyfunc.load_model(os.environ["MODEL_LOCATION"])


def features(ride):
    moment = pd.Timestamp(ride["pickup_datetime"])
    return pd.DataFrame([row(ride, moment, PLACES)], dtype="float32")


def lambda_handler(event, context):
    predictions = []
    for record in event["Records"]:
        ride_event = json.loads(base64.b64decode(record["kinesis"]["data"]))
        minutes = float(model.predict(features(ride_event["ride"]))[0])
        predictions.append(
            {"prediction": {"ride_duration": minutes, "ride_id": ride_event["ride_id"]}}
        )
    return {"predictions": predictions}
