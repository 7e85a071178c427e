"""Compares the handler with a per-record baseline: ``python -m benchmarks.handler``.

Both serve the same champion.  The network is replaced by a function that returns a response of
Kinesis without a delay, so only the time of this project's code and of the SDK is measured:

* handler: the complete `lambda_function.lambda_handler`, with ONNX and PutRecords, with batches of
  a thousand rides;
* per-record baseline, as in tutorials: one ride at a time, with `mlflow.pyfunc` and PutRecord.

The two are measured alternately, each time in a new process.  Writes build/bench/results.json, and
prints a table to standard output.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.progress import track

from event_source_mapping.identity import identity
from event_source_mapping.lambda_event import event_of
from event_source_mapping.records import Record

from .results import RESULTS, save
from .tutorial.features import places, row

ZONES = str(Path(__file__).parents[1] / "model_service/zones.csv")
RIDES = 1000
ROUNDS = 5

ENVIRONMENT = {
    "REJECTS_LOCATION": "none",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Favours the baseline: for a single ride, starting threads takes longer than the trees.
    "OMP_NUM_THREADS": "1",
}
STARTS = {
    "handler": "import lambda_function",
    "usual": "import boto3, mlflow.pyfunc, os;"
    " mlflow.pyfunc.load_model(os.environ['MODEL_LOCATION'], suppress_warnings=True);"
    " boto3.client('kinesis')",
}


def batch(number: int) -> dict[str, Any]:
    """Return an event with *number* rides, which are the same in every run."""
    random = np.random.default_rng(0)
    arrived_at = datetime(2021, 3, 1, 13, 15, tzinfo=UTC).timestamp()
    records = [
        Record(str(n), str(n), json.dumps(_ride_event(n, random)).encode(), arrived_at)
        for n in range(number)
    ]
    return event_of(records, "shardId-000000000000", identity("ride_events", "ride-predictions"))


def _ride_event(ride_id: int, random: np.random.Generator) -> dict[str, Any]:
    ride = {
        "PULocationID": int(random.integers(1, 266)),
        "DOLocationID": int(random.integers(1, 266)),
        "trip_distance": round(float(random.gamma(2, 1.5)), 2),
        "pickup_datetime": f"2021-03-{random.integers(1, 29):02d}T{random.integers(24):02d}:15:00",
    }
    return {"ride": ride, "ride_id": ride_id}


def answer_at_once(client: Any) -> None:
    """Make *client* respond without a network, but with all other work of the SDK."""
    from botocore.awsrequest import AWSResponse
    from botocore.compat import HTTPHeaders

    class Raw(io.BytesIO):
        def stream(self, **_: Any) -> Any:
            yield self.read()

    def answer(request: Any, **_: Any) -> Any:
        entry = {"SequenceNumber": "1", "ShardId": "shardId-000000000000"}
        entries = json.loads(request.body).get("Records")
        body = entry if entries is None else {"Records": [entry] * len(entries)}
        headers = HTTPHeaders.from_dict({"Content-Type": "application/x-amz-json-1.1"})
        return AWSResponse(request.url, 200, headers, Raw(json.dumps(body).encode()))

    client.meta.events.register("before-send.kinesis", answer)


def handler(event: dict[str, Any]) -> Callable[[], int]:
    """Return a function that calls the handler with *event* and counts the predictions."""
    import lambda_function

    answer_at_once(lambda_function.publish.client)  # type: ignore[attr-defined]

    def run() -> int:
        with redirect_stdout(io.StringIO()):
            response = lambda_function.lambda_handler(event, None)
        return len(response["predictions"])

    return run


def usual(event: dict[str, Any], location: str) -> Callable[[], int]:
    """Return a function that runs the per-record baseline on *event*, with the model at *location*.

    It returns the number of predictions.
    """
    import boto3
    import mlflow.pyfunc
    import pandas as pd

    model = mlflow.pyfunc.load_model(location, suppress_warnings=True)
    client = boto3.client("kinesis")
    answer_at_once(client)
    table = places(ZONES)

    def features(ride: dict[str, Any]) -> pd.DataFrame:
        moment = pd.Timestamp(ride["pickup_datetime"])
        return pd.DataFrame([row(ride, moment, table)], dtype="float32")

    def run() -> int:
        predictions = []
        for record in event["Records"]:
            ride_event = json.loads(base64.b64decode(record["kinesis"]["data"]))
            prediction = {
                "model": "ride_duration_prediction_model",
                "version": "a run",
                "prediction": {
                    "ride_duration": float(model.predict(features(ride_event["ride"]))[0]),
                    "ride_id": ride_event["ride_id"],
                },
            }
            client.put_record(
                StreamName="ride_predictions",
                Data=json.dumps(prediction),
                PartitionKey=str(ride_event["ride_id"]),
            )
            predictions.append(prediction)
        return len(predictions)

    return run


def milliseconds(run: Callable[[], int], rides: int) -> float:
    """Call *run* once, and return its milliseconds per thousand rides.

    *run* predicts *rides* rides and returns the number of predictions.  Raises `SystemExit` if this
    number is not *rides*.
    """
    started = time.perf_counter()
    predicted = run()
    took = time.perf_counter() - started
    if predicted != rides:
        raise SystemExit(
            f"{predicted} of {rides} rides were predicted: there is nothing to compare"
        )
    return took * 1000 * RIDES / rides


def turn(contender: str) -> list[float]:
    """Measure *contender*, ``handler`` or ``usual``, several times in this process.

    Returns the milliseconds per thousand rides of each run.
    """
    if contender == "handler":
        run, rides, runs = handler(batch(RIDES)), RIDES, 30
    else:
        # The baseline takes too long for a thousand rides in each round.
        run, rides, runs = usual(batch(100), os.environ["MODEL_LOCATION"]), 100, 1
    milliseconds(run, rides)
    return [milliseconds(run, rides) for _ in range(runs)]


def start(contender: str) -> float:
    """Return the milliseconds until a new Python process is ready for its first batch.

    *contender* is ``handler`` or ``usual``, the per-record baseline.
    """
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", STARTS[contender]], check=True)
    return (time.perf_counter() - started) * 1000


def measure() -> dict[str, dict[str, float]]:
    """Measure the handler and the per-record baseline alternately.

    Returns ``handler`` or ``usual`` -> name of a figure -> median of the figure.
    """
    took: dict[str, list[float]] = {name: [] for name in STARTS}
    starts: dict[str, list[float]] = {name: [] for name in STARTS}
    for name in STARTS:
        start(name)  # fills the disk cache
    for _ in track(range(ROUNDS), "measuring"):
        for name in STARTS:
            starts[name].append(start(name))
            command = [sys.executable, "-m", "benchmarks.handler", "--turn", name]
            took[name] += json.loads(subprocess.check_output(command))
    return {
        name: {
            "thousand_rides_ms": round(median(took[name]), 1),
            "rides_per_second": round(RIDES / median(took[name]) * 1000),
            "start_ms": round(median(starts[name])),
        }
        for name in STARTS
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.handler")
    parser.add_argument("--model", type=Path, default=Path("build/model"))
    parser.add_argument("--turn", choices=list(STARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.turn:
        print(json.dumps(turn(options.turn)))
        return 0
    location = options.model.resolve()
    if not (location / "MLmodel").exists():
        print(f"there is no model in {location}: run make model", file=sys.stderr)
        return 2
    os.environ.update(ENVIRONMENT, MODEL_LOCATION=str(location))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an image has compiled bytecode
    results = measure()
    times = results["usual"]["thousand_rides_ms"] / results["handler"]["thousand_rides_ms"]
    save("handler", {**results, "times_faster": round(times)})
    print("| | 1,000 rides | rides a second | start |\n|---|---|---|---|")
    for name, title in (("handler", "this handler"), ("usual", "per-record baseline")):
        milliseconds, rate, starting = results[name].values()
        print(f"| {title} | {milliseconds:,.1f} ms | {rate:,} | {starting / 1000:.2f} s |")
    print(f"\n{times:,.0f} times faster. The results are in {RESULTS}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
