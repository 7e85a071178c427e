from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
from onnx import numpy_helper
from sklearn.linear_model import LinearRegression

from model_service import features
from model_service.errors import ModelError
from model_service.models import loader, trust
from model_service.models.description import TrainingRides

from ..support import models
from ..support.factories import kinesis_event, payload

pytestmark = models.MLFLOW_IMPORT

ROOT = Path(__file__).parents[2]
OTHER_RUN = "0" * 31 + "1"
BY_MODEL = {"version": "model_id"}
"""The metadata of a model whose run has several."""
ROUTE_AND_DISTANCE = [("string", "PU_DO"), ("double", "trip_distance")]


def test_onnx_is_taken_before_scikit_learn(tmp_path: Path) -> None:
    models.save_sklearn(tmp_path, models.dict_pipeline())
    onnx_file = models.write_onnx(tmp_path / "onnx") / "model.onnx"
    onnx_file.rename(tmp_path / "model.onnx")
    models.edit_mlmodel(tmp_path, "onnx", data="model.onnx")

    loaded = loader.load(str(tmp_path))

    assert loaded.flavour == "onnx"
    assert loaded.predict(models.rides()).values == pytest.approx(2 + 5 * models.rides().distance)


def test_an_onnx_model_as_mlflow_saves_it_is_served(tmp_path: Path) -> None:
    models.save_onnx(tmp_path / "model", onnx.parser.parse_model(models.LINE))

    loaded = loader.load(str(tmp_path / "model"))

    assert loaded.flavour == "onnx"
    assert loaded.predict(models.rides()).values == pytest.approx(2 + 5 * models.rides().distance)


def test_an_onnx_model_with_weights_in_a_file_of_their_own_is_refused(tmp_path: Path) -> None:
    graph = onnx.parser.parse_model(f"""{models.HEAD}
    ride (float[N, 1] trip_distance, float[1, 1000] weights) => (float[N, 1000] value) {{
        value = Mul (trip_distance, weights)
    }}""")
    weights = numpy_helper.from_array(np.ones((1, 1_000), np.float32), "weights")
    graph.graph.initializer.append(weights)
    models.save_onnx(tmp_path / "model", graph)

    with pytest.raises(
        ModelError, match=r"in another file \(external data\).*save_as_external_data=False"
    ):
        loader.load(str(tmp_path / "model"))


@pytest.mark.parametrize(
    ("target", "field"), [("cost", "ride_duration"), ("duration", "ride_cost")]
)
def test_a_model_of_another_target_is_refused(tmp_path: Path, target: str, field: str) -> None:
    path = models.write_onnx(tmp_path, metadata={"target": target})

    with pytest.raises(ModelError, match=f"predicts a ride's {target}: its values are not {field}"):
        loader.load(str(path), field=field)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"target": "cost"}, "ride_cost"),
        ({"target": "cost"}, "fare_of_mine"),
        ({"target": "cost"}, ""),
        ({"target": "tips"}, "ride_cost"),
        ({"target": ["cost"]}, "ride_duration"),
        ("cost", "ride_duration"),
        (None, "ride_duration"),
    ],
)
def test_what_a_model_may_say_of_its_target(tmp_path: Path, metadata: Any, field: str) -> None:
    path = models.write_onnx(tmp_path, metadata=metadata)

    assert loader.load(str(path), field=field).version == models.RUN_ID


TRAINED_ON = {"source": "tlc", "months": ["2021-01"], "rides": 9, "longest_miles": 21.5}


def test_a_model_names_the_rides_on_which_it_was_trained(tmp_path: Path) -> None:
    path = models.write_onnx(tmp_path, metadata={"training_rides": TRAINED_ON})

    assert loader.load(str(path)).training_rides == TrainingRides("tlc", ("2021-01",), 9, 21.5)


@pytest.mark.parametrize(
    "named", [None, 70_000, "many", {}, {**TRAINED_ON, "source": "?"}, {**TRAINED_ON, "months": []}]
)
def test_a_model_that_names_them_in_another_form_is_loaded_without_them(
    tmp_path: Path, named: Any
) -> None:
    path = models.write_onnx(tmp_path, metadata={"training_rides": named})

    assert loader.load(str(path)).training_rides is None


