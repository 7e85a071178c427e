"""The import table: which folder may import which, held with ``==`` so that it cannot rot."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "model_service"
TOP_LEVEL = (
    "model_service",
    "training",
    "operate",
    "local",
    "event_source_mapping",
    "simulation",
    "tools",
    "benchmarks",
    "tests",
)

CORE = "core"
"""The modules that lie directly in ``model_service``."""

IMPORTS: dict[str, set[str]] = {
    CORE: set(),
    "models": {CORE},
    "kinesis": {CORE},
    "datasets": {CORE},
    "stream": {CORE, "kinesis"},
    "archive": {CORE, "kinesis"},
    "decisions": {CORE, "kinesis"},
    "web": {CORE, "decisions", "models"},
    "batch": {CORE, "datasets", "models"},
}
"""Folder of ``model_service`` → all the other folders of it that its modules import."""

TRAINING_IMPORTS: dict[str, set[str]] = {
    "data": set(),
    "metrics": {"data"},
    "drift": {"data", "metrics"},
    "model": {"data", "metrics"},
    "plan": {"data", "model"},
    "inputs": {"data", "plan"},
    "reports": {"data", "metrics", "model"},
    "registry": {"data", "metrics", "model", "reports"},
    "pipeline": {
        "data",
        "drift",
        "inputs",
        "metrics",
        "model",
        "plan",
        "registry",
        "reports",
    },
    "experiments": {"data", "inputs", "metrics", "model", "registry", "reports"},
    "commands": {
        "data",
        "drift",
        "experiments",
        "metrics",
        "model",
        "pipeline",
        "plan",
        "registry",
    },
    "__main__": {"commands"},
}
"""Folder or module of ``training`` → all the others that it imports, which stand above it."""

FREE_OF_IO = {
    "archive_format",
    "errors",
    "settings",
    "rides",
    "format_names",
    "features",
    "scoring",
    "payloads",
    "local_time",
    "truth",
}
SLOW_TO_IMPORT = {"boto3", "mlflow", "onnxruntime", "pandas", "sklearn", "skops"}


def imported(path: Path, *, top_level_only: bool = False) -> set[str]:
    """The absolute dotted names that a file of the project imports."""
    tree = ast.parse(path.read_text())
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def python_files(folder: Path) -> list[Path]:
    """The project's own files in a folder, without those of an environment in it."""
    return [path for path in sorted(folder.rglob("*.py")) if ".venv" not in path.parts]


def modules() -> list[Path]:
    found = python_files(PACKAGE)
    assert len(found) > 40
    return found


def folder(path: Path) -> str:
    """The folder of ``model_service`` that a module belongs to."""
    first, *rest = path.relative_to(PACKAGE).with_suffix("").parts
    return first if rest else CORE


def folder_of_name(name: str) -> str | None:
    """The folder that a dotted name lies in; None where it is not of ``model_service``."""
    package, *parts = name.split(".")
    if package != "model_service" or not parts:
        return None
    return parts[0] if (PACKAGE / parts[0]).is_dir() else CORE


def roots(path: Path, *, top_level_only: bool = False) -> set[str]:
    return {name.partition(".")[0] for name in imported(path, top_level_only=top_level_only)}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_each_folder_imports_exactly_what_the_table_says() -> None:
    found: dict[str, set[str]] = {}
    for path in modules():
        names = {folder_of_name(one) for one in imported(path)} - {None, folder(path)}
        found.setdefault(folder(path), set()).update(one for one in names if one)

    assert found == IMPORTS


def test_training_imports_exactly_what_its_table_says() -> None:
    training = ROOT / "training"
    found: dict[str, set[str]] = {}
    for path in python_files(training):
        own = path.relative_to(training).with_suffix("").parts[0]
        names = {one.split(".")[1] for one in imported(path) if one.startswith("training.")}
        found.setdefault(own, set()).update(names - {own})
    del found["__init__"]

    assert found == TRAINING_IMPORTS


def test_no_part_of_training_imports_a_later_one() -> None:
    order = list(TRAINING_IMPORTS)

    for part, names in TRAINING_IMPORTS.items():
        assert names <= set(order[: order.index(part)])


@pytest.mark.parametrize("path", modules(), ids=name)
def test_the_service_imports_no_training_and_no_tools(path: Path) -> None:
    assert not roots(path) & ({*TOP_LEVEL} - {"model_service"} | {"lambda_function"})


USES = {
    "training": {CORE, "datasets", "models"},
    "operate": {CORE, "kinesis", "models"},
    "local": {CORE, "datasets"},
    "tools": {CORE, "decisions"},
}
"""Top-level folder → the folders of ``model_service`` that it imports: no entry point's."""


