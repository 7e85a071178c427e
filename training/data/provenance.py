"""Records the origin of a model: the files it was trained on, the code and the environment."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from .cleaning import RowCounts

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
class Fingerprint:
    """The name, size and SHA-256 of a file."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class MonthUse:
    """How a training run used the file of one month, and the counts of its rows."""

    month: str
    use: str
    """``training``, ``calibration`` or ``test``."""
    file: Fingerprint
    tally: RowCounts
    simulated: bool
    """Whether the rides are simulated, and not the TLC's."""


def fingerprint(path: Path) -> Fingerprint:
    """Return the fingerprint (name, size and SHA-256) of the file at *path*."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Fingerprint(path.name, path.stat().st_size, digest)


def combined_sha256(files: Iterable[Fingerprint]) -> str:
    """Return one SHA-256 for several files: the hash of their digests in the order of their names.

    >>> combined_sha256([]) == hashlib.sha256().hexdigest()
    True
    """
    ordered = sorted(files, key=lambda file: file.name)
    return hashlib.sha256("".join(file.sha256 for file in ordered).encode()).hexdigest()


def revision(directory: Path = ROOT) -> str:
    """Return the id of the Git commit in *directory*; add ``-changed`` if files have been changed.

    If Git is not available, return the environment variable ``REVISION``, or ``unknown`` if this
    variable is not set.
    """
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return os.environ.get("REVISION", "unknown")
    return commit + ("-changed" if _git(directory, "status", "--porcelain") else "")


def environment() -> Mapping[str, str]:
    """Return the versions of Python, the system and the libraries on which results depend."""
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
    except OSError:  # Git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None