@pytest.mark.parametrize("spelt", [str.lower, str.upper])
def test_a_model_of_the_right_digest_is_loaded(tmp_path: Path, spelt: Callable[[str], str]) -> None:
    path = models.write_onnx(tmp_path)
    both = (path / "MLmodel").read_bytes() + (path / "model.onnx").read_bytes()
    digest = hashlib.sha256(both).hexdigest()

    loaded = loader.load(str(path), sha256=spelt(digest))

    assert loaded.sha256 == digest


def test_the_digest_of_a_skops_model_covers_its_data_file(tmp_path: Path) -> None:
    path = models.save_sklearn(tmp_path / "model", models.dict_pipeline())
    both = (path / "MLmodel").read_bytes() + (path / "model.skops").read_bytes()

    assert loader.load(str(path)).sha256 == hashlib.sha256(both).hexdigest()


def test_the_digest_of_a_python_model_covers_all_its_files(tmp_path: Path) -> None:
    path = models.save_python(tmp_path / "model", sevens)
    digest = loader.load(str(path), allow_pickled=True).sha256
    (path / "artifacts").mkdir()
    (path / "artifacts" / "weights").write_bytes(b"1")

    with pytest.raises(ModelError, match="is not the expected one"):
        loader.load(str(path), allow_pickled=True, sha256=digest)


@pytest.mark.parametrize("changed", ["MLmodel", "model.onnx"])
def test_a_model_that_differs_from_its_digest_is_refused(tmp_path: Path, changed: str) -> None:
    path = models.write_onnx(tmp_path)
    digest = loader.load(str(path)).sha256
    with (path / changed).open("ab") as file:
        file.write(b"\n")

    with pytest.raises(ModelError, match=r"is not the expected one: its SHA-256 is [0-9a-f]{64}"):
        loader.load(str(path), sha256=digest)


def test_the_bytes_that_were_checked_are_those_that_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that can write to the model's directory may replace a file after it was checked."""
    pipeline = models.dict_pipeline()
    path = models.save_sklearn(tmp_path / "model", pipeline)
    other = models.save_sklearn(
        tmp_path / "other",
        models.pipeline_of(models.Opened()),
        skops_trusted_types=["tests.support.models.Opened"],
    )
    check_types = trust.check_types

    def check_and_replace(file: Path) -> None:
        check_types(file)
        for name in ("MLmodel", "model.skops"):
            (path / name).write_bytes((other / name).read_bytes())

    monkeypatch.setattr(trust, "check_types", check_and_replace)
    models.OPENED.clear()

    loaded = loader.load(str(path))

    assert models.OPENED == []
    assert (
        loaded.predict(models.rides()).values.tolist()
        == pipeline.predict(features.rows(models.rides())).tolist()
    )


def test_no_copy_of_a_skops_model_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save_sklearn(tmp_path / "model", models.dict_pipeline())
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))

    loader.load(str(path))

    assert list((tmp_path / "copies").glob("model-*")) == []


@pytest.mark.parametrize(
    ("setting", "mlmodel", "version"),
    [
        ("Test123", {"run_id": models.RUN_ID, "model_id": "m-7"}, "Test123"),
        ("", {"run_id": models.RUN_ID, "model_id": "m-7", "model_uuid": "u"}, models.RUN_ID),
        ("", {"run_id": None, "model_id": "m-7", "model_uuid": "u"}, "m-7"),
        ("", {"run_id": None, "model_id": None, "model_uuid": "u"}, "u"),
        ("", {"run_id": 7}, "7"),
        ("", {"run_id": models.RUN_ID, "model_id": "m-7", "metadata": BY_MODEL}, "m-7"),
        ("", {"run_id": models.RUN_ID, "metadata": BY_MODEL}, models.RUN_ID),
        ("Test123", {"run_id": "r", "model_id": "m-7", "metadata": BY_MODEL}, "Test123"),
        ("Test123", {"run_id": None}, "Test123"),
    ],
)
def test_the_version_is_the_setting_or_the_run_or_the_model(
    tmp_path: Path, setting: str, mlmodel: dict[str, Any], version: str
) -> None:
    path = models.write_onnx(tmp_path, **mlmodel)

    assert loader.load(str(path), run_id=setting).version == version


