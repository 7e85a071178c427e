"""Benchmark of Spark against one machine: ``python -m benchmarks.spark --data DIR``.

It scores some months, and then eight copies of each month: first on one machine without Spark, and
then on Spark with two executors on the same machine.  Both use the same cores for the same work, so
the difference is the cost of Spark: its start time, and a cost for each row.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
ENGINES = {"one machine": "local", "Spark": "spark"}
COPIES = (1, 8)


def run(inputs: Path, output: Path, engine: str, model: Path) -> tuple[int, float]:
    """Score the directory *inputs* with *model*, and write the results to *output*.

    *engine* is ``local`` or ``spark``.  Returns the number of rows and the seconds of the command.
    """
    report = output.with_suffix(".json")
    program = [sys.executable, "-m", "model_service.batch", "score", str(inputs)]
    options = ["--output", str(output), "--json", str(report), "--engine", engine]
    environ = {
        **os.environ,
        "MODEL_LOCATION": str(model),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_SUBMIT_ARGS": "--master local-cluster[2,1,1024] pyspark-shell",
    }
    started = time.monotonic()
    subprocess.run([*program, *options], cwd=ROOT, env=environ, check=True, capture_output=True)
    took = time.monotonic() - started
    return int(msgspec.json.decode(report.read_bytes())["rows"]), took


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spark")
    parser.add_argument("--data", type=Path, required=True, help="a directory of months")
    parser.add_argument("--model", type=Path, default=ROOT / "build/model")
    options = parser.parse_args(arguments)
    months = sorted(options.data.resolve().glob("*.parquet"))
    if not months:
        parser.error(f"there are no months in {options.data}")
    seconds: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as directory:
        for copies in COPIES:
            inputs = Path(directory) / f"inputs-{copies}"
            inputs.mkdir()
            for month in months:
                for n in range(copies):
                    # Copies, because a file that is given twice is scored once.
                    shutil.copyfile(month, inputs / f"{n}-{month.name}")
            for name, engine in ENGINES.items():
                output = Path(directory) / f"{engine}-{copies}"
                rows, took = run(inputs, output, engine, options.model.resolve())
                seconds[name, copies] = took
                print(f"{name:12} {rows:10,} rows {took:7.1f} s", flush=True)
    few, many = COPIES
    for name in ENGINES:
        each = (seconds[name, many] - seconds[name, few]) / (rows * (many - few) / many)
        start = seconds[name, few] - each * rows / many
        print(f"{name:12} {start:5.1f} s to start, then {1 / each:10,.0f} rows a second")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
