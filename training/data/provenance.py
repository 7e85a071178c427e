"""Where a model comes from: the files it was trained on, the code, the environment."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = (
    "mlflow",
    "numpy",
    "onnx",
    "onnxruntime",
    "polars",
    "scikit-learn",
    "skl2onnx",
    "skops",
)


@dataclass(frozen=True, slots=True)
class File:
    """A file of rides."""

    name: str
    bytes: int
    sha256: str


def fingerprint(path: Path) -> File:
    """What is in a file, whatever it is called."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return File(path.name, path.stat().st_size, digest)


def together(files: Iterable[File]) -> str:
    """One SHA-256 for several files: that of their own, in the order of their names.

    >>> together([]) == hashlib.sha256().hexdigest()
    True
    """
    ordered = sorted(files, key=lambda file: file.name)
    return hashlib.sha256("".join(file.sha256 for file in ordered).encode()).hexdigest()


def revision(directory: Path = ROOT) -> str:
    """The commit that *directory* is at, and whether it was changed; ``unknown`` without git."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return os.environ.get("REVISION", "unknown")
    return commit + ("-changed" if _git(directory, "status", "--porcelain") else "")


def environment() -> Mapping[str, str]:
    """What the figures of a run may depend on beside data and code."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": str(os.process_cpu_count()),
        **{name: version(name) for name in LIBRARIES},
    }


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=directory, capture_output=True, text=True, check=False
        )
    except OSError:  # no git
        return None
    return done.stdout.strip() if done.returncode == 0 else None