def test_a_model_without_any_version_asks_for_one(tmp_path: Path) -> None:
    path = models.write_onnx(tmp_path, run_id=None)

    with pytest.raises(ModelError, match="names neither run nor model: set RUN_ID"):
        loader.load(str(path))


def pickled(path: Path) -> Path:
    return models.save_sklearn(
        path / "model", models.dict_pipeline(), serialization_format="pickle"
    )


def cloudpickled(path: Path) -> Path:
    return models.save_sklearn(
        path / "model", models.dict_pipeline(), serialization_format="cloudpickle"
    )


def of_an_old_mlflow(path: Path) -> Path:
    return models.edit_mlmodel(pickled(path), "sklearn", serialization_format=None)


def custom(path: Path) -> Path:
    return models.save_python(path / "model", sevens)


def skops_with_code(path: Path) -> Path:
    (path / "code.py").write_text("")
    return models.save_sklearn(
        path / "model", models.dict_pipeline(), code_paths=[str(path / "code.py")]
    )


def code_of_the_loader_only(path: Path) -> Path:
    return models.edit_mlmodel(skops_with_code(path), "sklearn", code=None)


def another_file_by_path(path: Path) -> Path:
    saved = models.save_sklearn(path / "model", models.dict_pipeline())
    (saved / "other.skops").write_bytes((saved / "model.skops").read_bytes())
    return models.edit_mlmodel(saved, "python_function", model_path="other.skops")


def another_file_by_data(path: Path) -> Path:
    saved = models.save_sklearn(path / "model", models.dict_pipeline())
    (saved / "other.skops").write_bytes((saved / "model.skops").read_bytes())
    return models.edit_mlmodel(saved, "python_function", data="other.skops")


CODE = [
    (pickled, "it is a pickle"),
    (cloudpickled, "it is a pickle"),
    (custom, "its loader is mlflow.pyfunc.model"),
    (models.save_with_code, "it is a pickle"),
    (skops_with_code, "it brings code_paths"),
    (code_of_the_loader_only, "it brings code_paths"),
    (another_file_by_path, "its flavours name different files"),
    (another_file_by_data, "its flavours name different files"),
]


@pytest.mark.parametrize(("save", "what"), [*CODE, (of_an_old_mlflow, "it is a pickle")])
def test_what_may_be_code_is_refused_with_the_way_out(
    tmp_path: Path, save: Callable[[Path], Path], what: str
) -> None:
    path = save(tmp_path)

    with pytest.raises(ModelError) as refusal:
        loader.load(str(path))

    assert f"may run code of its own ({what})" in str(refusal.value)
    assert "ALLOW_PICKLED_MODELS=True" in str(refusal.value)


@pytest.mark.parametrize("save", [save for save, _ in CODE])
def test_what_may_be_code_is_loaded_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[[Path], Path]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # MLflow puts the code there
    path = save(tmp_path)

    loaded = loader.load(str(path), allow_pickled=True)

    assert loaded.predict(models.rides(3)).values.shape == (3,)


def test_another_loader_is_refused_though_the_model_is_skops(tmp_path: Path) -> None:
    path = models.save_sklearn(tmp_path / "model", models.dict_pipeline())
    models.edit_mlmodel(path, "python_function", loader_module="antigravity")

    with pytest.raises(ModelError, match=r"its loader is antigravity.*ALLOW_PICKLED_MODELS=True"):
        loader.load(str(path))


def test_a_type_that_is_not_trusted_is_refused_though_the_model_lists_it(tmp_path: Path) -> None:
    pipeline = models.pipeline_of(models.Opened())
    trusted = ["tests.support.models.Opened"]
    path = models.save_sklearn(tmp_path / "model", pipeline, skops_trusted_types=trusted)
    models.OPENED.clear()  # MLflow opens what it has saved

    with pytest.raises(
        ModelError, match=r"not trusted: tests\.support\.models\.Opened; .*ALLOW_PICKLED"
    ):
        loader.load(str(path))

    assert models.OPENED == []


