"""Checks of the documentation: its commands, settings, links, paths, events and line lengths."""

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
from model_service.decisions.decision import Decision
from model_service.settings import DecisionSettings, Settings
from tests.project.test_architecture import CORE, IMPORTS
from tools import schemas

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
MAKEFILE = (ROOT / "Makefile").read_text()

MAX_COLUMNS = 100
FOLDERS = (
    *(".ci", ".github", "benchmarks", "docs", "events", "examples", "images", "local"),
    *("model_service", "operate", "tests", "tools", "training"),
)
NAMED_PATH = re.compile(rf"(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*|[\w-]+\.py")
"""A path from the project's root, or the name of a Python file, as pages name one in backticks."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=name)


def blocks(page: Path, language: str) -> list[str]:
    """The contents of a page's fenced code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def code_spans(page: Path) -> list[str]:
    """The contents of a page's backticks, outside of fenced code blocks."""
    return re.findall(r"`([^`\n]+)`", without_blocks(page))


def without_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_check_command_of_the_readme_accepts_its_ride() -> None:
    [script] = [block for block in blocks(ROOT / "README.md", "sh") if "rides check" in block]

    done = subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.endswith("1 good, 0 rejected\n")


@each_page
def test_every_make_target_named_on_a_page_exists(page: Path) -> None:
    commands = [*blocks(page, "sh"), *code_spans(page)]
    named = set(re.findall(r"\bmake ([a-z-]+)\b", " ".join(commands)))

    assert named <= set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))


def test_ci_runs_the_commands_of_the_readme() -> None:
    lines = re.findall(r"^make ([^#\n]*)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)

    assert {"check", "test-all", "demo", "image-test"} <= set(" ".join(lines).split())


@each_page
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\((?!https?:)(\S+?)\)", without_blocks(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


@each_page
def test_every_path_named_in_backticks_exists(page: Path) -> None:
    python_files = {path.name for path in ROOT.glob("*.py")}
    python_files |= {
        path.name
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if ".venv" not in path.parts
    }
    named = {span for span in code_spans(page) if NAMED_PATH.fullmatch(span)}

    wrong = {path for path in named - python_files if not (ROOT / path).exists()}
    assert {path for path in wrong if "/.venv/" not in path} == set()


@each_page
def test_prose_is_wrapped_at_100_columns(page: Path) -> None:
    """Tables, code blocks, and lines that hold nothing but one link or code span are exempt."""
    unbreakable = re.compile(r"[-*\s]*(\S+|!?\[[^]]*\]\(\S+\)\S?|`[^`]*`\S?)")
    long = [
        line
        for line in without_blocks(page).splitlines()
        if len(line) > MAX_COLUMNS and not line.startswith("|") and not unbreakable.fullmatch(line)
    ]

    assert long == []


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_every_setting_is_documented_with_its_default(field: Field[Any]) -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    [shown] = re.findall(rf"^\| `{field.name.upper()}` \| (.*?) \|", page, re.MULTILINE)

    assert shown.strip("`") == default_text(field.default)


@pytest.mark.parametrize(
    "field",
    [one for one in fields(DecisionSettings) if one.name.startswith(("decision", "expected"))],
    ids=lambda field: field.name,
)
def test_every_setting_of_decisions_is_documented_with_its_default(field: Field[Any]) -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    [shown] = re.findall(rf"^\| `{field.name.upper()}` \| (.*?) \|", page, re.MULTILINE)

    assert shown.strip("`") == default_text(field.default or "")


def default_text(default: object) -> str:
    if default == "":
        return "\N{EN DASH}"
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_the_readme_links_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()

    for page in PAGES[1:]:
        assert f"]({name(page)})" in readme


def test_the_table_of_folders_agrees_with_the_table_of_imports() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `model_service/(\w+)/` \|.*\| the core(.*) \|$", page, re.MULTILINE)

    assert {folder: {CORE, *re.findall(r"\w+", others)} for folder, others in rows} == {
        folder: imports for folder, imports in IMPORTS.items() if folder != CORE
    }


def test_the_runbook_replays_through_the_alias_that_the_stream_invokes() -> None:
    """Without the alias, replay would invoke the newest version, even after a rollback."""
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    named = re.findall(r"operate\.replay [^`]*--function (\S+?)`", runbook)

    assert named
    assert {name.partition(":")[2] for name in named} == {"live"}
    assert "AutoPublishAlias: live" in (ROOT / "template.yaml").read_text()


def test_the_replay_policy_covers_every_rejects_location() -> None:
    [policy] = blocks(ROOT / "docs" / "replay.md", "json")
    allowed = [(each["Action"], str(each["Resource"])) for each in json.loads(policy)["Statement"]]
    template = (ROOT / "template.yaml").read_text()
    prefixes = re.findall(r"Value: !Sub s3://\$\{RejectsBucket\}/(\S+)", template)

    assert len(prefixes) == 2
    for prefix in prefixes:
        for action, key in (("s3:GetObject", "*"), ("s3:PutObject", "*.replayed")):
            [resources] = [found for name, found in allowed if name == action]
            assert f"arn:aws:s3:::BUCKET/{prefix}/{key}" in resources


def test_the_example_events_match_their_types() -> None:
    ride, prediction, decision = blocks(ROOT / "docs" / "events" / "README.md", "json")

    assert rides.decode(ride.encode()).ride_id == 256
    msgspec.json.decode(prediction, type=schemas.DurationPredictionEvent)
    assert msgspec.json.decode(decision, type=Decision).flag == "review"


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    [newest, *_] = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert newest == project
