"""Writes the results of all benchmarks to build/bench/results.json, each under its name."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path("build/bench/results.json")


def save(name: str, figures: dict[str, Any], path: Path = RESULTS) -> None:
    """Write *figures* to the file *path* as the results of the benchmark *name*.

    The results of other benchmarks in the file stay.
    """
    found = json.loads(path.read_text()) if path.exists() else {}
    machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**found, name: {**machine, **figures}}, indent=2) + "\n")
