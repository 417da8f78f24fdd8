"""MLflow's way to ask: ``POST /invocations`` in all its shapes, such that its clients need no change.

JSON with ``dataframe_split``, ``dataframe_records``, ``instances`` or ``inputs``, or CSV. As in MLflow, columns that
the model does not know are left aside, and a classifier answers its classes; ``"params": {"predict_method":
"predict_proba"}`` asks for the probabilities in the order of the classes.

Source: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally (Accepted Input Formats)
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mainspring.errors import Invalid
from mainspring.serve import bodies
from mainspring.serve.asking import Ask, Question, Received
from mainspring.serve.dialects import CSV, csv_values
from mainspring.serve.endpoint import LoadedVersion
from mainspring.serve.limits import MOST_TABLE_ROWS, check_size
from mainspring.serve.reply import Reply

__all__ = ["InvocationsDialect"]

_SHAPES = ("dataframe_split", "dataframe_records", "instances", "inputs")
_Values = dict[str, list[object]]


class _Split(msgspec.Struct):
    data: list[list[object]]
    columns: list[str]
    index: Any = None  # Any: rows have no names here


class _Request(msgspec.Struct):
    dataframe_split: _Split | None = None
    dataframe_records: list[dict[str, object]] | None = None
    instances: list[Any] | dict[str, list[Any]] | None = None  # Any: objects, lists or scalars
    inputs: list[Any] | dict[str, list[Any]] | None = None
    params: dict[str, object] | None = None


_request = msgspec.json.Decoder(_Request)


class InvocationsDialect:
    """``POST /invocations``."""

    is_slow = False

    def request_id(self, body: bytes) -> str | None:
        """See `Dialect.request_id`; MLflow's requests have none."""
        return None

    def read(self, version: LoadedVersion, received: Received, body: bytes) -> Question:
        """See `Dialect.read`."""
        signature = version.decoder.signature
        if received.content_type == CSV:
            values, root, params = csv_values(body, signature), "rows", None
        else:
            request = bodies.decode_as(_request, body)
            values, root = _values(request, signature.names)
            params = request.params
        names = set(signature.names)
        values = {name: column for name, column in values.items() if name in names}
        check_size(max(map(len, values.values()), default=0), "rows", MOST_TABLE_ROWS)

        def place(name: str, row: int) -> str:
            return f"{root}[{row}].{name}"

        method = (params or {}).get("predict_method", "predict")
        if method not in ("predict", "predict_proba"):
            raise Invalid(
                f"{method!r} is no way to predict", where="params.predict_method", next_step="predict or predict_proba"
            )
        return Question(None, place, version.decoder.columns(values, place).rows(), wanted=method)

    def answer(self, ask: Ask) -> Reply:
        """See `Dialect.answer`."""
        scores = ask.scores
        signature = ask.loaded.predictor.signature
        predictions: Sequence[Any] = scores  # Any: what MLflow's clients expect
        if signature.task != "regression":
            if ask.question.wanted == "predict_proba":
                predictions = [[1 - score, score] for score in scores] if signature.task == "binary" else scores
            else:
                meant = _meaning(signature.classes)
                predictions = [meant(label) for label in ask.labels or ()]
        return Reply(
            bodies.encode(
                {
                    "predictions": predictions,
                    "prediction_ids": ask.ids,
                    "model_version": str(ask.route.version),
                    "trace_id": ask.trace_id,
                }
            )
        )


def _values(request: _Request, names: tuple[str, ...]) -> tuple[_Values, str]:
    """Return the columns, and the path at which a row stands."""
    given = [shape for shape in _SHAPES if getattr(request, shape) is not None]
    if len(given) != 1:
        raise Invalid(
            f"The body has {' and '.join(given) or 'none'} of {', '.join(_SHAPES)}",
            where="body",
            next_step="send exactly one of them",
        )
    (shape,) = given
    if request.dataframe_split is not None:
        split = request.dataframe_split
        return _from_lines(split.data, tuple(split.columns), "dataframe_split.data"), "dataframe_split.data"
    rows: Any = getattr(request, shape)
    if isinstance(rows, dict):
        return {name: _unnested(column) for name, column in rows.items()}, shape
    if rows and all(isinstance(row, dict) for row in rows):
        present = list(dict.fromkeys(name for row in rows for name in row))
        return {name: [row.get(name) for row in rows] for name in present}, shape
    if len(names) == 1 and not any(isinstance(row, list) for row in rows):
        return {names[0]: list(rows)}, shape
    return _from_lines(rows, names, shape), shape


def _from_lines(rows: list[Any], names: tuple[str, ...], where: str) -> _Values:
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            found = f"{len(row)} values" if isinstance(row, list) else "no list of values"
            raise Invalid(f"{found}, and there are {len(names)} columns", where=f"{where}[{number}]")
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def _unnested(column: list[Any]) -> list[Any]:
    """Undo the shape [n, 1] that tensors come in."""
    return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in column]


def _meaning(classes: tuple[str, ...]) -> Callable[[str], object]:
    """Return what turns a class's name back into what the model said: a number, a truth value, or the name itself."""
    if set(classes) <= {"True", "False"}:
        return lambda name: name == "True"
    for kind in (int, float):
        try:
            if [str(kind(name)) for name in classes] == list(classes):
                return kind
        except ValueError:
            continue
    return str
