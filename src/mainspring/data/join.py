"""Joins that account for every row, and as-of joins that cannot see the future.

A left table keeps exactly its rows, in its order; what the right table could not give is missing and counted. The
engine sees keys and times only and answers with row numbers, so that no value changes on its way through a join.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import Columns, columns_of, connect, n_rows
from mainspring.domain.moments import parse_duration
from mainspring.errors import Invalid, nearest

if TYPE_CHECKING:
    import duckdb

__all__ = ["Cardinality", "Duplicates", "Joined", "Orphans", "join_asof", "join_lookup"]

Cardinality = Literal["many-to-one", "one-to-one"]
Duplicates = Literal["refuse", "first", "last"]
Orphans = Literal["keep", "drop", "refuse"]
_SIDES = {"l": "left", "r": "right"}

#: Above this, whole numbers that differ can be the same float64, and rows would find partners that are not theirs.
_LARGEST_KEY = 2.0**53


@dataclass(frozen=True, slots=True)
class Joined:
    """The left rows with the right columns beside them, and the account of the join.

    `matched` left rows found a partner and `orphans` did not (they are not in `columns` if they were dropped);
    `duplicates` right rows had a key that another right row was taken for.
    """

    columns: Columns
    matched: int
    orphans: int
    duplicates: int = 0


def join_lookup(
    left: object,
    right: object,
    *,
    on: str | Sequence[str],
    cardinality: Cardinality = "many-to-one",
    duplicates: Duplicates = "refuse",
    orphans: Orphans = "keep",
) -> Joined:
    """Look each left row up in `right` by equal keys. A missing key finds nothing.

    With ``one-to-one`` the left keys must be unique as well. `duplicates` says what becomes of right rows of one key:
    they are refused, or the first or the last of them is taken; a join never makes more rows. `orphans` says what
    becomes of left rows that find nothing: they are kept with missing values, dropped, or refused.

    Raises:
        Invalid: a key column is missing or of another type, or keys stand more than once or find nothing where that is
            refused (the message names some).
    """
    keys = _names(on)
    if not keys:
        raise Invalid("A lookup needs a key", where="join_lookup(on)", next_step="name the columns both tables share")
    lefts, rights = columns_of(left), columns_of(right)
    _check(lefts, rights, keys)
    listed = [f"k{number}" for number in range(len(keys))]
    with connect() as connection:
        connection.register("l", _numbered([lefts[key] for key in keys]))
        connection.register("r", _numbered([rights[key] for key in keys]))
        present = " AND ".join(f"{key} IS NOT NULL" for key in listed)
        for side, table, unique in (("l", lefts, cardinality == "one-to-one"), ("r", rights, duplicates == "refuse")):
            if unique:
                _refuse_twice(connection, side, table, keys, listed, present)
        pick = "max" if duplicates == "last" else "min"
        grouped = f"SELECT {', '.join(listed)}, {pick}(i) AS i FROM r WHERE {present} GROUP BY {', '.join(listed)}"
        (twice,) = connection.execute(
            f"SELECT (SELECT count(*) FROM r WHERE {present}) - (SELECT count(*) FROM ({grouped}))"
        ).fetchall()[0]
        condition = " AND ".join(f"l.{key} = r.{key}" for key in listed)
        rows = connection.execute(f"SELECT l.i, r.i FROM l JOIN ({grouped}) r ON {condition}").fetchnumpy()
    return _joined(lefts, rights, keys, rows, orphans, twice)


def _refuse_twice(
    connection: "duckdb.DuckDBPyConnection",
    side: str,
    table: Columns,
    keys: Sequence[str],
    listed: Sequence[str],
    present: str,
) -> None:
    twice = connection.execute(
        f"SELECT min(i), count(*) FROM {side} WHERE {present} GROUP BY {', '.join(listed)} HAVING count(*) > 1"
        " ORDER BY 1 LIMIT 1"
    ).fetchall()
    if twice:
        shown = ", ".join(f"{key}={table[key][twice[0][0]]}" for key in keys)
        raise Invalid(
            f"The {_SIDES[side]} table has keys more than once, such as {shown} ({twice[0][1]} times)",
            where=f"join on {', '.join(keys)}",
            next_step="drop the duplicates first, join on more columns, or say which of them counts",
        )


def join_asof(
    left: object,
    right: object,
    *,
    on: str | Sequence[str],
    left_time: str,
    right_time: str,
    delay: str | timedelta,
    orphans: Orphans = "keep",
) -> Joined:
    """Give each left row the newest right row that was already known: ``right_time + delay <= left_time``.

    `delay` is how long after its own time a right row becomes available (``"1h"`` or a timedelta); zero is allowed,
    less would be peeking. Of right rows with the same key and time the last one in the table counts. With no keys
    every right row is a partner for every left row.

    Raises:
        Invalid: a column is missing or of another type, a time column holds no moments, or `delay` is negative.
    """
    wait = _wait(delay)
    if wait < timedelta(0):
        raise Invalid(f"A delay of {wait} sees the future", where="join_asof(delay)", next_step="give zero or more")
    keys = _names(on)
    lefts, rights = columns_of(left), columns_of(right)
    _require(lefts, [left_time], "left")
    _require(rights, [right_time], "right")
    for table, column in ((lefts, left_time), (rights, right_time)):
        if table[column].dtype.kind != "M":
            raise Invalid(
                f"The column `{column}` holds no moments", where="join_asof", next_step="parse it as a timestamp"
            )
    _check(lefts, rights, keys)
    # the moment of being known is made on the right side, so that the join itself is a plain "known by then"
    known_at = rights[right_time] + np.timedelta64(wait // timedelta(microseconds=1), "us")
    listed = [f"k{number}" for number in range(len(keys))]
    with connect() as connection:
        connection.register("l", _numbered([lefts[key] for key in keys], lefts[left_time]))
        connection.register("r", _numbered([rights[key] for key in keys], known_at))
        condition = " AND ".join([*(f"l.{key} = r.{key}" for key in listed), "l.t >= r.t"])
        last = f"SELECT {', '.join([*listed, 't'])}, max(i) AS i FROM r WHERE t IS NOT NULL GROUP BY ALL"
        query = f"SELECT l.i, r.i FROM (SELECT * FROM l WHERE t IS NOT NULL) l ASOF JOIN ({last}) r ON {condition}"
        rows = connection.execute(query).fetchnumpy()
    return _joined(lefts, rights, keys, rows, orphans)


def _wait(delay: str | timedelta) -> timedelta:
    if isinstance(delay, timedelta):
        return delay
    return timedelta(0) if re.fullmatch(r"0+(ms|s|m|h|d|w)?", delay) else parse_duration(delay)


def _names(on: str | Sequence[str]) -> list[str]:
    return [on] if isinstance(on, str) else list(on)


def _numbered(keys: Sequence[NDArray[Any]], times: NDArray[Any] | None = None) -> dict[str, NDArray[Any]]:
    """Return keys, time and row number under names of our own: nothing a user names can clash with them."""
    table = {f"k{number}": key for number, key in enumerate(keys)}
    if times is not None:
        table["t"] = times
    first = keys[0] if keys else times
    assert first is not None
    return {**table, "i": np.arange(len(first))}


def _joined(
    left: Columns, right: Columns, keys: Sequence[str], rows: dict[str, Any], orphans: Orphans, duplicates: int = 0
) -> Joined:
    """Put the right columns beside the left ones; `rows` holds (left row, right row) for each pair."""
    lefts, rights = (np.asarray(array, dtype=np.int64) for array in rows.values())
    lost = n_rows(left) - len(lefts)
    found = np.zeros(n_rows(left), bool)
    found[lefts] = True
    if lost and orphans == "refuse":
        row = int(np.argmin(found))
        shown = ", ".join(f"{key}={left[key][row]}" for key in keys)
        raise Invalid(
            f"{lost:,} left rows find nothing, the first with {shown or 'no key'}",
            where=f"left table rows[{row}]",
            next_step="complete the right table, or keep or drop such rows",
        )
    columns = dict(left)
    for name, array in right.items():
        if name not in keys:
            missing = {"M": np.datetime64("NaT", "us"), "O": None}.get(array.dtype.kind, np.nan)
            taken = np.full(n_rows(left), missing, dtype=array.dtype)
            taken[lefts] = array[rights]
            columns[name] = taken
    if orphans == "drop":
        columns = {name: array[found] for name, array in columns.items()}
    return Joined(columns, len(lefts), lost, duplicates)


def _check(left: Columns, right: Columns, keys: Sequence[str]) -> None:
    _require(left, keys, "left")
    _require(right, keys, "right")
    for key in keys:
        kinds = {"f": "numbers", "M": "moments", "O": "text"}
        here, there = (kinds[table[key].dtype.kind] for table in (left, right))
        if here != there and n_rows(left) and n_rows(right):
            raise Invalid(
                f"The key `{key}` holds {here} in the left table and {there} in the right one",
                where=f"join on {key}",
                next_step="give both the same type",
            )
        for side, table in (("left", left), ("right", right)):
            array = table[key]
            if array.dtype.kind == "f" and (large := np.abs(array) > _LARGEST_KEY).any():
                row = int(np.argmax(large))
                raise Invalid(
                    f"The key {array[row]:.0f} is too large to be told from its neighbours as a number",
                    where=f"{side} table rows[{row}].{key}",
                    next_step="read long ids as text",
                )
    clashes = [name for name in right if name in left and name not in keys]
    if clashes:
        raise Invalid(
            f"Both tables have a column `{clashes[0]}`", where="join", next_step="rename it in one of the tables"
        )


def _require(columns: Columns, names: Sequence[str], side: str) -> None:
    for name in names:
        if name not in columns:
            raise Invalid(
                f"The {side} table has no column `{name}`",
                where=f"join, {side} table",
                next_step=nearest(name, columns),
            )
