"""The Open Inference Protocol v2 (KServe, Triton): one tensor for each column, as JSON or as bytes behind the JSON.

A model of numbers alone also takes one tensor of shape [rows, columns]. The bytes are the binary tensor extension: the
header ``inference-header-content-length`` says where the JSON ends, and ``binary_data_size`` how long each tensor is.

Source: Open Inference Protocol, https://github.com/kserve/open-inference-protocol; Triton's binary tensor data
extension, https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from mainspring.domain.signature import Column
from mainspring.errors import Invalid
from mainspring.serve import bodies
from mainspring.serve.answers import check_outputs, infer_answer
from mainspring.serve.asking import Ask, Question, Received
from mainspring.serve.dialects import request_id_of
from mainspring.serve.endpoint import LoadedVersion
from mainspring.serve.limits import MOST_TABLE_ROWS, check_size
from mainspring.serve.reply import Reply
from mainspring.serve.wire import InferRequest, Tensor

__all__ = ["InferDialect", "by_column", "tensor_from_bytes", "tensor_to_bytes"]

_LENGTH = b"inference-header-content-length"
_DTYPES = {
    "BOOL": "?",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


class InferDialect:
    """``POST /v2/models/{model}/infer``."""

    is_slow = False

    def request_id(self, body: bytes) -> str | None:
        """See `Dialect.request_id`."""
        return request_id_of(body)

    def read(self, version: LoadedVersion, received: Received, body: bytes) -> Question:
        """See `Dialect.read`."""
        request = _request(received.header(_LENGTH), body)
        check_size(
            max((tensor.shape[0] for tensor in request.inputs if tensor.shape), default=0), "rows", MOST_TABLE_ROWS
        )
        check_outputs(version.decoder.signature, request.outputs)
        decoded = version.decoder.tensors(by_column(request.inputs, version.decoder.signature.columns))
        return Question(request.id, decoded.where, decoded.rows(), wanted=request)

    def answer(self, ask: Ask) -> Reply:
        """See `Dialect.answer`."""
        request: InferRequest = ask.question.wanted
        answer = infer_answer(ask, request.outputs)
        everything = bool((request.parameters or {}).get("binary_data_output"))
        wanted = {each.name: each.parameters or {} for each in request.outputs or ()}
        chunks: list[bytes] = []
        outputs = []
        for output in answer.outputs:
            if wanted.get(output.name, {}).get("binary_data", everything):
                chunks.append(tensor_to_bytes(output.datatype, output.data))
                size = {"binary_data_size": len(chunks[-1])}
                outputs.append(msgspec.structs.replace(output, data=msgspec.UNSET, parameters=size))
            else:
                outputs.append(output)
        head = bodies.encode(msgspec.structs.replace(answer, outputs=outputs))
        if not chunks:
            return Reply(head)
        headers = ((_LENGTH, str(len(head)).encode()),)
        return Reply(b"".join([head, *chunks]), content_type=b"application/octet-stream", headers=headers)


def _request(length: str | None, body: bytes) -> InferRequest:
    if length is None:
        return bodies.decode_infer(body)
    if not (length.isascii() and length.isdigit() and int(length) <= len(body)):
        raise Invalid(
            f"The header says that {length} bytes are JSON, and the body has {len(body)}",
            where=f"header {_LENGTH.decode()}",
            next_step="send the length of the JSON before the tensors' bytes",
        )
    end = int(length)
    request = bodies.decode_infer(body[:end])
    inputs = []
    for at, tensor in enumerate(request.inputs):
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None:
            inputs.append(tensor)
            continue
        where = f"inputs[{at}].parameters.binary_data_size"
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(body) - end:
            raise Invalid(f"{size!r} bytes are not in the rest of the body", where=where)
        data = tensor_from_bytes(tensor, body[end : end + size], where)
        inputs.append(msgspec.structs.replace(tensor, data=data))
        end += size
    if end != len(body):
        raise Invalid(f"{len(body) - end} bytes belong to no tensor", where="body")
    return msgspec.structs.replace(request, inputs=inputs)


def tensor_from_bytes(tensor: Tensor, data: bytes, where: str) -> list[object]:
    """Return the values of a tensor that came as bytes.

    Raises:
        Invalid: they are not of its datatype.
    """
    if tensor.datatype == "BYTES":
        texts: list[object] = []
        at = 0
        while at < len(data):
            if at + 4 > len(data) or at + 4 + (length := struct.unpack_from("<I", data, at)[0]) > len(data):
                raise Invalid("The bytes end within a string", where=where)
            try:
                texts.append(data[at + 4 : at + 4 + length].decode())
            except UnicodeDecodeError as error:
                raise Invalid(f"String {len(texts)} is not UTF-8: {error}", where=where) from error
            at += 4 + length
        return texts
    dtype = _DTYPES.get(tensor.datatype)
    if dtype is None:
        raise Invalid(f"There is no datatype {tensor.datatype}", where=where)
    if len(data) % np.dtype(dtype).itemsize:
        raise Invalid(f"{len(data)} bytes are no whole number of {tensor.datatype}", where=where)
    array = np.frombuffer(data, dtype)
    values: list[object] = array.tolist()
    if array.dtype.kind == "f" and np.isnan(array).any():  # bytes have no null; NaN is the usual gap
        values = [None if value != value else value for value in values]
    return values


def tensor_to_bytes(datatype: str, data: Any) -> bytes:
    """Return values as the bytes of a tensor."""
    if datatype == "BYTES":
        texts = [str(value).encode() for value in data]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.asarray(data, dtype=_DTYPES[datatype]).tobytes()


def by_column(tensors: Sequence[Tensor], columns: Sequence[Column]) -> Sequence[Tensor]:
    """Take one tensor of shape [rows, columns] apart, for models of numbers alone."""
    if len(tensors) != 1 or len(columns) < 2 or len(tensors[0].shape) != 2:
        return tensors
    (whole,) = tensors
    n_rows, width = whole.shape
    flat = [inner for value in whole.data for inner in (value if isinstance(value, list) else [value])]
    numeric = all(column.type in ("number", "integer") for column in columns)
    if not numeric or width != len(columns) or len(flat) != n_rows * width:
        return tensors
    return [Tensor(column.name, [n_rows], whole.datatype, flat[at::width]) for at, column in enumerate(columns)]
