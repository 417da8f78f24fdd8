"""What is looked at in the bytes of an ONNX model before a runtime reads them: that it points at no other file.

A tensor of such a model may lie in a file beside it, named by a path of the writer's choice; a runtime would open it.
A bundle's model holds all that it is. The layout is walked here, as onnxruntime brings no reader of its own.
Source: onnx/onnx.proto3 (IR version 13) and the Protocol Buffers wire format, section "Message Structure".
"""

from collections.abc import Iterator

from mainspring.errors import Corrupt, Refused

__all__ = ["check_onnx"]

#: What lies in each kind of message: the field's number and the kind of message that it holds.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10


def check_onnx(data: bytes) -> None:
    """Check that the bytes are an ONNX model which names no file outside of itself.

    Raises:
        Corrupt: they are no such message, or were cut off.
        Refused: a tensor of it lies in another file.
    """
    waiting = [("model", memoryview(data))]
    graphs = 0
    while waiting:
        kind, message = waiting.pop()
        graphs += kind == "graph"
        for field, value in _fields_of(message):
            if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value)):
                raise Refused(
                    "The ONNX model keeps a tensor in another file",
                    where="model.onnx",
                    next_step="save it in one piece: onnx.save(model, path, save_as_external_data=False)",
                )
            inner = _FIELDS[kind].get(field)
            if inner is not None:
                if not isinstance(value, memoryview):
                    raise _corrupt()
                waiting.append((inner, value))
    if not graphs:
        raise _corrupt()


def _fields_of(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, wire = key >> 3, key & 7
        value: memoryview | int
        if wire == _VARINT:
            value, at = _varint(message, at)
        elif wire == _LENGTH:
            size, at = _varint(message, at)
            value = message[at : at + size]
            at += size
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            value = 0
            at += 8 if wire == _EIGHT_BYTES else 4
        else:
            raise _corrupt()
        if at > len(message) or not field:
            raise _corrupt()
        yield field, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise _corrupt()


def _corrupt() -> Corrupt:
    return Corrupt("These bytes are not an ONNX model", where="model.onnx", next_step="export the model anew")
