"""Finds tensors of an ONNX model whose values are in another file.

onnxruntime reads such a file from the working directory, whatever the file is.  The protobuf
messages below declare only those fields of ONNX that lead to a tensor (see onnx.proto); protobuf
skips all other fields.  Each field is declared as repeated, because protobuf accepts a field more
than once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from ..errors import ModelError

FIELDS: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "ModelProto": {
        "graph": (7, "GraphProto"),
        "training_info": (20, "TrainingInfoProto"),
        "functions": (25, "FunctionProto"),
    },
    "GraphProto": {
        "node": (1, "NodeProto"),
        "initializer": (5, "TensorProto"),
        "sparse_initializer": (15, "SparseTensorProto"),
    },
    "NodeProto": {"attribute": (5, "AttributeProto")},
    "AttributeProto": {
        "t": (5, "TensorProto"),
        "g": (6, "GraphProto"),
        "tensors": (10, "TensorProto"),
        "graphs": (11, "GraphProto"),
        "sparse_tensor": (22, "SparseTensorProto"),
        "sparse_tensors": (23, "SparseTensorProto"),
    },
    "SparseTensorProto": {"values": (1, "TensorProto"), "indices": (2, "TensorProto")},
    "FunctionProto": {
        "node": (7, "NodeProto"),
        "attribute_proto": (11, "AttributeProto"),
    },
    "TrainingInfoProto": {
        "initialization": (1, "GraphProto"),
        "algorithm": (2, "GraphProto"),
    },
    "TensorProto": {"external_data": (13, "StringStringEntryProto"), "data_location": (14, "")},
    "StringStringEntryProto": {},
}
"""Number and message type of each field, by message and name; an integer has no message type."""


def check(data: bytes) -> None:
    """Raise `ModelError` if *data* is not an ONNX model, or has tensor values in another file."""
    from google.protobuf.message import DecodeError

    try:
        model = _model_proto().FromString(data)
    except DecodeError as exc:
        raise ModelError(f"onnxruntime cannot load the model: it is not ONNX ({exc})") from exc
    if any(tensor.external_data or any(tensor.data_location) for tensor in _tensors(model)):
        raise ModelError(
            "the ONNX model keeps weights in another file (external data), and the service reads"
            " one file: log it with mlflow.onnx.log_model(…, save_as_external_data=False)"
        )


def _tensors(message: Any) -> Iterator[Any]:
    for field, values in message.ListFields():  # protobuf limits the nesting to 100 messages
        if field.message_type is not None:
            for value in values:
                if field.message_type.name == "TensorProto":
                    yield value
                else:
                    yield from _tensors(value)


@cache
def _model_proto() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="external_data.proto", package="rides", syntax="proto2"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            message.field.add(
                name=field,
                number=number,
                label=kinds.LABEL_REPEATED,
                type=kinds.TYPE_MESSAGE if kind else kinds.TYPE_INT32,
                type_name=f".rides.{kind}" if kind else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("rides.ModelProto"))
