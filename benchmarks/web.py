"""The web service under load, beside other ways to serve the model: ``python -m benchmarks.web``.

All on 127.0.0.1, with two workers each, and, but for MLflow's own server, under the same gunicorn
with this project's settings and worker.  What each way is, `benchmarks.rivals` says.  They take
turns: wrk finds the most that a way answers, of a thousand rides that differ, since trees take
less time for one that they have just seen.  At half of that hey, which asks for one ride over and
over, sees how long an answer takes.  Shares are of the same round; medians.  Writes
build/bench/results.json, and a table to standard output.  Needs wrk and hey, which are Debian
packages.
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
ROUNDS = 7
SECONDS = 3
CLIENTS = 16
WORKERS = 2
STOP_SECONDS = 30
START_SECONDS = 120  # MLflow's takes a while
RIDES = 1000
GUNICORN = (sys.executable, "-m", "gunicorn", f"--workers={WORKERS}")
GTHREAD = ("--worker-class=gthread", "--threads=4")
MLFLOW = ("mlflow", "models", "serve", "--env-manager=local", f"--workers={WORKERS}")


class Way(NamedTuple):
    """A server, and what it is called in the table."""

    title: str
    command: tuple[str, ...]
    path: str = "/predict"
    two: bool = False
    """Serves the model of costs, too."""


WAYS = {
    "one": Way("this service, one model", (*GUNICORN, "predict:app")),
    "two": Way("this service, two models", (*GUNICORN, "predict:app"), two=True),
    "constant": Way("a constant", (*GUNICORN, "benchmarks.rivals:constant()")),
    "past": Way("a constant, past Flask", (*GUNICORN, "benchmarks.rivals:past()")),
    "gthread": Way(
        "a constant, gunicorn's own worker", (*GUNICORN, *GTHREAD, "benchmarks.rivals:constant()")
    ),
    "bare": Way("ONNX in a bare route", (*GUNICORN, "benchmarks.rivals:bare()")),
    "tutorial": Way("`mlflow.pyfunc` in Flask", (*GUNICORN, "benchmarks.rivals:tutorial()")),
    "mlflow": Way("`mlflow models serve`", MLFLOW, path="/invocations"),
}


class Server(NamedTuple):
    """One that answers, on a port of loopback."""

    way: Way
    port: int
    pid: int
    bodies: Path
    """What it is asked, a line each."""

    @property
    def body(self) -> str:
        """The first of them."""
        with self.bodies.open() as lines:
            return next(lines).strip()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}{self.way.path}"


class Turn(NamedTuple):
    """What was seen of a way in one round."""

    per_second: float
    cpu_us: float
    """Processor time a request, of the server alone."""
    p50_ms: float
    """At half the peak, like p99_ms."""
    p99_ms: float


@contextmanager
def server(way: Way, model: Path, cost_model: Path) -> Iterator[Server]:
    """*way*, once it answers; what it logs goes nowhere."""
    port, _ = free_ports()
    environ = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MODEL_LOCATION": str(model),
        "COST_MODEL_LOCATION": str(cost_model) if way.two else "",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",  # for a single ride, threads cost more than trees
    }
    mlflow = way.command == MLFLOW
    where = (
        (f"--model-uri={model}", f"--host={HOST}", f"--port={port}")
        if mlflow
        else (f"--bind={HOST}:{port}",)
    )
    command = [*way.command[:3], *where, *way.command[3:]]
    quiet = subprocess.DEVNULL
    with (
        TemporaryDirectory() as scratch,
        subprocess.Popen(command, cwd=ROOT, env=environ, stdout=quiet, stderr=quiet) as process,
    ):
        try:
            wait_for(port, START_SECONDS)
            bodies = Path(scratch, "bodies")
            asked = split(model, rides()) if mlflow else map(json.dumps, rides())
            bodies.write_text("".join(f"{body}\n" for body in asked))
            yield Server(way, port, process.pid, bodies)
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def rides() -> list[dict[str, float]]:
    """What is asked: any zones, up to ten miles; the same each time."""
    chance = random.Random(0)
    return [
        {
            "PULocationID": chance.randint(1, 263),
            "DOLocationID": chance.randint(1, 263),
            "trip_distance": round(chance.uniform(0, 10), 2),
        }
        for _ in range(RIDES)
    ]


def split(model: Path, asked: Iterable[dict[str, float]]) -> Iterator[str]:
    """Rides as MLflow's server takes them: the columns that the model's signature names."""
    from .rivals import ZONES, all_features
    from .tutorial.features import places

    signature = yaml.safe_load((model / "MLmodel").read_text())["signature"]
    columns = {column["name"]: column["type"] for column in json.loads(signature["inputs"])}
    table = places(str(ZONES))
    for ride in asked:
        known = all_features(ride, table)
        row = [
            str(known[name]) if type_ == "string" else known[name]
            for name, type_ in columns.items()
        ]
        yield json.dumps({"dataframe_split": {"columns": list(columns), "data": [row]}})


def cpu_seconds(pid: int) -> float:
    """What a process and those below it have used."""
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    children = (process / f"task/{pid}/children").read_text().split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") + sum(cpu_seconds(int(child)) for child in children)


def peak(at: Server, seconds: float) -> tuple[float, float]:
    """The requests a second that it answers, and its processor time for each."""
    options = f"--threads=1 --connections={CLIENTS} --duration={seconds}s --timeout=10s".split()
    command = ["wrk", *options, f"--script={ROOT / 'benchmarks/web.lua'}", at.url]
    before = cpu_seconds(at.pid)
    out = subprocess.check_output(command, env=os.environ | {"BODIES": str(at.bodies)}, text=True)
    used = cpu_seconds(at.pid) - before
    found = json.loads(out.splitlines()[-1])
    if found["errors"] or not found["requests"]:
        raise SystemExit(
            f"{at.way.title}: {found['errors']} of {found['requests']} requests failed"
        )
    return found["requests"] / found["microseconds"] * 1e6, used / found["requests"] * 1e6


def latencies(at: Server, rate: float, seconds: float) -> list[float]:
    """Milliseconds of each answer, where *rate* a second are asked for."""
    clients = max(1, min(CLIENTS // 2, int(rate)))
    command = f"hey -z {seconds}s -c {clients} -q {rate / clients:.3f} -o csv".split()
    sent = ["-m", "POST", "-T", "application/json", "-d", at.body, at.url]
    rows = list(csv.DictReader(subprocess.check_output([*command, *sent], text=True).splitlines()))
    if not rows or any(row["status-code"] != "200" for row in rows):
        raise SystemExit(f"{at.way.title}: requests failed at half of its peak")
    return [float(row["response-time"]) * 1000 for row in rows]


def turn(at: Server, seconds: float) -> Turn:
    per_second, cpu_us = peak(at, seconds)
    took = latencies(at, per_second / 2, seconds)
    hundredths = quantiles(took, n=100, method="inclusive")
    return Turn(per_second, cpu_us, median(took), hundredths[98])


def measure(
    model: Path, cost_model: Path, names: list[str], rounds: int, seconds: float
) -> dict[str, list[Turn]]:
    """All of *names* in turn, so often; their servers are there all the while."""
    found: dict[str, list[Turn]] = {name: [] for name in names}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(server(WAYS[name], model, cost_model)) for name in names
        }
        for at in servers.values():
            peak(at, 1)  # warms up
        for _ in track(range(rounds), "taking turns"):
            for name, at in servers.items():
                found[name].append(turn(at, seconds))
    return found


def figures(found: Mapping[str, list[Turn]]) -> dict[str, dict[str, float]]:
    """Medians by name; and each beside the others of its round, by requests and by processor."""
    return {
        name: {
            "requests_per_second": round(median(turn.per_second for turn in turns), 1),
            "cpu_us": round(median(turn.cpu_us for turn in turns)),
            "p50_ms": round(median(turn.p50_ms for turn in turns), 2),
            "p99_ms": round(median(turn.p99_ms for turn in turns), 2),
            **{
                f"of_{other}{suffix}": round(share, 2)
                for other, others in found.items()
                if other != name
                for suffix, share in zip(("", "_by_cpu"), shares(turns, others), strict=True)
            },
        }
        for name, turns in found.items()
    }


def shares(turns: list[Turn], others: list[Turn]) -> tuple[float, float]:
    """Of the requests that others answer; and, where processors are what is short, the same."""
    rounds = list(zip(turns, others, strict=True))
    return (
        median(one.per_second / other.per_second for one, other in rounds),
        median(other.cpu_us / one.cpu_us for one, other in rounds),
    )


def table(results: Mapping[str, Mapping[str, float]]) -> str:
    """As docs/benchmarks.md has it."""
    lines = [
        "| | requests a second | processor time | p50 | p99 | one model | two models |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in results.items():
        beside = [results.get(ours, {}) for ours in ("one", "two")]
        cells = [
            WAYS[name].title,
            f"{row['requests_per_second']:,.0f}",
            f"{row['cpu_us']:,.0f} µs",
            f"{row['p50_ms']:.1f} ms",
            f"{row['p99_ms']:.1f} ms",
            *(
                f"{ours[f'of_{name}']:,.2f} ({ours[f'of_{name}_by_cpu']:,.2f})"
                if f"of_{name}" in ours
                else ""
                for ours in beside
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def fault(model: Path, cost_model: Path) -> str:
    """Why nothing can be measured; empty where it can."""
    for path in (model, cost_model):
        if not (path / "MLmodel").exists():
            return f"there is no model in {path}: run make model"
    tools = missing()
    return f"{' and '.join(tools)} not found: Debian has them as packages" if tools else ""


def missing() -> list[str]:
    """What has to be installed first."""
    return [tool for tool in ("wrk", "hey") if not shutil.which(tool)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web")
    parser.add_argument("--model", type=Path, default=Path("build/model"))
    parser.add_argument("--cost-model", type=Path, default=Path("build/cost-model"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of each turn's halves")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    options = parser.parse_args()
    model, cost_model = options.model.resolve(), options.cost_model.resolve()
    if said := fault(model, cost_model):
        print(said, file=sys.stderr)
        return 2
    found = measure(model, cost_model, options.ways, options.rounds, options.seconds)
    results = figures(found)
    save("web", results)
    print(table(results))
    print(
        "\nThe last columns: this service's requests as a share, and in brackets the share that"
        f" processor times make, which a busy machine moves less. {RESULTS} has more."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