def test_a_type_that_is_not_trusted_is_loaded_where_that_is_allowed(tmp_path: Path) -> None:
    pipeline = models.pipeline_of(models.Opened())
    trusted = ["tests.support.models.Opened"]
    path = models.save_sklearn(tmp_path / "model", pipeline, skops_trusted_types=trusted)
    models.OPENED.clear()

    loader.load(str(path), allow_pickled=True)

    assert models.OPENED == ["opened"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"- a list",
        b"a: b",
        b"flavors: [onnx]",
        b"flavors: {onnx: model.onnx}",
        b"flavors: {python_function:}",
        b"utc_time_created: 2021-02-31\nflavors: {}",
        b"[" * 100_000,
        b"flavors: !!python/object/apply:os.getcwd []",
    ],
)
def test_what_describes_no_mlflow_model_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "MLmodel").write_bytes(text)

    with pytest.raises(ModelError, match="is not the description of an MLflow model"):
        loader.load(str(tmp_path))


@pytest.mark.parametrize(
    ("flavors", "found"), [({}, "none"), ({"spark": {}, "h2o": {}}, "h2o, spark"), ({1: {}}, "1")]
)
def test_a_model_of_other_flavours_is_refused(
    tmp_path: Path, flavors: dict[Any, Any], found: str
) -> None:
    models.write_mlmodel(tmp_path, flavors=flavors)

    with pytest.raises(ModelError, match=f"no flavour of this model can be served: it has {found}"):
        loader.load(str(tmp_path))


def without_its_file(path: Path) -> Path:
    (models.save_sklearn(path / "model", models.dict_pipeline()) / "model.skops").unlink()
    return path / "model"


def without_its_name(path: Path) -> Path:
    saved = models.save_sklearn(path / "model", models.dict_pipeline())
    return models.edit_mlmodel(saved, "python_function", model_path=None)


def no_skops(path: Path) -> Path:
    (models.save_sklearn(path / "model", models.dict_pipeline()) / "model.skops").write_bytes(b"?")
    return path / "model"


def no_pickle(path: Path) -> Path:
    (pickled(path) / "model.pkl").write_bytes(b"?")
    return path / "model"


def no_onnx(path: Path) -> Path:
    return models.write_onnx(path / "model", b"?")


def onnx_without_its_name(path: Path) -> Path:
    return models.edit_mlmodel(models.write_onnx(path / "model"), "onnx", data=None)


def without_a_loader(path: Path) -> Path:
    return models.edit_mlmodel(custom(path), "python_function", loader_module="no_such_module")


@pytest.mark.parametrize(
    ("save", "reason"),
    [
        (without_its_file, "cannot read .*/model.skops: No such file"),
        (without_its_name, "names no file, or a file outside the model's directory"),
        (no_skops, "skops cannot read the model: "),
        (no_pickle, "MLflow cannot load the model: "),
        (no_onnx, "onnxruntime cannot load the model: "),
        (onnx_without_its_name, "names no file, or a file outside the model's directory"),
        (without_a_loader, "MLflow cannot load the model: No module named 'no_such_module'"),
    ],
)
def test_a_broken_model_is_refused(
    tmp_path: Path, save: Callable[[Path], Path], reason: str
) -> None:
    path = save(tmp_path)

    with pytest.raises(ModelError, match=reason):
        loader.load(str(path), allow_pickled=save in (no_pickle, without_a_loader))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("value = Sqrt (minus)", "the model's answer to the warm-up ride is not a number"),
        (
            "value = ReduceSum <keepdims = 0> (minus)",
            "the model's answer to the warm-up ride is not a number",
        ),
        (
            "value = Concat <axis = 1> (minus, minus)",
            "the model answers 2 columns for each ride, and one value is wanted: return one value",
        ),
        (
            "shape = Constant <value_ints = [7]> () value = Reshape (minus, shape)",
            "the model cannot score the warm-up ride: ",
        ),
    ],
    ids=["NaN", "no row", "two columns", "raises"],
)
def test_an_onnx_model_that_cannot_score_the_warm_up_ride_is_refused(
    tmp_path: Path, body: str, reason: str
) -> None:
    graph = f"""{models.HEAD}
    ride (float[N, 1] trip_distance) => (float[] value) {{ minus = Neg (trip_distance) {body} }}"""
    path = models.write_onnx(tmp_path, graph)

    with pytest.raises(ModelError, match=reason):
        loader.load(str(path))


