"""build/bench/results.json: the figures of every benchmark, each under its own name."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path("build/bench/results.json")


def save(name: str, figures: dict[str, Any], path: Path = RESULTS) -> None:
    """Write *figures* under *name*, and leave what other benchmarks wrote."""
    found = json.loads(path.read_text()) if path.exists() else {}
    machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**found, name: {**machine, **figures}}, indent=2) + "\n")
