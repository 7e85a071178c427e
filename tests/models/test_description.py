from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_service.errors import ModelError
from model_service.models import description, loader

from ..support import models

pytestmark = models.MLFLOW_IMPORT

BOMB = b"a: &a [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (name, name, b", ".join([b"*%c" % (name - 1)] * 10))
    for name in range(ord("b"), ord("k"))
)

HOSTILE = {
    "aliases that stand for billions of values": (
        BOMB + b"flavors: {python_function: {loader_module: *j}}"
    ),
    "250,000 items": b"flavors: {}\nlist: [" + b"a," * 250_000 + b"]",
    "100,000 short lines": b"flavors: {}\nlist:\n" + b"- a\n" * 60_000,
    "nested mappings": b"flavors: {}\na: " + b"{a: " * 20_000,
    "a huge run id as a number": b"flavors: {onnx: {data: model.onnx}}\nrun_id: 0x" + b"f" * 9_999,
    "a huge flavour as a number": b"flavors: {0x" + b"f" * 9_999 + b": {}}",
    "a run id of 3 MB": b"flavors: {onnx: {data: model.onnx}}\nrun_id: " + b"a" * 3_000_000,
    "a run id of 300 characters": b"flavors: {onnx: {data: model.onnx}}\nrun_id: " + b"a" * 300,
    "a run id with ESC": b'flavors: {onnx: {data: model.onnx}}\nrun_id: "a\\e[2J"',
    "a run id with a line break": b'flavors: {onnx: {data: model.onnx}}\nrun_id: "a\\n"',
    "a run id as a list": b"flavors: {onnx: {data: model.onnx}}\nrun_id: [a]",
    "a run id as true": b"flavors: {onnx: {data: model.onnx}}\nrun_id: true",
    "a negative run id": b"flavors: {onnx: {data: model.onnx}}\nrun_id: -1",
    "a file with NUL": b'flavors: {onnx: {data: "a\\0b"}}\nrun_id: a',
    "a file with NUL in its folder": b'flavors: {onnx: {data: "a\\0b/c"}}\nrun_id: a',
    "a file from the root": b"flavors: {onnx: {data: //x}}\nrun_id: a",
    "a file as a list": b"flavors: {onnx: {data: [a]}}\nrun_id: a",
    "a long file name": b"flavors: {onnx: {data: " + b"a" * 1_025 + b"}}\nrun_id: a",
    "a loader as a list": b"flavors: {python_function: {loader_module: [a]}}\nrun_id: a",
    "a loader with ESC": b'flavors: {python_function: {loader_module: "\\e[2J"}}\nrun_id: a',
    "a flavour with ESC": b'flavors: {"\\e[2J": {}}\nrun_id: a',
    "a version as a list": (
        b"flavors: {sklearn: {sklearn_version: [1]}, python_function: {loader_module:"
        b" mlflow.sklearn, model_path: a}}\nrun_id: a"
    ),
    "a quote that does not end": b"flavors: '" + b"a " * 100_000,
    "many keys on one line": b"flavors: {}\n" + b"? " * 50_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_description_is_refused_within_a_second_in_one_sentence(
    tmp_path: Path, text: bytes
) -> None:
    """The file is written by others; the function must neither hang nor raise a bare error."""
    (tmp_path / "MLmodel").write_bytes(text)
    started = time.process_time()

    with pytest.raises(ModelError) as refusal:
        loader.load(str(tmp_path))

    assert time.process_time() - started < 1
    assert len(str(refusal.value)) < 500
    assert str(refusal.value).isprintable()


def test_a_description_of_the_largest_size_is_read(tmp_path: Path) -> None:
    """A signature of many columns is one long text."""
    text = b"flavors: {onnx: {data: model.onnx}}\nrun_id: a\nsignature: '"
    text += b"[" * (description.MAX_BYTES - len(text) - 1) + b"'"

    assert description.read(text).version() == "a"


@pytest.mark.parametrize(
    "text",
    [
        "run_id: 0755",
        "run_id: 1_000",
        "run_id: 1:30",
        "run_id: yes",
        "run_id: 2021-03-01",
        "run_id: a\nrun_id: b",
        'run_id: "\\x61"',
        "run_id: ~",
        "metadata: {<<: {target: cost}, note: !!str 7}",
        "metadata: {target: !!binary Y29zdA==}",
    ],
)
def test_mlflow_reads_a_description_as_the_service_does(tmp_path: Path, text: str) -> None:
    """If the two readers differed, MLflow could load another model than the one checked."""
    from mlflow.models import Model

    text = f"flavors: {{python_function: {{loader_module: a, model_path: b}}}}\n{text}\n"
    (tmp_path / "MLmodel").write_text(text)
    mlflow_model = Model.load(str(tmp_path))

    ours = yaml.safe_load(text)

    assert mlflow_model.flavors == ours["flavors"]
    assert mlflow_model.run_id == ours.get("run_id")
    assert mlflow_model.metadata == ours.get("metadata")


def test_mlflow_reads_its_own_description_as_the_service_does(tmp_path: Path) -> None:
    from mlflow.models import Model

    path = models.save_sklearn(
        tmp_path / "model", models.dict_pipeline(), metadata={"target": "cost"}
    )
    mlflow_model = Model.load(str(path))

    ours = description.read((path / "MLmodel").read_bytes())

    assert ours.flavors == mlflow_model.flavors
    assert ours.metadata == mlflow_model.metadata
    assert ours.model_uuid == mlflow_model.model_uuid
    assert ours.is_sklearn()


@pytest.mark.parametrize(
    "flavor",
    [{"data": {"weights": 1}}, {"data": 7, "loader_module": ["a"]}, {"model_path": None}],
)
def test_a_flavour_that_is_not_served_may_have_any_fields(
    tmp_path: Path, flavor: dict[str, Any]
) -> None:
    flavors = {"onnx": {"data": "model.onnx"}, "other": flavor}
    path = models.write_onnx(tmp_path, flavors=flavors)

    assert loader.load(str(path)).flavour == "onnx"


@pytest.mark.parametrize(
    "value",
    ["!!bool abc", "!!timestamp abc", ":".join(["1"] * 400) + ":1.0", ":".join(["1"] * 40_000)],
)
def test_a_value_that_yaml_cannot_construct_gives_one_sentence_fast(value: str) -> None:
    started = time.process_time()

    with pytest.raises(ModelError, match="MLmodel is not the description"):
        description.read(f"flavors: {{}}\nx: {value}\n".encode())

    assert time.process_time() - started < 1
