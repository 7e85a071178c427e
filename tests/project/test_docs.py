"""The documentation is tested: its commands run, its tables are complete, its links lead on."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_service import rides
from model_service.settings import Settings
from tools import schemas

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
MAKEFILE = (ROOT / "Makefile").read_text()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_what_the_readme_says_of_a_ride_is_so() -> None:
    [script] = [block for block in blocks(ROOT / "README.md", "sh") if "rides check" in block]

    done = subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout == "1 good, 0 rejected\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"\bmake ([a-z-]+)\b", " ".join(commands(page))))

    assert named <= set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))


def commands(page: Path) -> list[str]:
    return [*blocks(page, "sh"), *re.findall(r"`([^`\n]+)`", page.read_text())]


def test_ci_runs_what_the_readme_tells_users_to_run() -> None:
    lines = re.findall(r"^make ([^#\n]*)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)

    assert {"check", "test-all", "demo", "image-test"} <= set(" ".join(lines).split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_every_setting_is_documented_with_its_default(field: Field[Any]) -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    [shown] = re.findall(rf"^\| `{field.name.upper()}` \| (.*?) \|", page, re.MULTILINE)

    assert shown.strip("`") == default_text(field.default)


def default_text(default: object) -> str:
    if default == "":
        return "\N{EN DASH}"
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_every_page_is_found_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()

    for page in PAGES[1:]:
        assert str(page.relative_to(ROOT)) in readme


def test_rides_are_replayed_by_what_the_stream_invokes() -> None:
    """Without the alias it would be what was deployed last, rolled back or not."""
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    named = re.findall(r"operate\.replay [^`]*--function (\S+?)`", runbook)

    assert named
    assert {name.partition(":")[2] for name in named} == {"live"}
    assert "AutoPublishAlias: live" in (ROOT / "template.yaml").read_text()


def test_who_may_replay_reaches_all_that_can_be_replayed() -> None:
    [policy] = blocks(ROOT / "docs" / "replay.md", "json")
    allowed = [(each["Action"], str(each["Resource"])) for each in json.loads(policy)["Statement"]]
    template = (ROOT / "template.yaml").read_text()
    kept = re.findall(r"Value: !Sub s3://\$\{RejectsBucket\}/(\S+)", template)

    assert len(kept) == 2
    for prefix in kept:
        for action, key in (("s3:GetObject", "*"), ("s3:PutObject", "*.replayed")):
            [resources] = [found for name, found in allowed if name == action]
            assert f"arn:aws:s3:::BUCKET/{prefix}/{key}" in resources


def test_the_examples_of_events_are_events() -> None:
    ride, prediction = blocks(ROOT / "docs" / "events" / "README.md", "json")

    assert rides.decode(ride.encode()).ride_id == 256
    msgspec.json.decode(prediction, type=schemas.DurationPredictionEvent)


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    [newest, *_] = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert newest == project
