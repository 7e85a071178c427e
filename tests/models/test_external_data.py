from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
from google.protobuf.descriptor import Descriptor
from onnx import ModelProto, TensorProto, helper, numpy_helper

from model_service.errors import ModelError
from model_service.models import external_data, loader

from ..support import models

GRAPH = f"""{models.HEAD}
ride (float[N, 1] trip_distance) => (float[N, 1] value) {{
    value = Identity (trip_distance)
}}"""


def external() -> TensorProto:
    """A tensor of shape (1, 1) whose value is the first four bytes of the file ``secret``."""
    tensor = numpy_helper.from_array(np.ones((1, 1), np.float32), "weight")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    return tensor


def with_node(model: ModelProto, name: str, value: Any) -> None:
    model.graph.node.append(helper.make_node("Anything", [], ["x"], domain="a", **{name: value}))


def initializer(model: ModelProto) -> None:
    model.graph.initializer.append(external())


def without_location(model: ModelProto) -> None:
    model.graph.initializer.append(external())
    model.graph.initializer[-1].ClearField("data_location")


def without_entries(model: ModelProto) -> None:
    model.graph.initializer.append(external())
    model.graph.initializer[-1].ClearField("external_data")


def sparse_initializer(model: ModelProto) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(external())


def sparse_indices(model: ModelProto) -> None:
    model.graph.sparse_initializer.add().indices.CopyFrom(external())


def attribute(model: ModelProto) -> None:
    with_node(model, "value", external())


def attributes(model: ModelProto) -> None:
    with_node(model, "values", [external(), external()])


def subgraph(model: ModelProto) -> None:
    with_node(model, "body", helper.make_graph([], "inner", [], [], [external()]))


def subgraphs(model: ModelProto) -> None:
    graph = helper.make_graph([], "inner", [], [], [external()])
    inner = helper.make_node("Anything", [], ["x"], domain="a", body=graph)
    with_node(model, "bodies", [helper.make_graph([inner], "outer", [], [])])


def function(model: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["x"], value=external())
    model.functions.add(name="f").node.append(node)


def training(model: ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(external())


PLACES = [
    *[initializer, without_location, without_entries, sparse_initializer, sparse_indices],
    *[attribute, attributes, subgraph, subgraphs, function, training],
]


@pytest.mark.parametrize("place", PLACES)
def test_external_data_is_refused_wherever_it_is(
    tmp_path: Path, place: Callable[[ModelProto], None]
) -> None:
    model = onnx.parser.parse_model(GRAPH)
    place(model)
    path = models.write_onnx(tmp_path, model.SerializeToString())

    with pytest.raises(ModelError, match=r"external data.*save_as_external_data=False"):
        loader.load(str(path))


def test_bytes_of_a_file_do_not_come_out_as_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime reads the file from the working directory, and the digest does not cover it."""
    (tmp_path / "secret").write_bytes(np.float32(7).tobytes())
    monkeypatch.chdir(tmp_path)
    model = onnx.parser.parse_model(f"""{models.HEAD}
    ride (float[N, 1] trip_distance) => (float[N, 1] value) {{
        value = Add (trip_distance, weight)
    }}""")
    model.graph.initializer.append(external())
    path = models.write_onnx(tmp_path / "model", model.SerializeToString())

    with pytest.raises(ModelError, match="external data"):
        loader.load(str(path))


def test_a_model_that_is_given_in_two_pieces_is_searched_as_a_whole() -> None:
    """Protobuf merges a field that occurs twice."""
    model = onnx.parser.parse_model(GRAPH)
    more = ModelProto()
    more.graph.initializer.append(external())

    with pytest.raises(ModelError, match="external data"):
        external_data.check(model.SerializeToString() + more.SerializeToString())


def test_a_model_without_external_data_passes() -> None:
    external_data.check(onnx.parser.parse_model(models.LINE).SerializeToString())


@pytest.mark.parametrize("data", [b"?", os.urandom(100_000), b"\x3a\x02" * 1_000])
def test_bytes_that_are_no_onnx_model_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="onnxruntime cannot load the model: it is not ONNX"):
        external_data.check(data)


def test_the_fields_are_those_of_onnx_that_lead_to_a_tensor() -> None:
    """A later version of ONNX may have more of them."""
    leading = {name for name, fields in external_data.FIELDS.items() if fields}
    expected = {
        (kind.name, field.name, field.number)
        for kind in kinds(ModelProto.DESCRIPTOR)
        for field in kind.fields
        if field.message_type and field.message_type.name in leading
    }

    declared = {
        (kind, name, number)
        for kind, fields in external_data.FIELDS.items()
        for name, (number, type_) in fields.items()
        if type_ in leading
    }

    assert declared == expected
    tensor = TensorProto.DESCRIPTOR.fields_by_name
    assert {name: tensor[name].number for name in external_data.FIELDS["TensorProto"]} == {
        name: number for name, (number, _) in external_data.FIELDS["TensorProto"].items()
    }


def kinds(kind: Descriptor, found: set[str] | None = None) -> Iterator[Descriptor]:
    """The message types that *kind* holds, directly or indirectly, and itself."""
    found = set() if found is None else found
    if kind.name in found:
        return
    found.add(kind.name)
    yield kind
    for field in kind.fields:
        if field.message_type:
            yield from kinds(field.message_type, found)
