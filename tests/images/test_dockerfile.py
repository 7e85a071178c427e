"""Each image copies exactly those folders of model_service that its entry points import."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ..project.test_architecture import CORE, IMPORTS, folder_of_name, imported

ROOT = Path(__file__).parents[2]
STREAM = {"lambda_function.py", "archive_function.py", "decision_function.py"}
ENTRY_POINTS = {
    "onnx": STREAM,
    "lambda": STREAM,
    "batch": {"batch_function.py"},
    "web": {"predict.py", "serve.py", "gunicorn.conf.py"},
}


@dataclass
class Stage:
    """A stage of the Dockerfile."""

    base: str
    sources: list[str] = field(default_factory=list)
    """The files and folders that it copies from the build context."""
    code_from: str = ""
    """The stage whose /code it copies."""


def stages() -> dict[str, Stage]:
    """The stages of the Dockerfile, by name."""
    found: dict[str, Stage] = {}
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if start := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            found[start[2]] = stage = Stage(start[1])
        elif copy := re.fullmatch(r"COPY --from=(\S+) /code/ \S+", line):
            stage.code_from = copy[1]
        elif copy := re.fullmatch(r"COPY (?!--from)(.+) \S+", line):
            stage.sources += copy[1].split()
    return found


def copied(image: str) -> set[str]:
    """The files and folders of the project in *image*."""
    by_name = stages()
    found: set[str] = set()
    name = by_name[image].code_from
    while name in by_name:
        found |= {source for source in by_name[name].sources if not source.startswith("images/")}
        name = by_name[name].base
    return found


def needed(entry_points: set[str]) -> set[str]:
    """The folders of model_service that *entry_points* import, directly or indirectly."""
    names = {name for file in entry_points for name in imported(ROOT / file)}
    found = {folder for folder in map(folder_of_name, names) if folder}
    while more := {folder for name in found for folder in IMPORTS[name]} - found:
        found |= more
    return found


@pytest.mark.parametrize("image", ENTRY_POINTS)
def test_an_image_copies_the_folders_that_its_entry_points_import(image: str) -> None:
    folders = needed(ENTRY_POINTS[image]) - {CORE}

    assert copied(image) == {
        *ENTRY_POINTS[image],
        "model_service/*.py",
        "model_service/zones.csv",
        *(f"model_service/{folder}" for folder in folders),
    }


def test_the_lambda_image_takes_further_packages_as_a_build_argument() -> None:
    """Models of xgboost or lightgbm need a package that the lock does not have."""
    text = (ROOT / "Dockerfile").read_text()

    stage = text.partition("FROM tools AS lambda-packages\n")[2].partition("\nFROM ")[0]

    assert stage.splitlines()[:2] == [
        "ARG PACKAGES",
        'RUN PACKAGES="${PACKAGES}" sh /images/packages /var/task packages pyfunc',
    ]


@pytest.mark.parametrize(
    ("packages", "installed"), [("", []), ("one==1 two==2", ["one==1", "two==2"])]
)
def test_further_packages_are_installed_beside_those_of_the_lock(
    tmp_path: Path, packages: str, installed: list[str]
) -> None:
    """The script runs until it moves the packages; pipenv and Python are stand-ins."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" >>calls\n')
    (tmp_path / "pipenv").write_text("#!/bin/sh\n")
    for file in (python, tmp_path / "pipenv"):
        file.chmod(0o755)

    subprocess.run(
        ["sh", ROOT / "images/packages", "/var/task", "packages"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PACKAGES": packages},
        check=False,
        capture_output=True,
    )

    calls = tmp_path / "calls"
    found = calls.read_text().splitlines()[-1].split() if calls.exists() else []
    assert found[-len(installed) :] == installed if installed else found == []
