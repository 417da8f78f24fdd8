"""The ways to ask on the wire: our own rows, and Open Inference tensors. Bodies to questions, and answers to bodies."""

from typing import Any

import msgspec

from mainspring.serve import bodies
from mainspring.serve.answers import check_outputs, infer_answer, predict_answer
from mainspring.serve.asking import Ask, Question, Received
from mainspring.serve.endpoint import LoadedVersion
from mainspring.serve.limits import check_size
from mainspring.serve.reply import Reply

__all__ = ["InferDialect", "PredictDialect"]


class _Named(msgspec.Struct, gc=False):
    id: Any = None  # Any: what is wrong with it is told by whoever reads the rest


_named = msgspec.json.Decoder(_Named)


def _request_id(body: bytes) -> str | None:
    try:
        found = _named.decode(body).id
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return found if isinstance(found, str) else None


def _row_place(name: str, row: int) -> str:
    return f"rows[{row}].{name}"


class PredictDialect:
    """Rows as JSON objects: ``POST /models/{model}/predict``."""

    def request_id(self, body: bytes) -> str | None:
        """See `Dialect.request_id`."""
        return _request_id(body)

    def read(self, version: LoadedVersion, received: Received, body: bytes) -> Question:
        """See `Dialect.read`."""
        found = version.typed.read(body)
        if found is not None:
            check_size(len(found[0]), "rows")
            return Question(found[1], _row_place, found[0])
        request = bodies.decode_predict(body)
        check_size(len(request.rows), "rows")
        return Question(request.id, _row_place, version.decoder.rows(request.rows).rows())

    def answer(self, ask: Ask) -> Reply:
        """See `Dialect.answer`."""
        return Reply(bodies.encode(predict_answer(ask)))


class InferDialect:
    """Tensors as JSON, one for each column: ``POST /v2/models/{model}/infer``."""

    def request_id(self, body: bytes) -> str | None:
        """See `Dialect.request_id`."""
        return _request_id(body)

    def read(self, version: LoadedVersion, received: Received, body: bytes) -> Question:
        """See `Dialect.read`."""
        request = bodies.decode_infer(body)
        check_size(max((len(tensor.data) for tensor in request.inputs), default=0), "rows")
        check_outputs(version.decoder.signature, request.outputs)
        decoded = version.decoder.tensors(request.inputs)
        return Question(request.id, decoded.where, decoded.rows(), wanted=request.outputs)

    def answer(self, ask: Ask) -> Reply:
        """See `Dialect.answer`."""
        return Reply(bodies.encode(infer_answer(ask)))
