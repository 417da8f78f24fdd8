"""Our own way to ask: rows as JSON objects, or the same table as CSV or Arrow. Bodies to questions, answers to bodies.

The content type of the body decides, and the answer comes in the same one. `tensors` and `invocations` are the ways of
others.
"""

import csv
import io
from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec

from mainspring.domain.signature import Column, Signature
from mainspring.errors import Invalid, MissingExtra
from mainspring.serve import bodies
from mainspring.serve.answers import predict_answer
from mainspring.serve.asking import Ask, Question, Received
from mainspring.serve.endpoint import LoadedVersion
from mainspring.serve.limits import MOST_TABLE_ROWS, check_size
from mainspring.serve.reply import Reply
from mainspring.serve.wire import Prediction

__all__ = ["ARROW", "CSV", "PredictDialect", "csv_values", "request_id_of"]

CSV, ARROW = b"text/csv", b"application/vnd.apache.arrow.stream"


class _Named(msgspec.Struct, gc=False):
    id: Any = None  # Any: what is wrong with it is told by whoever reads the rest


_named = msgspec.json.Decoder(_Named)


def request_id_of(body: bytes) -> str | None:
    """Return the `id` of a JSON body, skipping the rest; None when it has none."""
    try:
        found = _named.decode(body).id
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return found if isinstance(found, str) else None


def _row_place(name: str, row: int) -> str:
    return f"rows[{row}].{name}"


class PredictDialect:
    """``POST /models/{model}/predict``."""

    is_slow = False

    def request_id(self, body: bytes) -> str | None:
        """See `Dialect.request_id`."""
        return request_id_of(body)

    def read(self, version: LoadedVersion, received: Received, body: bytes) -> Question:
        """See `Dialect.read`."""
        kind = received.content_type
        if kind in (CSV, ARROW):
            signature = version.decoder.signature
            values = csv_values(body, signature) if kind == CSV else _arrow_values(body, signature)
            check_size(max(map(len, values.values()), default=0), "rows", MOST_TABLE_ROWS)
            return Question(None, _row_place, version.decoder.columns(values, _row_place).rows(), wanted=kind)
        found = version.typed.read(body)
        if found is not None:
            check_size(len(found[0]), "rows")
            return Question(found[1], _row_place, found[0])
        request = bodies.decode_predict(body)
        check_size(len(request.rows), "rows")
        rows, lookups = request.rows, None
        if version.lookup is not None and rows:
            rows, lookups = version.lookup.fill(rows)
        return Question(request.id, _row_place, version.decoder.rows(rows).rows(), lookups=lookups)

    def answer(self, ask: Ask) -> Reply:
        """See `Dialect.answer`."""
        if ask.question.wanted is None:
            return Reply(bodies.encode(predict_answer(ask)))
        answer = predict_answer(ask)
        headers = (
            (b"x-model-version", str(answer.version).encode()),
            (b"x-trace-id", answer.trace_id.encode()),
            (b"x-warnings", str(sum(ask.warning_counts.values())).encode()),
        )
        table = _table(answer.predictions, ask.loaded.predictor.signature)
        if ask.question.wanted == CSV:
            return Reply(_as_csv(table), content_type=CSV + b"; charset=utf-8", headers=headers)
        return Reply(_as_arrow(table), content_type=ARROW, headers=headers)


def csv_values(body: bytes, signature: Signature) -> dict[str, list[object]]:
    """Return the columns of a CSV file with a header, each value as JSON would hold it; an empty field is missing.

    What is not of its column's type stays text, and is told by whoever checks it.

    Raises:
        Invalid: it is no CSV file in UTF-8, has no rows, or a row has another number of fields than the header.
    """
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Invalid(f"The body is not CSV in UTF-8: {error}", where="body") from error
    lines = [line for line in lines if line]
    if len(lines) < 2:
        raise Invalid("There are no rows to score", where="rows", next_step="send a header and at least one line")
    header, rows = lines[0], lines[1:]
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise Invalid(
                f"{len(row)} fields, and the header has {len(header)}",
                where=f"rows[{number}]",
                next_step="quote fields that hold a comma",
            )
    kinds = {column.name: column for column in signature.columns}
    texts = zip(*rows, strict=True)
    return {name: [_from_text(text, kinds.get(name)) for text in column] for name, column in zip(header, texts)}  # noqa: B905  # checked above


def _from_text(text: str, column: Column | None) -> object:
    if not text:
        return None
    if column is None or column.type in ("string", "timestamp"):
        return text
    if column.type == "boolean":
        return {"true": True, "false": False, "1": True, "0": False}.get(text.lower(), text)
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _arrow_values(body: bytes, signature: Signature) -> dict[str, list[object]]:
    try:
        import pyarrow as pa  # heavy and optional
    except ImportError as error:
        raise MissingExtra.of("arrow", "pyarrow", "Reading Arrow bodies") from error
    try:
        with pa.ipc.open_stream(body) as stream:
            table = stream.read_all()
    except (pa.ArrowException, OSError) as error:
        raise Invalid(f"The body is not an Arrow stream: {error}", where="body") from error
    values: dict[str, list[object]] = {name: table[name].to_pylist() for name in table.column_names}
    for column in signature.columns:
        if column.type == "timestamp" and column.name in values:
            values[column.name] = [
                value.isoformat() if isinstance(value, date) else value for value in values[column.name]
            ]
        elif column.type == "number" and column.name in values:  # of a table, NaN is the usual gap
            values[column.name] = [None if value != value else value for value in values[column.name]]
    return values


def _table(predictions: Sequence[Prediction], signature: Signature) -> dict[str, list[Any]]:
    """Return predictions as columns; a multiclass model has one score for each class."""
    table: dict[str, list[Any]] = {"id": [each.id for each in predictions]}
    if signature.task == "multiclass":
        for at, name in enumerate(signature.classes):
            table[f"score_{name}"] = [each.score[at] for each in predictions if isinstance(each.score, list)]
    else:
        table["score"] = [each.score for each in predictions]
    if signature.task != "regression":
        table["label"] = [each.label for each in predictions]
    return table


def _as_csv(table: dict[str, list[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue().encode()


def _as_arrow(table: dict[str, list[Any]]) -> bytes:
    import pyarrow as pa  # heavy and optional; here it is, for it has read the question

    made = pa.table(table)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)
    return bytes(sink.getvalue())
