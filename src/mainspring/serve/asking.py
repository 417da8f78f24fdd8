"""One request on its way through the server: what came, what it asks, what the model said, and how the client is told.

The values here are mutable for one reason only: a request passes through the queue of its model, and what was found out
about it travels with it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mainspring.serve.reply import Reply, Tell
from mainspring.serve.routes import Route
from mainspring.serve.typed import ColumnBlock, RowValues
from mainspring.serve.wire import Warn

if TYPE_CHECKING:
    from mainspring.predictions.records import FeatureLookup
    from mainspring.serve.endpoint import Active, LoadedVersion

__all__ = ["Ask", "Dialect", "Question", "Received"]


class Received(NamedTuple):
    """What came beside the body: the path's model and version, the headers, the query, and when it was all here.

    `is_chunk` says that these are lines of a stream: all their warnings are told, and where they are refused each is
    asked by itself, so that only its own refusal counts.
    """

    model: str
    version: str | None
    headers: Mapping[bytes, bytes]
    started: float
    query: bytes = b""
    consumer: str = ""
    is_chunk: bool = False

    @property
    def content_type(self) -> bytes:
        """The kind of the body, without its parameters."""
        given = self.headers.get(b"content-type")
        return b"" if given is None else given.partition(b";")[0].strip().lower()

    def header(self, name: bytes) -> str | None:
        """Return a header as text; names are in lower case."""
        found = self.headers.get(name)
        return None if found is None else found.decode("latin-1")


class Question(NamedTuple):
    """What the body asks for, as values that fit the version's signature.

    Either `rows`, or `block` for bodies that come as columns anyway. `where` names the place of a value in the client's
    own words; `wanted` is what a dialect remembers for its answer, `lookups` what was looked up for each row.
    """

    request_id: str | None
    where: Callable[[str, int], str]
    rows: list[RowValues] | None = None
    block: ColumnBlock | None = None
    wanted: Any = None  # Any: each dialect its own
    lookups: "list[dict[str, FeatureLookup]] | None" = None

    @property
    def n_rows(self) -> int:
        """How many rows it asks about."""
        return len(self.rows) if self.rows is not None else self.block.n_rows if self.block is not None else 0


class Dialect(Protocol):
    """One way to ask on the wire."""

    @property
    def is_slow(self) -> bool:
        """Whether answers take long to put together: they are then made in a thread, a few at a time."""

    def request_id(self, body: bytes) -> str | None:
        """Return the client's id for the request, without reading the rest; None when it has none."""

    def read(self, version: "LoadedVersion", received: Received, body: bytes) -> Question:
        """Return what is asked of this version.

        Raises:
            MainspringError: the body does not fit; the error says where.
        """

    def answer(self, ask: "Ask") -> Reply:
        """Return the answer to what was asked."""


@dataclass(slots=True, eq=False)
class Ask:
    """A request in the queue of a version."""

    received: Received
    dialect: Dialect
    body: bytes
    question: Question
    active: "Active"
    route: Route
    loaded: "LoadedVersion"
    tell: Tell
    event_at: str | None
    deadline: float
    n_rows: int
    ids: list[str]
    scores: Sequence[Any] = ()  # Any: a number a row, or one for each class
    labels: Sequence[str] | None = None
    read_at: float = 0.0  # when its body was decoded, where somebody asks
    beside: "Ask | None" = None  # for a shadow: what was answered
    warnings: Sequence[Warn] = ()
    warning_counts: Mapping[str, int] = field(default_factory=dict)
    broken_rules: Mapping[tuple[str, str], int] = field(default_factory=dict)  # rows by rule and severity

    @property
    def trace_id(self) -> str:
        """The client's trace (W3C Trace Context), or the id of the first row, which is as good."""
        return self.client_trace or self.ids[0]

    @property
    def client_trace(self) -> str | None:
        """The trace that the client's ``traceparent`` header names."""
        given = self.received.headers.get(b"traceparent")
        if given is None:
            return None
        parts = given.split(b"-")
        well = len(parts) >= 4 and len(parts[1]) == 32 and parts[1].isalnum() and parts[1].strip(b"0")
        return parts[1].decode("latin-1").lower() if well else None
