"""What a metadata backend must do: read, record what was seen, and change what is so.

A room owns its tables and writes their SQL by hand with ``?`` placeholders, in the subset that SQLite and Postgres
share (see `_dialect`; say NULLS FIRST or LAST where an order can meet a NULL, write truths as ``= 1``, types in
capitals); no other room reads them. A write runs alone: no other changes the database between its first statement and
its commit, in any process. `change` takes the audit event, so a state change without one cannot be written.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

from mainspring.store.events import Event

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["EventOf", "Examined", "Row", "Store", "Transaction", "Value"]

T = TypeVar("T")

#: What a column can hold. Moments are ISO 8601 text, ids and digests are hexadecimal text, documents are JSON text.
Value = str | int | float | bytes | None
#: One result row; `Any` because the columns of a query are known to its owner, not to the store.
Row = tuple[Any, ...]
#: The event of a change, or what makes it of the change's result; None says that nothing was changed.
EventOf: TypeAlias = Event | Callable[[T], Event | None]


class Examined(NamedTuple):
    """What a person's own query came to; `complete` says whether these are all of its rows."""

    columns: tuple[str, ...]
    rows: list[Row]
    complete: bool


class Transaction(Protocol):
    """One atomic set of writes: all of it is kept, or none."""

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement and return its rows (empty for a write without RETURNING)."""

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement for each row of parameters."""


class Store(Protocol):
    """The metadata database of one workspace. Every method may be called from any thread."""

    def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Return the rows of a query; it sees every write that was acknowledged before the call."""

    def snapshot(self, look: Callable[[Transaction], T]) -> T:
        """Return what `look` finds; all its queries see the facts of one instant, and hold up no writer.

        It cannot write, and may be run again where a connection was lost.
        """

    def examine(
        self, sql: str, tables: Collection[str], *, seconds: float, limit: int, by_stranger: bool = False
    ) -> Examined:
        """Run a query that a person wrote: it reads and does nothing else, for so long, for so many rows.

        `by_stranger` is one who does not hold the database's own password: a backend that cannot keep the query to
        `tables` refuses it.

        Raises:
            Invalid: the database cannot read the query, or it asks for what it may not.
            Unavailable: it took too long, or this backend takes none from strangers.
        """

    def record(self, write: Callable[[Transaction], T]) -> T:
        """Write facts that were observed (metrics, step results, log segments): durable at return, not audited."""

    def change(self, event: EventOf[T], write: Callable[[Transaction], T]) -> T:
        """Make a state change together with its audit event, in one transaction: both are kept or neither.

        `event` may be made of what `write` returned, for a change that learns inside the transaction what it does.
        Where it is None nothing happened: what `write` wrote is undone, and its result is returned all the same.
        """

    def submit(self, write: Callable[[Transaction], T], event: EventOf[T] | None = None) -> "Future[T]":
        """Queue a write as `record` makes it, or as `change` does with `event`, and return without waiting.

        The future is answered when the write is durable, by a thread of the store: an asyncio server awaits
        ``asyncio.wrap_future(store.submit(...))`` and needs no thread for each request. Writes are kept in the order in
        which they were submitted. Cancelling drops a write that has not begun.
        """

    def close(self) -> None:
        """Finish what is queued and let go of the database."""
