"""Compares the web service with other servers under load: ``python -m benchmarks.web``.

Each server runs on 127.0.0.1 with two workers.  All servers except MLflow's run under gunicorn with
this project's settings; `benchmarks.rivals` describes them.  In each round, the servers are
measured one after another.  First, wrk measures the maximum throughput of a server with a thousand
different rides (because trees are faster for a ride that they have just scored).  Then hey measures
the latency at half of this throughput, with a single ride.  Ratios compare servers within a round;
all figures are medians over the rounds.

Writes build/bench/results.json, and prints a table to standard output.  Needs the Debian packages
wrk and hey.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import NamedTuple

import yaml
from rich.progress import track

from local.aws.lambda_container import HOST, free_ports, wait_for

from .results import RESULTS, save

ROOT = Path(__file__).parents[1]
ROUNDS = 5
SECONDS = 3
CLIENTS = 16
WORKERS = 2
STOP_SECONDS = 30
START_SECONDS = 120  # MLflow's server starts slowly
RIDES = 1000
GUNICORN = (sys.executable, "-m", "gunicorn", f"--workers={WORKERS}")
MLFLOW = ("mlflow", "models", "serve", "--env-manager=local", f"--workers={WORKERS}")


GOALS = {"tutorial": 8.0, "mlflow": 15.0}
"""Server -> how many times its request rate this service should reach with two models."""

P99_MS = 15.0
"""The goal for the latency of 99 of 100 requests at half of the highest rate."""


class Contender(NamedTuple):
    """A server to measure, with its title in the table."""

    title: str
    command: tuple[str, ...]
    path: str = "/predict"
    two: bool = False
    """Whether the server serves the cost model, too."""


CONTENDERS = {
    "one": Contender("this service, one model", (*GUNICORN, "predict:app")),
    "two": Contender("this service, two models", (*GUNICORN, "predict:app"), two=True),
    "constant": Contender("fixed response", (*GUNICORN, "benchmarks.rivals:constant()")),
    "bare": Contender("ONNX in a bare route", (*GUNICORN, "benchmarks.rivals:bare()")),
    "tutorial": Contender("`mlflow.pyfunc` in Flask", (*GUNICORN, "benchmarks.rivals:tutorial()")),
    "mlflow": Contender("`mlflow models serve`", MLFLOW, path="/invocations"),
}


class Server(NamedTuple):
    """A running server, and the requests to send to it."""

    contender: Contender
    port: int
    process: subprocess.Popen[bytes]
    bodies: Path
    """The path of a file with one request body per line."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def body(self) -> str:
        """Return the first body in the file with the bodies of requests."""
        with self.bodies.open() as lines:
            return next(lines).strip()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}{self.contender.path}"


class Turn(NamedTuple):
    """The measurements of one server in one round."""

    per_second: float
    cpu_us: float
    """The processor time of the server per request."""
    p50_ms: float
    """The latency at half of the maximum throughput, like ``p99_ms``."""
    p99_ms: float


