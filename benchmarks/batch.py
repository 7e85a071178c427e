"""Benchmark of batch scoring against a script with pandas: ``python -m benchmarks.batch``.

Three variants score the TLC files in TLC_DATA with the same model, one after another, each in a new
process:

* ours: the command ``python -m model_service.batch score``;
* usual: a script as in tutorials, `read_parquet` → dicts → `mlflow.pyfunc` → `to_parquet`, with the
  model's scikit-learn flavour, one month at a time;
* bare: only three steps, each measured separately: reading the columns, running the ONNX model on
  all cores with features that were computed before, and writing.

Writes build/bench/results.json, and prints tables to standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.progress import track

from .results import RESULTS, save

ROUNDS = 3
REPORT = RESULTS.parent / "batch-report.json"
VARIANTS = ("ours", "usual", "bare")


def usual(files: Sequence[str], output: Path, location: str) -> None:
    """Score *files* in the same way as a script in a tutorial, and write the results to *output*.

    *location* is the location of the model.
    """
    import mlflow.pyfunc
    import pandas as pd

    model = mlflow.pyfunc.load_model(location, suppress_warnings=True)
    names = model.metadata.get_input_schema().input_names()
    for file in files:
        rides = pd.read_parquet(file)
        rides["duration"] = (
            rides.lpep_dropoff_datetime - rides.lpep_pickup_datetime
        ).dt.total_seconds() / 60
        features = pd.DataFrame({name: column(name, rides) for name in names})
        dicts = features.to_dict(orient="records")
        inputs = pd.DataFrame(dicts).astype(features.dtypes.to_dict())
        result = pd.DataFrame(
            {
                "ride_id": [f"{Path(file).stem}_{n}" for n in range(len(rides))],
                "PULocationID": rides.PULocationID,
                "DOLocationID": rides.DOLocationID,
                "trip_distance": rides.trip_distance,
                "lpep_pickup_datetime": rides.lpep_pickup_datetime,
                "predicted_duration": np.asarray(model.predict(inputs)).reshape(len(rides), -1)[
                    :, 0
                ],
                "actual_duration": rides.duration,
                "model_version": location,
            }
        )
        result["error"] = result.predicted_duration - result.actual_duration
        result.to_parquet(output / Path(file).name, index=False)


def column(name: str, rides: Any) -> Any:
    """Return the feature *name* of the rides in a TLC data frame."""
    time = rides.lpep_pickup_datetime.dt
    if name == "PU_DO":
        return rides.PULocationID.astype(str) + "_" + rides.DOLocationID.astype(str)
    if name in ("PULocationID", "DOLocationID"):
        return rides[name].astype(str)
    if name == "minute_of_day":
        return (time.hour * 60 + time.minute).astype("float32")
    if name in ("hour", "weekday"):
        return getattr(time, name).astype("float32")
    if name == "trip_distance":
        return rides.trip_distance.astype("float32")
    return zone_feature(name, rides)


def zone_feature(name: str, rides: Any) -> Any:
    """Return the feature *name*, which depends only on the zones, of the rides in a data frame.

    The feature is computed once for each pair of zones.
    """
    from model_service import features
    from model_service.rides import Ride

    zones = rides[["PULocationID", "DOLocationID"]]
    pairs = zones.drop_duplicates()
    looked_up = features.columns([Ride(int(pu), int(do), 0.0) for pu, do in pairs.to_numpy()])
    table = features.table(looked_up, {name: np.dtype("f4")})
    return zones.merge(pairs.assign(**table), how="left")[name].to_numpy()


def bare(files: Sequence[str], output: Path, location: str) -> dict[str, float]:
    """Return the seconds for reading *files*, for the model on all cores, and for writing.

    Files are written to *output*; *location* is the location of the model.  The result also has the
    processor seconds of each step, under names that end in ``_cpu``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from model_service.batch import scoring
    from model_service.datasets.formats import reader
    from model_service.datasets.schema import columns
    from model_service.models import loader as model
    from model_service.models.served import Models, Served
    from model_service.scoring import Target

    loaded = model.load(location)
    models = Models(Served(loaded, Target()))

    def read() -> None:
        for file in files:
            pq.read_table(file, columns=list(_columns(file)))

    chunks = [c.parse().rides for f in files for c in reader.chunks(Path(f), name=f)]
    predict, feeds = _session(location, [columns(chunk) for chunk in chunks])

    def predict_all() -> None:
        with ThreadPoolExecutor(os.process_cpu_count() or 1) as pool:
            list(pool.map(predict, feeds))

    scored = [scoring.score(models, chunk).rides for chunk in chunks]
    schema = scored[0].schema
    dictionaries = [n for n in schema.names if n.endswith(("LocationID", "_model", "_version"))]

    def write() -> None:
        with pq.ParquetWriter(
            output / "all.parquet", schema, compression="zstd", use_dictionary=dictionaries
        ) as writer:
            for at in range(0, len(scored), 4):
                writer.write_table(pa.Table.from_batches(scored[at : at + 4]))

    return _timed("reading", read) | _timed("model", predict_all) | _timed("writing", write)


def _timed(name: str, act: Callable[[], None]) -> dict[str, float]:
    """Call *act*; return its seconds as *name*, and its processor seconds as *name*_cpu."""
    started, cpu = time.perf_counter(), time.process_time()
    act()
    return {name: time.perf_counter() - started, f"{name}_cpu": time.process_time() - cpu}


def _columns(file: str) -> Sequence[str]:
    import pyarrow.parquet as pq

    from model_service.datasets.formats import columns

    return list(columns.find_columns(pq.read_schema(file), name=file).values())


