"""The messages of make when a tool is missing or a function fails."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import check_invoke

ROOT = Path(__file__).parents[2]
ERROR = {"errorMessage": "REJECTS_LOCATION is not set", "errorType": "SettingsError"}

Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The files of a clone that make reads, on a machine without Docker."""
    scripts = (str(path.relative_to(ROOT)) for path in (ROOT / "tools").glob("*.sh"))
    for name in ("Makefile", "pyproject.toml", "events/one-ride.json", *scripts):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "bin").mkdir()
    for name in ("sed", "git", "cat"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    return tmp_path


@pytest.fixture
def make(place: Path) -> Make:
    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(shutil.which("make")), "--no-print-directory", *arguments],
            cwd=place,
            env={"PATH": str(place / "bin")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return make


def program(path: Path, does: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{does}\n")
    path.chmod(0o755)


WITH_DOCKER = ["image", "build", "invoke", "image-test", "bench-image", "sbom"]
PUSH = ["push", "REPOSITORY=1.dkr.ecr.eu-west-1.amazonaws.com/rides", "RELEASE=1669154400"]


@pytest.mark.parametrize("target", [*([name] for name in WITH_DOCKER), PUSH], ids=lambda t: t[0])
def test_a_missing_docker_is_reported_in_one_line(
    make: Make, place: Path, target: list[str]
) -> None:
    missing = make(*target)

    assert missing.returncode == 2
    said, of_make = missing.stderr.splitlines()
    assert said.startswith("This needs Docker, which is not installed: see https://docs.docker.com")
    assert of_make.startswith("make: ***")

    program(place / "bin/docker", "exit 1")
    stopped = make(*target)

    assert stopped.returncode == 2
    assert stopped.stderr.startswith("This needs Docker, whose engine does not answer: start it")


def test_a_python_that_runs_is_found_and_a_missing_one_is_reported(place: Path) -> None:
    def find_python() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", "tools/find_python.sh"],
            cwd=place,
            env={"PATH": str(place / "bin"), "HOME": str(place)},
            capture_output=True,
            text=True,
            check=False,
        )

    program(place / "bin/python3.13", "exit 127")  # a pyenv shim without its Python
    missing = find_python()
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.startswith("No Python 3.13 found. Install it (apt install")

    program(place / ".pyenv/versions/3.13.5/bin/python3.13", "exit 0")
    found = find_python()
    assert found.stdout == f"{place}/.pyenv/versions/3.13.5/bin/python3.13\n"


def test_push_reports_a_missing_aws_command_or_image(make: Make, place: Path) -> None:
    program(place / "bin/docker", '[ "$1" = info ]')
    assert "This needs the AWS command line (version 2)" in make(*PUSH).stderr

    program(place / "bin/aws", "exit 1")
    assert "no image for the target lambda to push: run make build first" in make(*PUSH).stderr


@pytest.mark.parametrize(
    ("printed", "code", "said"),
    [
        (json.dumps({"batchItemFailures": [], "predictions": []}), 0, ""),
        (json.dumps(ERROR), 2, "The function failed with SettingsError; see its response above"),
        ("", 2, "The function did not respond; see its log above"),
    ],
    ids=["a response", "an error", "nothing"],
)
def test_invoke_fails_if_the_function_failed(
    make: Make, place: Path, printed: str, code: int, said: str
) -> None:
    """`sam local invoke` exits 0 in each of the cases."""
    for name in ("__init__.py", "check_invoke.py"):
        (place / "tools" / name).symlink_to(ROOT / "tools" / name)
    program(place / ".venv/bin/python", f'exec {sys.executable} "$@"')
    program(place / "bin/docker", "")
    program(place / "tools/sam/.venv/bin/sam", f"[ $1 = build ] || echo '{printed}'")
    version = (ROOT / "Makefile").read_text().partition("PIPENV_VERSION := ")[2].splitlines()[0]
    made = ("Pipfile.lock", "tools/sam/Pipfile.lock", "build/model/MLmodel", ".venv/run-installed",
            f".pipenv/installed-{version}", "tools/sam/.venv/installed")  # fmt: skip
    for name in made:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()

    done = make("invoke")

    assert done.returncode == code
    assert done.stdout.rstrip().endswith(printed)
    assert said in done.stderr


def test_an_image_is_labelled_with_its_commit_and_dirty_state(make: Make, place: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "Makefile"], ["commit", "-qm", "All"]):
        subprocess.run([*git, *arguments], cwd=place, check=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=place, text=True).strip()
    program(place / "bin/docker", 'echo "$@"')

    assert f"REVISION={commit} " in make("image").stdout
    with (place / "Makefile").open("a") as changed:
        changed.write("# more\n")
    assert f"REVISION={commit}-dirty " in make("image").stdout


def test_a_response_is_printed_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    code = check_invoke.main(["of the function's own\n", '{"batchItemFailures": []}'])

    assert (code, *capsys.readouterr()) == (
        0,
        'of the function\'s own\n{"batchItemFailures": []}\n',
        "",
    )


@pytest.mark.parametrize("line", ["[]", "null", '"text"', "{}", '{"errorMessage": "it timed out"}'])
def test_a_response_of_another_service_is_a_failure(line: str) -> None:
    assert check_invoke.fault(line) == "The function failed; see its response above."
