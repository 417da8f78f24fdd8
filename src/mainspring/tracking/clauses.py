"""Pieces of SQL with their parameters, and pages by place: what every search is put together from.

Only our own words become part of a statement; values travel as parameters. A page begins behind the place of the last
row of the page before, so that it costs what it holds, wherever it lies; the place is the page's token.
"""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mainspring.errors import Invalid
from mainspring.store.protocol import Row, Store, Value
from mainspring.tracking.filters import All, Comparison, Condition, Not

__all__ = ["Clause", "Key", "Walk", "among", "clause_of", "compared", "place_of", "token_of", "visit"]

#: Patterns have no escape character; the databases want to be told one.
_ESCAPE = "\x01"


class Clause(NamedTuple):
    """A piece of SQL with its parameters; an empty one holds everywhere."""

    sql: str
    values: tuple[Value, ...] = ()

    def and_(self, other: "Clause") -> "Clause":
        """Return a clause that holds where both do."""
        if not self.sql or not other.sql:
            return other if not self.sql else self
        return Clause(f"{self.sql} AND {other.sql}", (*self.values, *other.values))

    def or_(self, other: "Clause") -> "Clause":
        """Return a clause that holds where one of the two does."""
        return Clause(f"({self.sql} OR {other.sql})", (*self.values, *other.values))

    def then(self, other: "Clause") -> "Clause":
        """Return this text and the other one behind it."""
        return Clause(self.sql + other.sql, (*self.values, *other.values))


class Key(NamedTuple):
    """One key of an order: an expression that is never NULL, and its direction."""

    sql: str
    ascending: bool
    values: tuple[Value, ...] = ()


class Walk(NamedTuple):
    """One way to visit rows in order: which column names them, where from, under which condition, by which keys."""

    name: str
    source: Clause
    where: Clause
    keys: tuple[Key, ...]


def clause_of(condition: Condition, leaf: Callable[[Comparison], Clause]) -> Clause:
    """Return a filter as a clause; `leaf` says what one comparison means."""
    if isinstance(condition, Comparison):
        return leaf(condition)
    if isinstance(condition, Not):
        inner = clause_of(condition.part, leaf)
        return Clause(f"NOT ({inner.sql or '1 = 1'})", inner.values)
    joined = Clause("")
    for number, part in enumerate(condition.parts):
        clause = clause_of(part, leaf)
        joined = clause if number == 0 else joined.and_(clause) if isinstance(condition, All) else joined.or_(clause)
    return joined


def compared(column: str, operator: str, value: str | float | tuple[Value, ...] | None) -> Clause:
    """Return a column beside a value. LIKE heeds case, ILIKE does not."""
    if isinstance(value, tuple):
        return Clause(f"{column} {operator} ({','.join('?' * len(value))})", value)
    if operator == "ILIKE":
        return Clause(f"lower({column}) LIKE lower(?) ESCAPE '{_ESCAPE}'", (value,))
    escape = f" ESCAPE '{_ESCAPE}'" if operator == "LIKE" else ""
    return Clause(f"{column} {operator} ?{escape}", (value,))


def among(column: str, values: Sequence[Value]) -> Clause:
    """Return a column that has one of some values."""
    if len(values) == 1:
        return Clause(f"{column} = ?", (values[0],))
    return Clause(f"{column} IN ({','.join('?' * len(values))})", tuple(values))


def visit(store: Store, walk: Walk, after: Sequence[Any] | None, limit: int) -> list[Row]:
    """Return rows in order behind the place `after`: the name of each, then its keys, which are its own place."""
    where = walk.where if after is None else walk.where.and_(_behind(walk.keys, after))
    selected = "".join(f", {key.sql}" for key in walk.keys)
    order = ", ".join(f"{key.sql} {'ASC' if key.ascending else 'DESC'}" for key in walk.keys)
    of_keys = [value for key in walk.keys for value in key.values]
    return store.read(
        f"SELECT {walk.name}{selected} FROM {walk.source.sql} WHERE {where.sql or '1 = 1'} ORDER BY {order} LIMIT ?",
        (*of_keys, *walk.source.values, *where.values, *of_keys, limit),
    )


def token_of(place: Sequence[Value]) -> str:
    """Return a place as the token of the page that follows."""
    return base64.urlsafe_b64encode(json.dumps(list(place), separators=(",", ":")).encode()).decode()


def place_of(token: str) -> list[Any]:
    """Return the place that a token holds.

    Raises:
        Invalid: it holds none.
    """
    try:
        place = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, UnicodeError, RecursionError) as error:
        raise _bad_token() from error
    if not isinstance(place, list) or not all(_is_place(each) for each in place):
        raise _bad_token()
    return place


def _is_place(value: object) -> bool:
    return isinstance(value, str | float) or (isinstance(value, int) and abs(value) < 1 << 63)


def _behind(keys: Sequence[Key], after: Sequence[Any]) -> Clause:
    """Say that a row comes behind a place: greater in the first key, or equal there and behind in the rest.

    The first key's bound is said once more by itself, since that is what an index can begin from.
    """
    if len(after) != len(keys):
        raise _bad_token()
    clause = Clause("")
    for key, value in reversed(list(zip(keys, after, strict=True))):
        beyond = Clause(f"{key.sql} {'>' if key.ascending else '<'} ?", (*key.values, value))
        if clause.sql:
            beyond = beyond.or_(Clause(f"{key.sql} = ?", (*key.values, value)).and_(clause))
        clause = beyond
    first = keys[0]
    return Clause(f"{first.sql} {'>=' if first.ascending else '<='} ?", (*first.values, after[0])).and_(clause)


def _bad_token() -> Invalid:
    return Invalid("Invalid page token", where="page_token", next_step="use the token of the page before, same search")
