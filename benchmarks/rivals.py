"""Flask applications with which the web service is compared, as short as those in tutorials.

* ``constant()`` returns a constant response: the upper limit of Flask and gunicorn.
* ``bare()`` scores with the same ONNX model, without validation, metrics or logs.
* ``tutorial()`` scores with the same champion in its scikit-learn flavour, by `mlflow.pyfunc`.

They read MODEL_LOCATION, and serve any model whose signature names its features.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from flask import Flask, Response, request

from .tutorial.features import places, row

ZONES = Path(__file__).parents[1] / "model_service/zones.csv"
NEW_YORK = ZoneInfo("America/New_York")
ANSWER = b'{"duration":21.3,"versions":{"duration":"73fdd3679fc040b8bf073c0be95d3b6b"}}'
ONNX_TYPES: dict[str, Any] = {
    "tensor(string)": str,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


def features(ride: dict[str, Any]) -> dict[str, Any]:
    """Return every feature that an ONNX model may need; *ride* is the JSON object of a request."""
    now = datetime.now(NEW_YORK)
    return {
        **ride,
        "PU_DO": f"{ride['PULocationID']}_{ride['DOLocationID']}",
        "hour": now.hour,
        "weekday": now.weekday(),
        "minute_of_day": now.hour * 60 + now.minute,
    }


def all_features(ride: dict[str, Any], table: dict[int, dict[str, float]]) -> dict[str, Any]:
    """Return the features for the ONNX and the scikit-learn flavour.

    *ride* is the JSON object of a request, and *table* has the centroids of the zones.
    """
    return features(ride) | row(ride, datetime.now(NEW_YORK), table)


def constant() -> Flask:
    app = Flask("constant")

    @app.post("/predict")
    def predict() -> Response:
        return Response(ANSWER, mimetype="application/json")

    return app


def bare() -> Flask:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(os.environ["MODEL_LOCATION"], "model.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = [(i.name, ONNX_TYPES[i.type]) for i in session.get_inputs()]
    app = Flask("bare")

    @app.post("/predict")
    def predict() -> dict[str, float]:
        values = features(request.get_json())
        feed = {
            name: np.array([[str(values[name])]], dtype=object)
            if type_ is str
            else np.array([[values[name]]], dtype=type_)
            for name, type_ in inputs
        }
        return {"duration": float(session.run(None, feed)[0].item())}

    return app


def tutorial() -> Flask:
    import mlflow.pyfunc
    import pandas as pd

    model = mlflow.pyfunc.load_model(os.environ["MODEL_LOCATION"], suppress_warnings=True)
    types = column_types(model.metadata)
    table = places(str(ZONES))
    app = Flask("tutorial")

    @app.post("/predict")
    def predict() -> dict[str, float]:
        values = all_features(request.get_json(), table)
        frame = pd.DataFrame([{name: type_(values[name]) for name, type_ in types.items()}])
        return {"duration": float(model.predict(frame)[0])}

    return app


def column_types(metadata: Any) -> dict[str, Any]:
    """Return the columns of a model's signature: name -> type; *metadata* is MLflow's."""
    return {
        column.name: str if column.type.name == "string" else column.type.to_numpy().type
        for column in metadata.get_input_schema().inputs
    }