def test_training_and_tools_import_no_entry_point() -> None:
    found = {
        top: {
            folder
            for path in python_files(ROOT / top)
            for one in imported(path)
            if (folder := folder_of_name(one))
        }
        for top in USES
    }

    assert found == USES


@pytest.mark.parametrize("top", ["model_service", "training", "local"])
def test_nothing_imports_the_operators_tools(top: str) -> None:
    found = {root for path in python_files(ROOT / top) for root in roots(path)}

    assert "operate" not in found


def test_operators_tools_import_neither_training_nor_emulators() -> None:
    found = {root for path in python_files(ROOT / "operate") for root in roots(path)}

    assert found & {*TOP_LEVEL} == {"model_service", "operate"}


@pytest.mark.parametrize("module", sorted(FREE_OF_IO))
def test_the_core_does_no_input_or_output(module: str) -> None:
    found = roots(PACKAGE / f"{module}.py")

    assert not found & {"boto3", "botocore", "mlflow", "onnxruntime", "os", "socket", "urllib"}


@pytest.mark.parametrize("path", modules(), ids=name)
def test_slow_libraries_are_imported_inside_the_function_that_needs_them(path: Path) -> None:
    assert not roots(path, top_level_only=True) & SLOW_TO_IMPORT


def test_only_entry_points_read_the_environment() -> None:
    readers = {
        name(path)
        for path in [*modules(), ROOT / "lambda_function.py"]
        if "environ" in ast.dump(ast.parse(path.read_text())) and "os" in imported(path)
    }

    # Spark takes the path of its Python from the environment alone.
    assert readers == {
        "lambda_function.py",
        "model_service/batch/__main__.py",
        "model_service/batch/spark.py",
    }


def test_capacity_is_calculated_by_pure_modules() -> None:
    folder = ROOT / "operate/capacity"
    pure = [path for path in python_files(folder) if path.name != "__main__.py"]
    found = {one for path in pure for one in imported(path)}

    assert {one.partition(".")[0] for one in found} == {
        "__future__",
        "collections",
        "dataclasses",
        "enum",
        "itertools",
        "math",
        "operate",
        "typing",
    }
    assert {one.split(".")[1] for one in found if one.startswith("operate.")} == {"capacity"}


MAPPING_CORE = {
    "assumed",
    "core",
    "decisions",
    "errors",
    "events",
    "lanes",
    "records",
    "responses",
    "settings",
    "state",
}
"""Modules of ``event_source_mapping`` without input, output, clock and random numbers."""


def test_the_event_source_mapping_imports_nothing_of_the_project() -> None:
    found = {root for path in python_files(ROOT / "event_source_mapping") for root in roots(path)}

    assert found & {*TOP_LEVEL} == {"event_source_mapping"}


def test_the_core_of_the_mapping_imports_itself_and_pure_modules_only() -> None:
    found: set[str] = set()
    for module in MAPPING_CORE:
        names = imported(ROOT / f"event_source_mapping/{module}.py")
        own = {name.split(".")[1] for name in names if name.startswith("event_source_mapping.")}
        assert own <= MAPPING_CORE
        found |= {name.partition(".")[0] for name in names}

    assert found == {
        "__future__",
        "collections",
        "dataclasses",
        "difflib",
        "event_source_mapping",
        "hashlib",
        "itertools",
        "math",
        "typing",
    }


def test_the_simulator_imports_the_service_and_the_mapping() -> None:
    found = {root for path in python_files(ROOT / "simulation") for root in roots(path)}

    assert found & {*TOP_LEVEL} == {"event_source_mapping", "model_service", "simulation"}


def test_nothing_but_tests_imports_the_simulator() -> None:
    others = [ROOT / top for top in TOP_LEVEL if top not in ("simulation", "tests")]
    found = {root for top in others for path in python_files(top) for root in roots(path)}

    assert "simulation" not in found


def test_rooms_of_local_import_each_other_in_one_direction() -> None:
    def room(parts: tuple[str, ...]) -> str:
        return parts[1] if parts[1] in ("aws", "demo") else "local"

    found: dict[str, set[str]] = {"aws": set(), "local": set(), "demo": set()}
    for path in python_files(ROOT / "local"):
        own = room(path.relative_to(ROOT).parts)
        names = {tuple(one.split(".")) for one in imported(path) if one.startswith("local.")}
        found[own] |= {room(parts) for parts in names} - {own}

    assert found == {"aws": set(), "local": {"aws"}, "demo": {"aws", "local"}}