@pytest.mark.parametrize("interval", ["Neg (value)", "Concat <axis = 0> (value, value)"])
def test_an_onnx_model_whose_intervals_are_no_pairs_is_refused(
    tmp_path: Path, interval: str
) -> None:
    graph = f"""{models.HEAD}
    ride (float[N, 1] trip_distance) => (float[N, 1] value, float[] interval) {{
        value = Identity (trip_distance)
        interval = {interval}
    }}"""
    path = models.write_onnx(tmp_path, graph)

    with pytest.raises(ModelError, match="intervals have shape"):
        loader.load(str(path))


@pytest.mark.parametrize(
    "answer", [[float("nan")], [float("inf")], 7.0, [[[7.0]]], [7.0, 7.0], [], None]
)
def test_a_python_model_that_gives_no_number_for_the_warm_up_ride_is_refused(
    tmp_path: Path, answer: Any
) -> None:
    path = models.save_python(tmp_path / "model", lambda rides: answer)

    with pytest.raises(ModelError, match="the model's answer to the warm-up ride is not a number"):
        loader.load(str(path), allow_pickled=True)


def test_a_python_model_that_raises_on_the_warm_up_ride_is_refused(tmp_path: Path) -> None:
    path = models.save_python(tmp_path / "model", lambda rides: rides[0]["passengers"])

    with pytest.raises(ModelError, match="the model cannot score the warm-up ride: KeyError"):
        loader.load(str(path), allow_pickled=True)


@pytest.mark.parametrize("asked", ["float[N, 1] passengers", "bool[N, 1] trip_distance"])
def test_an_onnx_model_that_asks_for_what_no_ride_has_is_refused(
    tmp_path: Path, asked: str
) -> None:
    name = asked.split()[-1]
    graph = f"""{models.HEAD}
    ride ({asked}) => (float[N, 1] value) {{ value = Cast <to = 1> ({name}) }}"""
    path = models.write_onnx(tmp_path, graph)

    with pytest.raises(
        ModelError, match=rf"the model asks for {name} as tensor\(.*\); the features of a ride are"
    ):
        loader.load(str(path))


@pytest.mark.parametrize("unknown", [("double", "passengers"), ("boolean", "weekday")])
def test_a_signature_that_asks_for_what_no_ride_has_is_refused(
    tmp_path: Path, unknown: tuple[str, str]
) -> None:
    signature = models.signature([*ROUTE_AND_DISTANCE, unknown])
    path = models.save_sklearn(tmp_path / "model", LinearRegression(), signature=signature)

    with pytest.raises(
        ModelError, match=f"the model asks for {unknown[1]} as {unknown[0]}; the features"
    ):
        loader.load(str(path))


def test_a_signature_without_names_is_refused(tmp_path: Path) -> None:
    signature = models.signature([("double", None)])
    path = models.save_sklearn(tmp_path / "model", LinearRegression(), signature=signature)

    with pytest.raises(ModelError, match="the model's signature names no features"):
        loader.load(str(path))


def test_an_onnx_model_scores_a_batch_without_the_heavy_packages(tmp_path: Path) -> None:
    path = models.write_onnx(tmp_path)
    (tmp_path / "event.json").write_text(json.dumps(kinesis_event(payload(256))))
    program = """
import json, sys
import lambda_function
answer = lambda_function.lambda_handler(json.load(open(sys.argv[1])), None)
print(json.dumps([len(answer["predictions"]), sorted(name for name in sys.modules)]))
"""

    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "event.json")],
        cwd=ROOT,
        env={"MODEL_LOCATION": str(path), "TEST_RUN": "True"},
        capture_output=True,
        check=True,
        timeout=60,
    )

    predictions, imported = json.loads(run.stdout.splitlines()[-1])
    assert predictions == 1
    assert "onnxruntime" in imported
    assert not {"mlflow", "sklearn", "scipy", "pandas", "skops", "onnx"} & set(imported)


def sevens(rides: Any) -> Any:
    return np.full(len(rides), 7.0)


def test_a_model_that_needs_mlflow_says_so_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save_sklearn(tmp_path / "model", models.dict_pipeline())
    monkeypatch.setattr("model_service.models.loader.find_spec", lambda name: None)

    with pytest.raises(ModelError, match="needs MLflow, which is not installed"):
        loader.load(str(path))
