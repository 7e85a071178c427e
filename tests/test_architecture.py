"""Imports point one way: doors to core, and nothing of ours that does I/O into the core."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "rides": {"errors", "records"},
    "features": {"geography", "rides"},
    "geography": {"zones"},
    "scoring": {"errors", "features", "rides"},
    "records": {"errors"},
    "publisher": {"rides", "scoring"},
    "rejects": {"records", "rides", "scoring"},
    "stream": {"errors", "features", "publisher", "records", "rejects", "rides", "scoring"},
    "telemetry": {"scoring", "stream"},
    "artifacts": {"errors"},
    "flavours": {"errors", "features", "scoring"},
    "model": {"artifacts", "errors", "features", "flavours", "scoring"},
    "schemas": {"rides", "scoring"},
    "quotes": {"errors", "features", "rides", "scoring"},
    "problems": {"errors"},
    "metrics": {"quotes"},
    "access": {"errors", "metrics"},
    "openapi": {"errors", "problems", "quotes", "rides", "zones"},
    "wire": {"problems", "quotes"},
    "quoting": {
        *("access", "errors", "metrics", "openapi", "problems", "quotes", "scoring", "wire"),
    },
    "reference": {"problems"},
    "windows": set(),
    "zones": set(),
    "web": {
        *("access", "metrics", "openapi", "problems", "quotes", "quoting", "reference"),
        *("scoring", "wire", "zones"),
    },
    "clocks": {"rides"},
    "times": {"arrays", "clocks"},
    "identities": set(),
    "arrays": set(),
    "columnar": {"arrays", "clocks", "errors", "features", "quotes", "rides", "scoring"},
    "layouts": {"errors"},
    "tables": {
        *("arrays", "clocks", "columnar", "errors", "identities", "layouts", "rides", "times"),
    },
    "lines": {"arrays", "columnar", "errors", "quotes", "records", "rides", "tables", "times"},
    "sources": {"arrays", "columnar", "errors", "layouts", "lines", "records", "tables"},
    "buckets": {"errors"},
    "places": {"buckets", "errors"},
    "accuracy": {"arrays"},
    "partitions": {"arrays", "clocks", "errors"},
    "notes": {"accuracy", "columnar", "places", "quotes"},
    "runs": {
        *("accuracy", "columnar", "errors", "notes", "partitions", "places", "quotes", "sources"),
    },
    "watch": {"notes", "places", "runs"},
    "reports": {"accuracy", "columnar", "notes", "quotes"},
    "arguments": {"backfill", "errors"},
    "backfill": {"accuracy", "errors", "notes", "places"},
    "batch": {
        *("arguments", "backfill", "columnar", "errors", "notes", "places", "quotes", "reports"),
        *("runs", "served", "settings", "spark", "watch"),
    },
    "served": {"model", "quotes", "scoring", "settings"},
    "spark": {"buckets", "errors", "notes", "places", "quotes", "runs", "served", "settings"},
    "sockets": set(),
    "worker": {"sockets", "wire"},
}
FREE_OF_AWS_AND_MLFLOW = {"errors", "settings", "rides", "features", "scoring", "records"}


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Dotted names that a file imports; relative ones begin with a dot."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names = {alias.name for alias in node.names}
            found |= {f".{name}" for name in names} if base == "." else {base}
    return found


def modules() -> list[str]:
    found = [path.stem for path in (ROOT / "model_service").glob("*.py") if path.stem != "__init__"]
    assert len(found) > 10
    return sorted(found)


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_what_the_table_says(module: str) -> None:
    ours = {name[1:] for name in imports(ROOT / "model_service" / f"{module}.py") if name[0] == "."}

    assert ours <= MAY_IMPORT[module], "the table in this file says what may import what"


@pytest.mark.parametrize("module", modules())
def test_nothing_served_imports_training_or_tools(module: str) -> None:
    roots = {name.partition(".")[0] for name in imports(ROOT / "model_service" / f"{module}.py")}

    assert not roots & {"training", "local", "operate", "tests", "benchmarks", "lambda_function"}


@pytest.mark.parametrize("folder", ["model_service", "training", "local"])
def test_nobody_imports_tools_for_a_running_system(folder: str) -> None:
    found = {name for path in (ROOT / folder).glob("*.py") for name in imports(path)}

    assert "operate" not in {name.partition(".")[0] for name in found}


def test_tools_for_a_running_system_need_no_training_and_no_emulator() -> None:
    found = {name for path in (ROOT / "operate").glob("*.py") for name in imports(path)}
    ours = {name.partition(".")[0] for name in found} - {""}

    assert not ours & {"training", "local", "tests", "benchmarks", "lambda_function"}


@pytest.mark.parametrize("module", sorted(FREE_OF_AWS_AND_MLFLOW))
def test_the_pure_core_does_no_input_or_output(module: str) -> None:
    roots = {name.partition(".")[0] for name in imports(ROOT / "model_service" / f"{module}.py")}

    assert not roots & {"boto3", "botocore", "mlflow", "onnxruntime", "os", "socket", "urllib"}


@pytest.mark.parametrize("module", modules())
def test_what_is_slow_to_import_is_imported_where_it_is_needed(module: str) -> None:
    path = ROOT / "model_service" / f"{module}.py"
    roots = {name.partition(".")[0] for name in imports(path, top_level_only=True)}

    assert not roots & {"boto3", "mlflow", "onnxruntime", "pandas", "sklearn", "skops"}


def test_only_entry_points_read_the_environment() -> None:
    readers = {
        path.name
        for path in [*(ROOT / "model_service").glob("*.py"), ROOT / "lambda_function.py"]
        if "environ" in ast.dump(ast.parse(path.read_text())) and "os" in imports(path)
    }

    # Spark takes the place of its Python from there alone.
    assert readers == {"batch.py", "lambda_function.py", "spark.py"}


def test_the_table_names_no_module_that_is_gone() -> None:
    assert set(MAY_IMPORT) == set(modules())
