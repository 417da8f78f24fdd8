"""The bodies of requests and answers, as typed structs. Server and client read the same ones.

Two dialects: ours (rows as objects) and Open Inference Protocol v2 (one tensor a column). Nothing here looks into the
values; `decode` does, by the model's signature.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

__all__ = [
    "Answer",
    "ExplainedAnswer",
    "ExplainedPrediction",
    "Explanation",
    "Feedback",
    "FeedbackAnswer",
    "InferAnswer",
    "InferRequest",
    "Label",
    "OutputTensor",
    "PredictRequest",
    "Prediction",
    "Row",
    "Tensor",
    "WantedOutput",
    "Warn",
]

#: One row: column name to JSON value. Anything at all may come in.
Row = dict[str, object]


class PredictRequest(msgspec.Struct, frozen=True):
    """``POST /models/{m}/predict``. A bare list of rows is taken too."""

    rows: list[Row]
    id: str | None = None


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row's answer: a probability (binary), probabilities in class order (multiclass) or a value (regression)."""

    id: str
    score: float | list[float]
    label: str | None = None


class Warn(msgspec.Struct, frozen=True):
    """A value that was served although training never saw its like, or although it breaks a rule of the schema."""

    kind: Literal["missing_value", "unknown_category", "out_of_range", "broken_rule"]
    where: str
    what: str


class Answer(msgspec.Struct, frozen=True):
    """The answer to a predict request; `warnings` lists the first ones.

    `trace_id` is the client's (W3C Trace Context), or the id of the first prediction.
    """

    model: str
    version: int
    route: Literal["champion", "canary", "shadow"]
    predictions: list[Prediction]
    trace_id: str = ""
    warnings: Sequence[Warn] = ()
    id: str | None = None


class ExplainedPrediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row's answer with what each column added to its score: a number, or one for each class.

    `errors` are the standard errors of the contributions, null where one pass was all that the time allowed; without
    them the contributions are exact.
    """

    id: str
    score: float | list[float]
    label: str | None
    contributions: dict[str, float | list[float]]
    errors: dict[str, float | list[float | None] | None] | None = None


class Explanation(msgspec.Struct, frozen=True):
    """What contributions are counted from: the score of the `reference` row. `passes` over the columns, 0 for exact."""

    base: float | list[float]
    reference: dict[str, Any]  # Any: JSON values
    passes: list[int]


class ExplainedAnswer(msgspec.Struct, frozen=True):
    """The answer to a predict request with ``?explain=true``; base + contributions = score, for each row."""

    model: str
    version: int
    route: Literal["champion", "canary", "shadow"]
    predictions: list[ExplainedPrediction]
    explanation: Explanation
    trace_id: str = ""
    warnings: Sequence[Warn] = ()
    id: str | None = None


class Label(msgspec.Struct, frozen=True):
    """What came true for the prediction `id`."""

    id: str
    label: str | bool | float


class Feedback(msgspec.Struct, frozen=True):
    """``POST /feedback``. `at` is when the labels came true (ISO 8601 with a zone), now by default."""

    model: str
    labels: list[Label]
    at: str | None = None
    source: str | None = None


class FeedbackAnswer(msgspec.Struct, frozen=True):
    """How many labels were written down."""

    accepted: int


class Tensor(msgspec.Struct, frozen=True):
    """One column of an Open Inference request; `data` may be flat or nested by its shape."""

    name: str
    shape: list[int]
    datatype: str
    data: list[object] = []
    parameters: dict[str, object] | None = None


class WantedOutput(msgspec.Struct, frozen=True):
    """An output that the client asks for by name."""

    name: str
    parameters: dict[str, object] | None = None


class InferRequest(msgspec.Struct, frozen=True):
    """``POST /v2/models/{m}/infer``."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[WantedOutput] | None = None
    parameters: dict[str, object] | None = None


class OutputTensor(msgspec.Struct, frozen=True, omit_defaults=True):
    """One output of an Open Inference answer, flat in row order; without data when its bytes stand behind the JSON."""

    name: str
    datatype: str
    shape: list[int]
    data: Sequence[float | str] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, int] | None = None


class InferAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to an Open Inference request; `parameters` holds the prediction ids, the route and the warnings."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    parameters: dict[str, object] = {}
    id: str | None = None
