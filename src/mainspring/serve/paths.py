"""The paths on which predictions are asked for, and what each of them means."""

from typing import NamedTuple
from urllib.parse import parse_qs, unquote_to_bytes

from mainspring.serve.asking import Dialect
from mainspring.serve.dialects import PredictDialect
from mainspring.serve.explaining import ExplainDialect, wants_explanation
from mainspring.serve.invocations import InvocationsDialect
from mainspring.serve.tensors import InferDialect

__all__ = ["PREDICTION_PATHS", "PredictionPaths", "Target"]

#: What a path ends in, by what it begins with; ``GET /`` lists them.
PREDICTION_PATHS = (
    "/models/{model}/predict",
    "/models/{model}/versions/{version}/predict",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
    "/invocations",
    "/models/{model}/invocations",
    "/models/{model}/versions/{version}/invocations",
)
_MOST_KNOWN = 4096


class Target(NamedTuple):
    """What a path and its query ask for; a model without a name is the only one."""

    dialect: Dialect
    model: str
    version: str | None
    query: bytes


class PredictionPaths:
    """Finds what is asked for; the answers are kept, for clients ask the same thing again and again."""

    def __init__(self) -> None:
        self._known: dict[bytes, Target | None] = {}
        self._dialects: dict[tuple[bytes, bytes], Dialect] = {
            (b"models", b"predict"): PredictDialect(),
            (b"v2/models", b"infer"): InferDialect(),
            (b"models", b"invocations"): InvocationsDialect(),
        }
        self._explain = ExplainDialect()

    def find(self, url: bytes) -> Target | None:
        """Return what a raw path with its query asks for; None when it is no prediction path."""
        try:
            return self._known[url]
        except KeyError:
            pass
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        found = self._known[url] = self._parse(url)
        return found

    def _parse(self, url: bytes) -> Target | None:
        path, _, query = url.partition(b"?")
        parts = path.strip(b"/").split(b"/")
        if parts == [b"invocations"]:
            named = parse_qs(query.decode("latin-1")).get("model", [""])
            return Target(self._dialects[b"models", b"invocations"], named[-1], None, query)
        root = 2 if parts[0] == b"v2" else 1
        dialect = self._dialects.get((b"/".join(parts[:root]), parts[-1]))
        if isinstance(dialect, PredictDialect) and wants_explanation(query):
            dialect = self._explain
        names = [unquote_to_bytes(part).decode("utf-8", "replace") for part in parts[root:-1]]
        if dialect is None or not all(names):
            return None
        if len(names) == 1:
            return Target(dialect, names[0], None, query)
        if len(names) == 3 and names[1] == "versions":
            return Target(dialect, names[0], names[2], query)
        return None
