"""Compares the images with one built as in tutorials: ``python -m benchmarks.image``.

* Size: the bytes that an image adds to its base image.
* Start: the duration of the first invocation, during which Lambda's emulator starts the function,
  minus the duration of the second.  All invocations have the same ride, and all images serve the
  same champion.  The start is measured with all processors, and with 0.3 of a processor, which is
  about what a function with 512 MB gets in Lambda.

The benchmark builds the tutorial's image, with MLflow and all its dependencies in the versions of
this project's lock file.  Its function loads the model with `mlflow.pyfunc` on import.  Each round
measures all images, one after another, each in a new container.  Writes build/bench/results.json,
and prints tables to standard output.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import yaml
from rich.progress import track

from local.aws.lambda_container import container, docker, invoke

from .results import RESULTS, save

ROOT = Path(__file__).parents[1]
BASE = "public.ecr.aws/lambda/python:3.13"
TUTORIAL = "ride-predictions:tutorial"
CATEGORIES = ("default", "pyfunc", "training")  # the lock file calls [packages] "default"
ROUNDS = 5
CPUS = {"all": (), "0.3": ("--cpus", "0.3")}


class Contender(NamedTuple):
    """An image to measure, its title in the table, and the model that it serves.

    *model* is ``champion``, or ``skops`` for the champion without its ONNX model.
    """

    title: str
    image: str
    model: str


CONTENDERS = {
    "onnx": Contender("`onnx`, ONNX", "ride-predictions:onnx", "champion"),
    "lambda": Contender("`lambda`, ONNX", "ride-predictions:lambda", "champion"),
    "lambda_skops": Contender("`lambda`, scikit-learn", "ride-predictions:lambda", "skops"),
    "tutorial": Contender("the tutorial's, scikit-learn", TUTORIAL, "champion"),
}


def constraints(lock: dict[str, Any]) -> str:
    """Return the versions in *lock* as a constraints file of pip.

    >>> constraints({"default": {"boto3": {"version": "==1.44.5"}}})
    'boto3==1.44.5\\n'
    """
    found = {
        name: entry["version"]
        for category in CATEGORIES
        for name, entry in lock.get(category, {}).items()
    }
    return "".join(f"{name}{version}\n" for name, version in sorted(found.items()))


def build_tutorial() -> None:
    """Build the tutorial's image.  Raises `CalledProcessError` if the build fails."""
    with tempfile.TemporaryDirectory() as context:
        shutil.copytree(ROOT / "benchmarks/tutorial", context, dirs_exist_ok=True)
        shutil.copy(ROOT / "model_service/zones.csv", context)
        lock = json.loads((ROOT / "Pipfile.lock").read_text())
        Path(context, "constraints.txt").write_text(constraints(lock))
        command = ["docker", "build", "--network", "host", "-t", TUTORIAL, context]
        subprocess.run(command, check=True, stdout=sys.stderr)


def without_onnx(champion: Path, to: Path) -> Path:
    """Copy *champion* to *to*, without the ONNX model, which the service prefers; return *to*."""
    shutil.copytree(champion, to)
    mlmodel = yaml.safe_load((to / "MLmodel").read_text())
    del mlmodel["flavors"]["onnx"]
    (to / "MLmodel").write_text(yaml.safe_dump(mlmodel))
    (to / "model.onnx").unlink()
    return to


def added_megabytes(image: str) -> float:
    """Return the megabytes that *image* adds to its base image."""
    sizes = [
        int(docker("image", "inspect", "--format", "{{.Size}}", name)) for name in (image, BASE)
    ]
    return (sizes[0] - sizes[1]) / 1e6


def start_ms(contender: Contender, model: Path, limits: tuple[str, ...]) -> float:
    """Return the milliseconds that the function takes to start in a new container.

    *model* is the directory of the model, and *limits* are options of ``docker run``.
    """
    settings = {"MODEL_LOCATION": "/opt/model", "TEST_RUN": "True"}
    options = ("--volume", f"{model}:/opt/model:ro", *limits)
    event = json.loads((ROOT / "events/one-ride.json").read_text())
    with container(contender.image, settings, options=options) as port:
        first, second = _timed(port, event), _timed(port, event)
    return first - second


def _timed(port: int, event: Any) -> float:
    began = time.perf_counter()
    answer = invoke(port, event)
    took = time.perf_counter() - began
    if len(answer.get("predictions", [])) != 1:
        raise SystemExit(f"there is no prediction: {answer.get('errorMessage', answer)}")
    return took * 1000


def measure(champion: Path) -> dict[str, dict[str, float]]:
    """Return for each image, by name, the added megabytes and the median start times in ms."""
    starts: dict[tuple[str, str], list[float]] = {
        (name, cpus): [] for name in CONTENDERS for cpus in CPUS
    }
    with tempfile.TemporaryDirectory() as directory:
        models = {"champion": Path(directory, "champion"), "skops": Path(directory, "skops")}
        shutil.copytree(champion, models["champion"])
        without_onnx(champion, models["skops"])
        subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
        for round_ in track(range(ROUNDS + 1), "measuring"):
            for (name, cpus), found in starts.items():
                took = start_ms(CONTENDERS[name], models[CONTENDERS[name].model], CPUS[cpus])
                if round_:  # the first round fills the disk cache
                    found.append(took)
    return {
        name: {
            "added_mb": round(added_megabytes(CONTENDERS[name].image), 1),
            **{f"start_ms_{cpus}": round(median(starts[name, cpus])) for cpus in CPUS},
        }
        for name in CONTENDERS
    }


def table(figures: dict[str, dict[str, float]]) -> str:
    """Return *figures*, from `measure`, as a Markdown table with ratios to the tutorial's image."""
    lines = ["| image, flavour | added | start | start on 0.3 processors |", "|---|---|---|---|"]
    tutorial = figures["tutorial"].values()
    for name, found in figures.items():
        shares = [f"{a / b:.2f}" for a, b in zip(found.values(), tutorial, strict=True)]
        added, full, limited = found.values()
        cells = [f"{added:.0f} MB", f"{full / 1000:.2f} s", f"{limited / 1000:.2f} s"]
        both = [f"{cell} ({share})" for cell, share in zip(cells, shares, strict=True)]
        lines.append(
            f"| {CONTENDERS[name].title} | {' | '.join(cells if name == 'tutorial' else both)} |"
        )
    return "\n".join(lines)


def fault(champion: Path) -> str:
    """Return why the benchmark cannot run; empty if it can."""
    if not (champion / "MLmodel").exists():
        return f"there is no model in {champion}: run make model"
    if not shutil.which("docker"):
        return "Docker is not installed"
    for image in (BASE, "ride-predictions:onnx", "ride-predictions:lambda"):
        found = subprocess.run(
            ["docker", "image", "inspect", image], capture_output=True, check=False
        )
        if found.returncode:
            return f"there is no image {image}, or no Docker engine: run make image"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.image")
    parser.add_argument("--model", type=Path, default=Path("build/model"))
    champion = parser.parse_args().model.resolve()
    if because := fault(champion):
        print(because, file=sys.stderr)
        return 2
    build_tutorial()
    figures = measure(champion)
    save("images", dict(figures))
    print(table(figures))
    print(f"\nThe results are in {RESULTS}; the ratios to the tutorial's image are in brackets.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
