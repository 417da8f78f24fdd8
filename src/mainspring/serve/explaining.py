"""``POST /models/{model}/predict?explain=true``: the answer, and what each column added to its score.

An explanation costs hundreds of predictions, so it has a time budget (``&explain_ms=200``), is made in a thread and not
in the event loop, and is for few rows. What it compares with is the example row of the model's signature.
"""

from typing import Any
from urllib.parse import parse_qs

from mainspring.bundle.explanation import explain
from mainspring.errors import Invalid
from mainspring.serve import bodies
from mainspring.serve.answers import predict_answer
from mainspring.serve.asking import Ask, Question, Received
from mainspring.serve.dialects import ARROW, CSV, PredictDialect
from mainspring.serve.endpoint import LoadedVersion
from mainspring.serve.limits import check_size
from mainspring.serve.reply import Reply
from mainspring.serve.streaming import STREAM
from mainspring.serve.wire import ExplainedAnswer, ExplainedPrediction, Explanation

__all__ = ["MOST_MS", "USUAL_MS", "ExplainDialect", "wants_explanation"]

_MOST_ROWS = 100
#: The time budget of an explanation in milliseconds, where none is asked for and at most.
USUAL_MS, MOST_MS = 200, 10_000


def wants_explanation(query: bytes) -> bool:
    """Whether the query of a predict path asks for an explanation; any value but an empty or a false one does."""
    return b"explain" in query and _values(query).get("explain", "false").lower() not in ("", "0", "false", "no")


class ExplainDialect:
    """Asks as `PredictDialect` does, in JSON, and answers with contributions."""

    is_slow = True

    def __init__(self) -> None:
        self._plain = PredictDialect()

    def request_id(self, body: bytes) -> str | None:
        """See `Dialect.request_id`."""
        return self._plain.request_id(body)

    def read(self, version: LoadedVersion, received: Received, body: bytes) -> Question:
        """See `Dialect.read`."""
        if received.content_type in (CSV, ARROW, STREAM):
            raise Invalid("Explanations come in JSON", where="query explain", next_step="send rows as JSON")
        _seconds(received.query)
        signature = version.predictor.signature
        if signature.example.keys() < set(signature.names):
            raise Invalid(
                "The model cannot be explained: its signature has no example row to compare with",
                where="query explain",
                next_step="give the signature an example when the model is packed, or ask without `explain`",
            )
        question = self._plain.read(version, received, body)
        check_size(question.n_rows, "rows to explain", _MOST_ROWS)
        return question

    def answer(self, ask: Ask) -> Reply:
        """See `Dialect.answer`; takes as long as the budget of the query says."""
        predictor = ask.loaded.predictor
        columns = ask.loaded.typed.block(ask.question.rows or []).columns
        found = explain(predictor, columns, seconds=_seconds(ask.received.query))
        plain = predict_answer(ask)
        predictions = []
        for row, each in enumerate(plain.predictions):
            errors = _named(found.columns, found.errors[row]) if found.passes[row] else None
            named = _named(found.columns, found.contributions[row])
            predictions.append(ExplainedPrediction(each.id, each.score, each.label, named, errors))
        reference = {name: predictor.signature.example[name] for name in found.columns}
        about = Explanation(found.base.tolist(), reference, list(found.passes))
        answer = ExplainedAnswer(
            plain.model, plain.version, plain.route, predictions, about, plain.trace_id, plain.warnings, plain.id
        )
        return Reply(bodies.encode(answer))


def _named(names: tuple[str, ...], values: Any) -> dict[str, Any]:  # an array: a number, or one a class, a column
    return dict(zip(names, values.tolist(), strict=True))


def _values(query: bytes) -> dict[str, str]:
    return {name: given[-1] for name, given in parse_qs(query.decode("latin-1"), keep_blank_values=True).items()}


def _seconds(query: bytes) -> float:
    text = _values(query).get("explain_ms", str(USUAL_MS))
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MOST_MS):
        raise Invalid(
            f"`{text}` is no time budget",
            where="query explain_ms",
            next_step=f"whole milliseconds, at most {MOST_MS}: explain_ms={USUAL_MS}",
        )
    return int(text) / 1000
