"""The messages of the Open Inference Protocol over gRPC, described to protobuf without a generated file.

Field names and numbers are the protocol's; that is all that must agree for unmodified clients.
Source: Open Inference Protocol, specification/protocol/inference_grpc.md, package ``inference``.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["MESSAGES", "SERVICE"]

SERVICE = "inference.GRPCInferenceService"
_PACKAGE = "inference"
_SCALARS = {
    "double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9, "bytes": 12, "uint32": 13,
}  # fmt: skip
_OPTIONAL, _REPEATED, _MESSAGE = 1, 3, 11
_PARAMETERS = "map InferParameter"
_TENSOR = {"name": "string", "datatype": "string", "shape": "repeated int64"}

#: Message to fields in the order of their numbers; ``map X`` is a map from string to X.
_LAYOUT: dict[str, dict[str, str]] = {
    "InferParameter": {
        "bool_param": "bool", "int64_param": "int64", "string_param": "string", "double_param": "double",
        "uint64_param": "uint64",
    },
    "InferTensorContents": {
        "bool_contents": "repeated bool", "int_contents": "repeated int32", "int64_contents": "repeated int64",
        "uint_contents": "repeated uint32", "uint64_contents": "repeated uint64", "fp32_contents": "repeated float",
        "fp64_contents": "repeated double", "bytes_contents": "repeated bytes",
    },
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": "bool"},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": "bool"},
    "ModelReadyRequest": {"name": "string", "version": "string"},
    "ModelReadyResponse": {"ready": "bool"},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": "string", "version": "string", "extensions": "repeated string"},
    "ModelMetadataRequest": {"name": "string", "version": "string"},
    "ModelMetadataResponse": {
        "name": "string", "versions": "repeated string", "platform": "string",
        "inputs": "repeated ModelMetadataResponse.TensorMetadata",
        "outputs": "repeated ModelMetadataResponse.TensorMetadata",
    },
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "ModelInferRequest": {
        "model_name": "string", "model_version": "string", "id": "string", "parameters": _PARAMETERS,
        "inputs": "repeated ModelInferRequest.InferInputTensor",
        "outputs": "repeated ModelInferRequest.InferRequestedOutputTensor", "raw_input_contents": "repeated bytes",
    },
    "ModelInferRequest.InferInputTensor": {**_TENSOR, "parameters": _PARAMETERS, "contents": "InferTensorContents"},
    "ModelInferRequest.InferRequestedOutputTensor": {"name": "string", "parameters": _PARAMETERS},
    "ModelInferResponse": {
        "model_name": "string", "model_version": "string", "id": "string", "parameters": _PARAMETERS,
        "outputs": "repeated ModelInferResponse.InferOutputTensor", "raw_output_contents": "repeated bytes",
    },
    "ModelInferResponse.InferOutputTensor": {**_TENSOR, "parameters": _PARAMETERS, "contents": "InferTensorContents"},
}  # fmt: skip


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="mainspring_inference.proto", package=_PACKAGE, syntax="proto3")
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in _LAYOUT.items():
        outer, _, inner = name.rpartition(".")
        message = made[outer].nested_type.add() if outer else file.message_type.add()
        message.name = inner
        made[name] = message
        for number, (field, kind) in enumerate(fields.items(), start=1):
            _add_field(message, name, field, number, kind)
    parameter = made["InferParameter"]
    parameter.oneof_decl.add(name="parameter_choice")
    for each in parameter.field:
        each.oneof_index = 0
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, of: str, name: str, number: int, kind: str) -> None:
    label, _, base = kind.rpartition(" ")
    field = message.field.add(name=name, number=number, label=_REPEATED if label else _OPTIONAL)
    if label == "map":
        entry = message.nested_type.add(name="".join(map(str.capitalize, name.split("_"))) + "Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_OPTIONAL, type=_SCALARS["string"])
        entry.field.add(name="value", number=2, label=_OPTIONAL, type=_MESSAGE, type_name=f".{_PACKAGE}.{base}")
        field.type, field.type_name = _MESSAGE, f".{_PACKAGE}.{of}.{entry.name}"
    elif base in _SCALARS:
        field.type = _SCALARS[base]
    else:
        field.type, field.type_name = _MESSAGE, f".{_PACKAGE}.{base}"


def _classes() -> dict[str, Any]:  # message classes, which protobuf makes when it is told of them
    pool = descriptor_pool.DescriptorPool()  # of its own: a program that has the protocol's file too must not clash
    pool.Add(_described())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _LAYOUT}


#: Message name to class.
MESSAGES = _classes()