@contextmanager
def run_server(contender: Contender, model: Path, cost_model: Path) -> Iterator[Server]:
    """Start *contender*, wait until it answers, and yield the server; discard its log."""
    port, _ = free_ports()
    environ = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MODEL_LOCATION": str(model),
        "COST_MODEL_LOCATION": str(cost_model) if contender.two else "",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",  # threads slow down the prediction of a single ride
    }
    mlflow = contender.command == MLFLOW
    address = (
        (f"--model-uri={model}", f"--host={HOST}", f"--port={port}")
        if mlflow
        else (f"--bind={HOST}:{port}",)
    )
    command = [*contender.command[:3], *address, *contender.command[3:]]
    quiet = subprocess.DEVNULL
    with (
        TemporaryDirectory() as scratch,
        subprocess.Popen(command, cwd=ROOT, env=environ, stdout=quiet, stderr=quiet) as process,
    ):
        try:
            wait_for(port, START_SECONDS)
            bodies = Path(scratch, "bodies")
            requests = split(model, rides()) if mlflow else map(json.dumps, rides())
            bodies.write_text("".join(f"{body}\n" for body in requests))
            server = Server(contender, port, process, bodies)
            wait_for_answer(server)
            yield server
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def wait_for_answer(server: Server) -> None:
    """Send one request, which waits until the workers have started."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.url, server.body.encode(), headers)
    with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
        answer.read()


def rides() -> list[dict[str, float]]:
    """Return random rides of up to ten miles, the same in each run."""
    generator = random.Random(0)
    return [
        {
            "PULocationID": generator.randint(1, 263),
            "DOLocationID": generator.randint(1, 263),
            "trip_distance": round(generator.uniform(0, 10), 2),
        }
        for _ in range(RIDES)
    ]


def split(model: Path, rides: Iterable[dict[str, float]]) -> Iterator[str]:
    """Yield the body of a request to MLflow's server for each of *rides*.

    The body has the columns in the signature of *model*, in the format ``dataframe_split``.
    """
    from .rivals import ZONES, all_features
    from .tutorial.features import places

    signature = yaml.safe_load((model / "MLmodel").read_text())["signature"]
    columns = {column["name"]: column["type"] for column in json.loads(signature["inputs"])}
    table = places(str(ZONES))
    for ride in rides:
        values = all_features(ride, table)
        row = [
            str(values[name]) if type_ == "string" else values[name]
            for name, type_ in columns.items()
        ]
        yield json.dumps({"dataframe_split": {"columns": list(columns), "data": [row]}})


def cpu_seconds(pid: int) -> float:
    """Return the processor time in seconds of the process *pid* and all its descendants."""
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    children = (process / f"task/{pid}/children").read_text().split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") + sum(cpu_seconds(int(child)) for child in children)


def send_all(server: Server, seconds: float) -> dict[str, float]:
    """Send requests as fast as possible for *seconds* seconds.

    Returns the figures that ``web.lua`` prints, by name.
    """
    options = f"--threads=1 --connections={CLIENTS} --duration={seconds}s --timeout=10s".split()
    command = ["wrk", *options, f"--script={ROOT / 'benchmarks/web.lua'}", server.url]
    out = subprocess.check_output(
        command, env=os.environ | {"BODIES": str(server.bodies)}, text=True
    )
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


def warm_up(server: Server) -> None:
    """Send requests until all workers of the server answer them."""
    end = time.monotonic() + START_SECONDS
    found = send_all(server, 1)
    while (found["errors"] or not found["requests"]) and time.monotonic() < end:
        found = send_all(server, 1)


def peak(server: Server, seconds: float) -> tuple[float, float]:
    """Return the maximum requests per second, and the processor time in µs for each request.

    *seconds* is the length of the measurement.
    """
    before = cpu_seconds(server.pid)
    found = send_all(server, seconds)
    used = cpu_seconds(server.pid) - before
    if found["errors"] or not found["requests"]:
        raise SystemExit(
            f"{server.contender.title}: {found['errors']} of {found['requests']} requests failed"
        )
    return found["requests"] / found["microseconds"] * 1e6, used / found["requests"] * 1e6


def latencies(server: Server, rate: float, seconds: float) -> list[float]:
    """Return the response time in ms of each request, at *rate* requests per second.

    *seconds* is the length of the measurement.
    """
    clients = max(1, min(CLIENTS // 2, int(rate)))
    command = f"hey -z {seconds}s -c {clients} -q {rate / clients:.3f} -o csv".split()
    sent = ["-m", "POST", "-T", "application/json", "-d", server.body, server.url]
    rows = list(csv.DictReader(subprocess.check_output([*command, *sent], text=True).splitlines()))
    if not rows or any(row["status-code"] != "200" for row in rows):
        raise SystemExit(f"{server.contender.title}: requests failed at half of its maximum rate")
    return [float(row["response-time"]) * 1000 for row in rows]


def turn(server: Server, seconds: float) -> Turn:
    per_second, cpu_us = peak(server, seconds)
    times = latencies(server, per_second / 2, seconds)
    percentiles = quantiles(times, n=100, method="inclusive")
    return Turn(per_second, cpu_us, median(times), percentiles[98])


def measure(
    model: Path, cost_model: Path, names: list[str], rounds: int, seconds: float
) -> dict[str, list[Turn]]:
    """Measure the servers in *names* one after another, and repeat this *rounds* times.

    *model* and *cost_model* are directories of models.  Each of the two measurements of a server in
    a round takes *seconds* seconds.  All servers run until the end.  Returns the measurements of
    each server by its name.
    """
    found: dict[str, list[Turn]] = {name: [] for name in names}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(run_server(CONTENDERS[name], model, cost_model))
            for name in names
        }
        for server in servers.values():
            warm_up(server)
        for _ in track(range(rounds), "measuring"):
            for name, server in servers.items():
                found[name].append(turn(server, seconds))
    return found


def figures(found: Mapping[str, list[Turn]]) -> dict[str, dict[str, float]]:
    """Return the figures of each server by its name, from the measurements *found*.

    The figures are medians over the rounds, and ratios to the other servers.
    """
    return {
        name: {
            "requests_per_second": round(median(turn.per_second for turn in turns), 1),
            "cpu_us": round(median(turn.cpu_us for turn in turns)),
            "p50_ms": round(median(turn.p50_ms for turn in turns), 2),
            "p99_ms": round(median(turn.p99_ms for turn in turns), 2),
            **{
                f"of_{other}{suffix}": round(ratio, 2)
                for other, others in found.items()
                if other != name
                for suffix, ratio in zip(("", "_by_cpu"), ratios(turns, others), strict=True)
            },
        }
        for name, turns in found.items()
    }


def ratios(turns: list[Turn], others: list[Turn]) -> tuple[float, float]:
    """Return the median ratios of a server's measurements *turns* to those of another, *others*.

    The first is the ratio of throughput, and the second of requests per processor second.
    """
    rounds = list(zip(turns, others, strict=True))
    return (
        median(one.per_second / other.per_second for one, other in rounds),
        median(other.cpu_us / one.cpu_us for one, other in rounds),
    )


def table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Return *results* as the table in docs/benchmarks.md."""
    lines = [
        "| | requests a second | processor time | p50 | p99 | one model | two models |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in results.items():
        service = [results.get(key, {}) for key in ("one", "two")]
        cells = [
            CONTENDERS[name].title,
            f"{row['requests_per_second']:,.0f}",
            f"{row['cpu_us']:,.0f} µs",
            f"{row['p50_ms']:.1f} ms",
            f"{row['p99_ms']:.1f} ms",
            *(
                f"{ours[f'of_{name}']:,.2f} ({ours[f'of_{name}_by_cpu']:,.2f})"
                if f"of_{name}" in ours
                else ""
                for ours in service
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def goals(results: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a sentence for each goal whose figure is in *results*: whether it is met."""
    ours = results.get("two", {})
    found = [
        (f"times the request rate of {CONTENDERS[name].title}", ours[f"of_{name}"], ">=", goal)
        for name, goal in GOALS.items()
        if f"of_{name}" in ours
    ]
    if ours:
        found.append(("ms at most for 99 of 100 requests", ours["p99_ms"], "<=", P99_MS))
    return [
        f"Two models: {figure:.1f} {what}; the goal is {sign} {goal:.0f}:"
        f" {'met' if (figure >= goal if sign == '>=' else figure <= goal) else 'NOT MET'}"
        for what, figure, sign, goal in found
    ]


def setup_error(model: Path, cost_model: Path) -> str:
    """Return why the benchmark cannot run; empty if it can."""
    for path in (model, cost_model):
        if not (path / "MLmodel").exists():
            return f"no model in {path}: run make model"
    tools = missing_tools()
    return f"install the Debian packages: {' '.join(tools)}" if tools else ""


def missing_tools() -> list[str]:
    """Return the load generators that are not installed."""
    return [tool for tool in ("wrk", "hey") if not shutil.which(tool)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web")
    parser.add_argument("--model", type=Path, default=Path("build/model"))
    parser.add_argument("--cost-model", type=Path, default=Path("build/cost-model"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--seconds", type=int, default=SECONDS, help="of each measurement; a turn has two"
    )
    parser.add_argument(
        "--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS)
    )
    options = parser.parse_args()
    model, cost_model = options.model.resolve(), options.cost_model.resolve()
    if error := setup_error(model, cost_model):
        print(error, file=sys.stderr)
        return 2
    found = measure(model, cost_model, options.contenders, options.rounds, options.seconds)
    results = figures(found)
    save("web", results)
    print(table(results))
    print(
        "\nThe last columns are this service's throughput divided by the other server's, and in"
        " brackets the same ratio per processor second, which other load affects less."
        f" {RESULTS} has all figures."
    )
    print("\n".join(goals(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