def _session(location: str, rides: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Return a function that runs the model on one thread, and the model's inputs for *rides*."""
    os.putenv("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    from model_service import features
    from model_service.models import flavours

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(f"{location}/model.onnx", options)
    asked = {i.name: i.type for i in session.get_inputs()}
    inputs = flavours.known(asked, flavours.ONNX_TYPES)
    feeds = [
        {name: column.reshape(-1, 1) for name, column in features.table(one, inputs).items()}
        for one in rides
    ]
    return lambda feed: session.run(None, feed), feeds


def run_once(variant: str, files: Sequence[str], location: str) -> dict[str, float]:
    """Run *variant* on *files* in a new process, and return its figures by name.

    *location* is the location of the model.  The figures are ``seconds``, ``megabytes`` (the peak
    memory), and those that the variant itself reports.
    """
    with TemporaryDirectory() as directory:
        output = Path(directory)
        if variant == "ours":
            command = [sys.executable, "-m", "model_service.batch", "score", *files]
            command += ["--output", str(output / "scored"), "--json", str(output / "report.json")]
        else:
            command = [sys.executable, "-m", "benchmarks.batch", "--model", location]
            command += ["--variant", variant, "--into", str(output), *files]
        found: dict[str, float] = {}
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{variant} failed: {' '.join(command)}")
        found["seconds"] = time.perf_counter() - started
        found["megabytes"] = usage.ru_maxrss / 1024
        if variant == "ours":
            shutil.copy(output / "report.json", REPORT)
            report = json.loads(REPORT.read_text())
            found |= {"rows": report["rows"], **report["seconds"]}
        elif variant == "bare":
            found |= json.loads(printed)
    return found


def measure(files: Sequence[str], location: str) -> dict[str, dict[str, float]]:
    """Run each variant `ROUNDS` times; return variant -> name of a figure -> median of the figure.

    *location* is the location of the model.  The figures are those of `run_once`.
    """
    runs: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for _ in track(range(ROUNDS), "measuring"):
        for variant in VARIANTS:
            runs[variant].append(run_once(variant, files, location))
    return {
        variant: {name: round(median(one[name] for one in found), 3) for name in found[0]}
        for variant, found in runs.items()
    }


def memory(files: Sequence[str], location: str) -> dict[str, float]:
    """Return the peak memory in MB of scoring one file, all *files*, and four copies of all files.

    *location* is the location of the model.  Each of these three runs has its own process.  The
    keys of the result name the number of files, such as ``10 months``.
    """
    with TemporaryDirectory() as directory:
        copies = [
            shutil.copyfile(file, Path(directory) / f"{n}-{Path(file).name}")
            for n in range(4)
            for file in files
        ]
        many = {1: copies[:1], len(files): copies[: len(files)], len(copies): copies}
        return {
            f"{number} months": round(
                run_once("ours", [str(f) for f in some], location)["megabytes"]
            )
            for number, some in many.items()
        }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch")
    parser.add_argument("--model", type=Path, default=Path("build/model"))
    parser.add_argument("--data", type=Path, default=os.environ.get("TLC_DATA"))
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    location = str(options.model.resolve())
    if options.variant == "usual":
        usual(options.files, options.into, location)
        return 0
    if options.variant == "bare":
        print(json.dumps(bare(options.files, options.into, location)))
        return 0
    files = sorted(map(str, Path(options.data or "").glob("green_tripdata_*.parquet")))
    if not options.data or not files or not Path(location, "MLmodel").exists():
        print("run make model, and set TLC_DATA to the TLC's green months", file=sys.stderr)
        return 2
    os.environ.update(MODEL_LOCATION=location, MLFLOW_DISABLE_TELEMETRY="true")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # images are built with bytecode
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    months = memory(files, location)
    show(measure(files, location), months)  # after memory, so that the report is of these files
    return 0


def show(results: dict[str, dict[str, float]], months: dict[str, float]) -> None:
    """Save and print *results*, from `measure`, and *months*, from `memory`."""
    ours, usual, bare = (results[variant] for variant in VARIANTS)
    phases = ("reading", "model", "writing")
    bare_sum = sum(bare[name] for name in phases)
    ratios = {
        "times_faster": usual["seconds"] / ours["seconds"],
        "share_of_memory": ours["megabytes"] / usual["megabytes"],
        "times_the_bare_sum": ours["scoring"] / bare_sum,
        "times_its_processor_time": ours["scoring_cpu"] / sum(bare[f"{n}_cpu"] for n in phases),
    }
    ratios = {name: round(ratio, 2) for name, ratio in ratios.items()}
    save("batch", {**results, **ratios, "memory": months})
    print("| | time | rows per second | peak memory |\n|---|---|---|---|")
    for name, title in (("ours", "this command"), ("usual", "script with pandas")):
        rate = ours["rows"] / results[name]["seconds"]
        figures = f"{results[name]['seconds']:.1f} s | {rate:,.0f}"
        print(f"| {title} | {figures} | {results[name]['megabytes']:,.0f} MB |")
    parts = ", ".join(f"{name} {bare[name]:.2f} s" for name in phases)
    print(f"\nScoring alone {ours['scoring']:.2f} s; the bare sum {bare_sum:.2f} s ({parts}).")
    print(f"{json.dumps(ratios)}; peak memory in MB: {json.dumps(months)}")
    report = json.loads(REPORT.read_text())
    print("\n| month | rides | MAE | RMSE | bias |\n|---|---|---|---|---|")
    for month, one in report["months"].items():
        for errors in one["errors"].values():
            mae, rmse, bias = (errors[name] for name in ("mae", "rmse", "bias"))
            print(f"| {month} | {one['scored']:,} | {mae:.2f} | {rmse:.2f} | {bias:+.2f} |")


if __name__ == "__main__":
    sys.exit(main())
